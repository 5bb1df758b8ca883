"""What recommending an item should cost, from how unfair lists were on validation rows (IFairLRS).

Jiang et al., WWW 2024, arXiv 2402.15215, section 4.2. Letters: I items, G groups, C list lengths.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graphrec.fairness.groups import ItemGroups

Floats = NDArray[np.float64]


def cutoff_weights(ks: Sequence[int]) -> Floats:
    """Weight of each list length, in proportion to it, ``[C]``."""
    values = np.asarray(ks, dtype=np.float64)
    return values / values.sum()


def group_punishment(gaps: Floats, ks: Sequence[int]) -> Floats:
    """Weighted mean of the gaps GU over list lengths, scaled so that the largest is 1 or -1, ``[G]``.

    Args:
        gaps: of each list length, ``[C, G]``.
        ks: the list lengths.
    """
    mean = cutoff_weights(ks) @ gaps
    largest = np.abs(mean).max()
    return mean / largest if largest > 0 else np.zeros_like(mean)


def item_punishment(groups: ItemGroups, punishment: Floats) -> Floats:
    """Mean over each item's groups, ``[I]``; 0 for an item without group."""
    mean: Floats = groups.share_of_item @ punishment
    return mean
