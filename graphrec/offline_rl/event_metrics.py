"""HR and NDCG apart for clicks and purchases, the reward that lists collect, and a correction for popularity.

An event's own kind decides where it counts, never the size of its reward. Protocol of SQN (arXiv 2006.05779);
the correction of SA2C (arXiv 2111.03474).

Letters: B events ranked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graphrec.evaluation import hit_ratio, ndcg
from moltc.bootstrap import Bootstrap, Metric, Statistic

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
KS = (5, 10, 20)


def event_metrics(
    ranks: Floats,
    purchases: Mask,
    ks: Sequence[int] = KS,
    *,
    click: float = 0.2,
    purchase: float = 1.0,
    popularity: Floats | None = None,
    sessions: NDArray[np.int64] | None = None,
    bootstrap: Bootstrap | None = None,
) -> dict[str, Metric]:
    """``click_HR@k``, ``click_NDCG@k``, the same for purchases, and ``reward@k``, each with its interval.

    Args:
        ranks: rank of each event's item, ``[B]``.
        purchases: which events are purchases, ``[B]``. Where there is none of a kind its metrics are NaN.
        ks: list lengths.
        click, purchase: what a hit is worth; ``reward@k`` is the sum over hits.
        popularity: share of each event's item among the fitted events, ``[B]``, > 0: adds
            ``corrected_NDCG@k``, the mean weighted by 1 / popularity.
        sessions: session of each event, ``[B]``; intervals then resample sessions, whose events are not
            independent. Default: each event for itself.
        bootstrap: how intervals are drawn; default: 95 % from 1000 resamples, seed 0.

    Raises:
        ValueError: when there is no event, or a popularity that is not positive.
    """
    if not len(ranks):
        raise ValueError("there are no ranks to average: no event was ranked")
    if popularity is not None and not (popularity > 0).all():
        place = int(np.flatnonzero(~(popularity > 0))[0])
        raise ValueError(
            f"event {place} has popularity {popularity[place]}, which cannot be divided by; smooth the counts"
        )
    _, groups = np.unique(np.arange(len(ranks)) if sessions is None else sessions, return_inverse=True)
    statistic = _statistic(ranks, purchases, ks, np.where(purchases, purchase, click), popularity, groups)
    return (bootstrap or Bootstrap()).estimate(statistic, int(groups.max()) + 1)


def _statistic(
    ranks: Floats,
    purchases: Mask,
    ks: Sequence[int],
    rewards: Floats,
    popularity: Floats | None,
    groups: NDArray[np.int64],
) -> Statistic:
    """Ratios of sums over sessions, whose weights are how often each was drawn."""
    sums: dict[str, tuple[Floats, Floats | None]] = {}

    def over(values: Floats) -> Floats:
        return np.bincount(groups, weights=values).astype(np.float64)

    for k in ks:
        hits, gains = hit_ratio(ranks, k), ndcg(ranks, k)
        for kind, chosen in (("click", ~purchases), ("purchase", purchases)):
            sums[f"{kind}_HR@{k}"] = over(hits * chosen), over(chosen.astype(float))
            sums[f"{kind}_NDCG@{k}"] = over(gains * chosen), over(chosen.astype(float))
        sums[f"reward@{k}"] = over(hits * rewards), None
        if popularity is not None:
            sums[f"corrected_NDCG@{k}"] = over(gains / popularity), over(1 / popularity)

    def statistic(weights: Floats) -> dict[str, Floats]:
        with np.errstate(invalid="ignore"):  # 0 / 0 where no event of a kind was drawn: undefined, NaN
            return {
                name: weights @ above if below is None else (weights @ above) / (weights @ below)
                for name, (above, below) in sums.items()
            }

    return statistic
