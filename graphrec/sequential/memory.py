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
from scipy import sparse

from graphrec.catalogue import Catalogue
from graphrec.counting import decayed_items
from graphrec.histories import Histories
from graphrec.neighbours import Cooccurrence

UNSEEN = 1e-2
"""Added to each co-occurrence score before the log, so that a pair that was never seen stays possible."""
PREFIX = "memory."


class Memory:
    """Ordered co-occurrence of the fitted part, read in logs.

    Args:
        catalogue: the items.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.counts = Cooccurrence()
        self.counts.catalogue = catalogue

    def fit(self, histories: Histories) -> None:
        """Count what follows what."""
        self.counts.count(histories)

    def log_scores(self, histories: Histories, decay: float) -> NDArray[np.float32]:
        """Zero where a history says nothing of an item, above zero where it does, ``[B, I]``.

        Args:
            decay: weight of an item of the history against that of the next later one.
        """
        decayed = decayed_items(histories, len(self.counts.catalogue), decay)
        found = decayed @ self.counts.weights
        if not sparse.issparse(found):
            dense: NDArray[np.float32] = np.log1p(found / UNSEEN)
            return dense
        found.data = np.log1p(found.data / UNSEEN)
        dense = found.toarray()
        return dense

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The counts, by names that no weight has."""
        return {PREFIX + name: array for name, array in self.counts.arrays().items()}

    def set_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what :meth:`arrays` gave; other names are passed over."""
        own = {name.removeprefix(PREFIX): array for name, array in arrays.items() if name.startswith(PREFIX)}
        self.counts.set_arrays(own)
