"""Statistics that may move the distances of grounding: popularity, or the scores of another recommender.

Bao et al., BIGRec, arXiv 2308.08434, equations 2 and 3. Letters: B rows, I items.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graphrec.histories import Integers, Mask

Floats = NDArray[np.floating]

POPULARITY_GAMMAS = tuple(float(gamma) for gamma in range(100))
COLLABORATIVE_GAMMAS = tuple(n / 100 for n in range(100)) + tuple(float(gamma) for gamma in range(1, 100))
"""What BIGRec tries on the validation rows."""


def min_max(values: Floats) -> Floats:
    """Each row of ``[..., I]`` scaled to the range from 0 to 1; infinite values stay and do not decide it.

    A row of one value becomes zeros.
    """
    finite = np.isfinite(values)
    counted: Mask | bool = True if finite.all() else finite  # without a mask it takes a tenth of the time
    low = np.min(values, axis=-1, keepdims=True, initial=np.inf, where=counted)
    high = np.max(values, axis=-1, keepdims=True, initial=-np.inf, where=counted)
    span = np.where(high > low, high - low, 1).astype(values.dtype)
    low = np.where(np.isfinite(low), low, 0).astype(values.dtype)
    return (values - low) / span


def popularity_weights(counts: Integers) -> NDArray[np.float64]:
    """Training interactions of each item as a weight from 0 to 1, ``[I]``."""
    return min_max(np.asarray(counts, dtype=np.float64)).astype(np.float64)


def collaborative_weights(scores: Floats) -> Floats:
    """Another recommender's scores as weights from 0 to 1 in each row, ``[B, I]``."""
    return min_max(scores)


def weighted_distances(distances: Floats, weights: Floats, gamma: float) -> Floats:
    """``distances * (1 + weights) ** -gamma``, ``[B, I]``; a distance of 0 stays first for every ``gamma``.

    Args:
        distances: scaled by :func:`min_max`, ``[B, I]``.
        weights: from 0 to 1, ``[I]`` or ``[B, I]``.
        gamma: 0 changes nothing.
    """
    if gamma < 0:
        raise ValueError(f"gamma={gamma} would prefer what weighs least; give 0 or more")
    return distances * ((1 + weights) ** -gamma).astype(distances.dtype)
