"""What followed what, remembered as it was, beside what a network has learnt of it.

A network of small width forgets pairs that it has seen a few times only; counts do not. The log of the
ordered co-occurrence score is added to the scores of the network, as a product of experts.

Letters: B rows, I items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphrec.catalogue import Catalogue
from graphrec.histories import Histories
from graphrec.neighbours import Cooccurrence, CooccurrenceConfig

UNSEEN = 1e-2
"""Added to each co-occurrence score before the log, so that a pair that was never seen stays possible."""
PREFIX = "memory."


class Memory:
    """Ordered co-occurrence of the fitted part, read in logs.

    Args:
        catalogue: the items.
        decay: weight of an item of the history against that of the next later one.
    """

    def __init__(self, catalogue: Catalogue, decay: float) -> None:
        self.counts = Cooccurrence(CooccurrenceConfig(decay=decay))
        self.counts.catalogue = catalogue

    def fit(self, histories: Histories) -> None:
        """Count what follows what."""
        self.counts.count(histories)

    def log_scores(self, histories: Histories) -> NDArray[np.float32]:
        """Zero where the history says nothing of an item, above zero where it does, ``[B, I]``."""
        scores = self.counts.scores(histories).astype(np.float32, copy=True)
        scores /= UNSEEN
        found: NDArray[np.float32] = np.log1p(scores, out=scores)
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The counts, by names that no weight has."""
        return {PREFIX + name: array for name, array in self.counts.arrays().items()}

    def set_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what :meth:`arrays` gave; other names are passed over."""
        own = {name.removeprefix(PREFIX): array for name, array in arrays.items() if name.startswith(PREFIX)}
        self.counts.set_arrays(own)
