"""Lists moved towards their target by an additive punishment, and how much accuracy that costs (IFairLRS).

The paper adds the punishment of an item to its distance under a coefficient alpha (Jiang et al., WWW 2024,
arXiv 2402.15215, section 4.2; its equation 14 is read as a convex combination with min-max distances).

Letters: B rows, I items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from graphrec.bigrec.weights import min_max
from graphrec.histories import Histories

Form = Literal["convex_minmax", "additive_minmax", "additive_raw"]
FORMS: tuple[str, ...] = get_args(Form)
ALPHAS = tuple(n / 100 for n in range(11))
Floats = NDArray[np.floating]


def punished(distances: Floats, punishment: Floats, alpha: float, form: Form = "convex_minmax") -> Floats:
    """Distances with the punishment of items, ``[B, I]``; the lowest come first.

    Args:
        distances: lower is better, ``[B, I]``; infinite for what is not on offer.
        punishment: of each item, from -1 to 1, above zero where it is recommended too often, ``[I]``.
        alpha: how much it counts.
        form: "convex_minmax": ``(1 - alpha) * scaled + alpha * punishment`` with distances scaled to the
            range from 0 to 1 in each row; "additive_minmax": ``scaled + alpha * punishment``;
            "additive_raw": ``distances + alpha * punishment``.

    Raises:
        ValueError: ``form`` is not known, or ``alpha`` out of range for it.
    """
    if form not in FORMS:
        raise ValueError(f"form={form!r} is not known; choose from {', '.join(FORMS)}")
    if alpha < 0 or (form == "convex_minmax" and alpha > 1):
        raise ValueError(f"alpha={alpha} is out of range; give 0 or more, and at most 1 for convex_minmax")
    base = distances if form == "additive_raw" else min_max(distances)
    kept = 1 - alpha if form == "convex_minmax" else 1
    added = (alpha * punishment).astype(distances.dtype)
    if not kept:  # 0 times infinity is no number
        return np.where(np.isinf(base), base, added)
    return kept * base + added


def as_distances(scores: Floats, seen: Histories | None = None) -> Floats:
    """Scores, of which higher is better, as distances ``[B, I]``; what was seen is infinitely far."""
    distances: Floats = -scores
    if seen is not None:
        distances[seen.rows, seen.items] = np.inf
    return distances


@dataclass(frozen=True)
class TradeOff:
    """One point of the curve: how fair and how accurate lists are under one alpha.

    Attributes:
        alpha: coefficient of the punishment.
        mgu, dgu, ndcg, hr: by list length.
    """

    alpha: float
    mgu: dict[int, float]
    dgu: dict[int, float]
    ndcg: dict[int, float]
    hr: dict[int, float]


def choose_alpha(
    curve: Sequence[TradeOff], *, fairness: Sequence[int], accuracy: int, keep: float = 0.97
) -> TradeOff:
    """The fairest point that keeps enough accuracy, on validation rows.

    Args:
        curve: points with different alphas, one of them 0.
        fairness: list lengths over which MGU is averaged.
        accuracy: list length of the NDCG that must be kept.
        keep: share of the NDCG at alpha 0 that must be left.

    Raises:
        ValueError: the curve has no point at 0.
    """
    base = next((point for point in curve if point.alpha == 0), None)
    if base is None:
        raise ValueError(
            "the curve has no point at alpha 0, which accuracy is compared with; add 0 to alphas"
        )
    bar = keep * base.ndcg[accuracy]
    accurate = [point for point in curve if point.ndcg[accuracy] >= bar]
    return min(accurate, key=lambda point: (np.mean([point.mgu[k] for k in fairness]), point.alpha))
