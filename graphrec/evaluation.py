"""Ranks and ranking metrics row by row, in plain numpy.

A model is judged by the *rank* it gives to the one item that came next, among the whole catalogue. The rank
is counted, never read off a sorted list, so that tied scores cannot be ordered by item id or by luck.

Letters: B rows, I items.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from graphrec.histories import Histories

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]
Mask = NDArray[np.bool_]
Ties = Literal["average", "against"]


def target_ranks(
    scores: Floats | Integers,
    targets: Integers,
    *,
    seen: Mask | Histories | None = None,
    ties: Ties = "average",
) -> NDArray[np.float64]:
    """Rank of each row's target among all items, ``[B]``; 1 is the best.

    Args:
        scores: one score for each row and item, ``[B, I]``; -inf is allowed, NaN is not.
        targets: the item that came next, ``[B]``.
        seen: items that are not offered, as a mask ``[B, I]`` or as B histories. A target that is not offered
            gets rank infinity: a miss at any k.
        ties: "average" gives tied items their mean rank (which may end in .5); "against" ranks the target
            last among them, as the strictest protocols do.

    Raises:
        ValueError: for shapes that do not fit, a target outside the catalogue, a NaN score or an unknown
            ``ties``.
    """
    if ties not in ("average", "against"):
        raise ValueError(f"ties={ties!r} is not known; choose 'average' or 'against'")
    _check_ranking_input(scores, targets, seen)
    target_scores = scores[np.arange(len(targets)), targets]
    rows, items = _hidden(seen)
    hidden, bars = scores[rows, items], target_scores[rows]

    def count(all_offered: Mask, hidden_among: Mask) -> NDArray[np.int64]:
        return _row_counts(all_offered) - np.bincount(rows[hidden_among], minlength=len(targets))

    level_or_above = count(scores >= target_scores[:, None], hidden >= bars)
    ranks = level_or_above.astype(np.float64)
    if ties == "average":
        above = count(scores > target_scores[:, None], hidden > bars)
        ranks = (above + level_or_above + 1) / 2
    ranks[rows[items == targets[rows]]] = np.inf
    return ranks


def _hidden(seen: Mask | Histories | None) -> tuple[Integers, Integers]:
    """Rows and items that are not offered, each pair once."""
    if seen is None:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    if isinstance(seen, Histories):
        once = seen.latest_of_each()
        return seen.rows[once], seen.items[once]
    rows, items = np.nonzero(seen)
    return rows, items


def _row_counts(mask: Mask) -> NDArray[np.int64]:
    """How often each row is true, ``[B]``; counting bits is twice as fast as adding bytes."""
    return np.bitwise_count(np.packbits(mask, axis=1)).sum(axis=1, dtype=np.int64)


def hit_ratio(ranks: Floats, k: int) -> NDArray[np.float64]:
    """HR@k of each row, ``[B]``: one where the target is among the first k."""
    return (np.asarray(ranks) <= _cutoff(k)).astype(np.float64)


def ndcg(ranks: Floats, k: int) -> NDArray[np.float64]:
    """NDCG@k of each row, ``[B]``: 1 / log2(rank + 1) where the target is among the first k, else zero.

    With one target a row the ideal gain is one, so this is the normalised form already.
    """
    ranks = np.asarray(ranks, dtype=np.float64)
    return np.where(ranks <= _cutoff(k), 1 / np.log2(ranks + 1), 0.0)


def reciprocal_rank(ranks: Floats) -> NDArray[np.float64]:
    """1 / rank of each row, ``[B]``; its mean is the MRR over the whole catalogue."""
    return 1 / np.asarray(ranks, dtype=np.float64)


def _cutoff(k: int) -> int:
    if k < 1:
        raise ValueError(f"k={k} is no length of a list; give a whole number from 1")
    return k


def _check_ranking_input(scores: Floats | Integers, targets: Integers, seen: Mask | Histories | None) -> None:
    if scores.ndim != 2 or targets.shape != scores.shape[:1]:
        raise ValueError(f"scores must be [B, I] and targets [B], not {scores.shape} and {targets.shape}")
    if isinstance(seen, Histories):
        if len(seen) != len(scores):
            raise ValueError(f"seen must have a history for each of {len(scores)} rows, not {len(seen)}")
    elif seen is not None and seen.shape != scores.shape:
        raise ValueError(f"seen must have the shape of scores, {scores.shape}, not {seen.shape}")
    outside = np.flatnonzero((targets < 0) | (targets >= scores.shape[1]))
    if outside.size:
        row = outside[0]
        raise ValueError(f"row {row}: target {targets[row]} is not an item from 0 to {scores.shape[1] - 1}")
    if scores.size and np.isnan(scores.min()):  # the minimum of all is quick and keeps a NaN
        undefined = np.flatnonzero(np.isnan(scores).any(axis=1))
        raise ValueError(f"row {undefined[0]} has NaN among its scores ({undefined.size} such rows)")
