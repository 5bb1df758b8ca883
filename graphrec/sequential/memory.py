"""What followed what, remembered as it was, beside what a network has learnt of it.

A network of small width forgets pairs that it has seen a few times only; counts do not. The log of the
ordered co-occurrence score is added to the scores of the network, as a product of experts. Of empty histories
nothing is remembered but what was frequent of late.

Letters: B rows, I items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphrec.catalogue import Catalogue
from graphrec.counting import decayed_items
from graphrec.histories import Histories
from graphrec.neighbours import Cooccurrence

UNSEEN = 1e-2
"""Added to each co-occurrence score before the log, so that a pair that was never seen stays possible."""
FREQUENT = 0.02
"""Weight of the log of recent counts where there is a history; where there is none it is 1."""
PREFIX = "memory."


class Memory:
    """Ordered co-occurrence of the fitted part, read in logs.

    Args:
        catalogue: the items.

    Attributes:
        recent: how often each item occurs in the latest sequences, ``[I]``.
    """

    recent: NDArray[np.float32]

    def __init__(self, catalogue: Catalogue) -> None:
        self.counts = Cooccurrence()
        self.counts.catalogue = catalogue

    def fit(self, histories: Histories, recent_share: float) -> None:
        """Count what follows what.

        Args:
            histories: in order of time, where the share is below 1.
            recent_share: how much of them counts as recent.
        """
        self.counts.count(histories)
        latest = histories[len(histories) - max(1, round(recent_share * len(histories))) :]
        counts = np.bincount(latest.items, minlength=len(self.counts.catalogue))
        self.recent = counts.astype(np.float32)

    def log_scores(self, histories: Histories, decay: float) -> NDArray[np.float32]:
        """What each history says of each item, in logs, zero at least, ``[B, I]``.

        Args:
            decay: weight of an item of the history against that of the next later one.
        """
        decayed = decayed_items(histories, len(self.counts.catalogue), decay)
        found = decayed @ self.counts.weights
        if sparse.issparse(found):
            found.data = np.log1p(found.data / UNSEEN)
            logs: NDArray[np.float32] = found.toarray()
        else:
            logs = np.log1p(found / UNSEEN)
        weights = np.where(histories.lengths > 0, FREQUENT, 1.0).astype(np.float32)
        logs += weights[:, None] * np.log1p(self.recent)
        return logs

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The counts, by names that no weight has."""
        arrays = {**self.counts.arrays(), "recent": self.recent}
        return {PREFIX + name: array for name, array in arrays.items()}

    def set_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what :meth:`arrays` gave; other names are passed over."""
        own = {name.removeprefix(PREFIX): array for name, array in arrays.items() if name.startswith(PREFIX)}
        self.recent = own.pop("recent")
        self.counts.set_arrays(own)
