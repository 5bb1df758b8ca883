"""Training samples of BIGRec: every interaction but the first of a sequence, and what came before it.

Letters: S samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphrec.histories import Histories, Integers
from graphrec.sequential.examples import spans


@dataclass(frozen=True)
class Samples:
    """S histories and what came next.

    Attributes:
        histories: oldest first, S rows.
        targets: ``[S]``.
    """

    histories: Histories
    targets: Integers

    @classmethod
    def of(cls, sequences: Histories, length: int) -> Samples:
        """All samples of some sequences, in their order.

        Args:
            length: most items of a history, the latest ones.
        """
        if length < 1:
            raise ValueError(f"length={length} is no length of a history; give a whole number from 1")
        places = np.flatnonzero(sequences.positions > 0)
        sizes = np.minimum(sequences.positions[places], length)
        return cls(spans(sequences, places - sizes, places), sequences.items[places])

    def __len__(self) -> int:
        return len(self.targets)

    def drawn(self, count: int | None, rng: np.random.Generator) -> Samples:
        """So many of them, in their order; all where that is None or no fewer."""
        if count is None or count >= len(self):
            return self
        return self.select(np.sort(rng.choice(len(self), count, replace=False)))

    def select(self, rows: Integers) -> Samples:
        """Samples by number, in the given order."""
        return Samples(self.histories.select(rows), self.targets[rows])
