"""Ranking metrics with intervals, and the leave-one-out protocol, in plain numpy.

A model is judged by the *rank* it gives to the one item that came next, among the whole catalogue. The rank
is counted, never read off a sorted list, so that tied scores cannot be ordered by item id or by luck.

Letters: B rows, I items, U users, N interactions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from moltc.bootstrap import Bootstrap, Metric, mean_statistic

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]
Mask = NDArray[np.bool_]
Ties = Literal["average", "against"]

CHUNK_CELLS = 4_000_000
"""Scores held at once while many rows are ranked: 32 MB in float64."""


def target_ranks(
    scores: Floats | Integers, targets: Integers, *, seen: Mask | None = None, ties: Ties = "average"
) -> NDArray[np.float64]:
    """Rank of each row's target among all items, ``[B]``; 1 is the best.

    Args:
        scores: one score for each row and item, ``[B, I]``; -inf is allowed, NaN is not.
        targets: the item that came next, ``[B]``.
        seen: items that are not offered, ``[B, I]``. A target that is not offered gets rank infinity: a miss
            at any k.
        ties: "average" gives tied items their mean rank (which may end in .5); "against" ranks the target
            last among them, as the strictest protocols do.

    Raises:
        ValueError: for shapes that do not fit, a target outside the catalogue, a NaN score or an unknown
            ``ties``.
    """
    _check_ranking_input(scores, targets, seen)
    rows = np.arange(len(targets))
    target_scores = scores[rows, targets][:, None]  # [B, 1]
    offered = np.ones(scores.shape, dtype=bool) if seen is None else ~seen
    above = ((scores > target_scores) & offered).sum(axis=1)
    level = ((scores == target_scores) & offered).sum(axis=1)  # the target itself is one of them
    if ties == "average":
        ranks = above + (level + 1) / 2
    elif ties == "against":
        ranks = (above + level).astype(np.float64)
    else:
        raise ValueError(f"ties={ties!r} is not known; choose 'average' or 'against'")
    return np.where(offered[rows, targets], ranks, np.inf)


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


def ranking_metrics(
    ranks: Floats, ks: Sequence[int] = (1, 10, 20), *, bootstrap: Bootstrap | None = None
) -> dict[str, Metric]:
    """HR@k and NDCG@k for every k, and the MRR, each with a bootstrap interval over rows.

    Args:
        ranks: from :func:`target_ranks`, ``[B]``.
        ks: list lengths.
        bootstrap: how intervals are drawn; default: 95 % from 1000 resamples, seed 0.
    """
    if len(ranks) == 0:
        raise ValueError("there are no ranks to average: no row was evaluated")
    columns: dict[str, NDArray[np.float64]] = {}
    for k in ks:
        columns |= {f"HR@{k}": hit_ratio(ranks, k), f"NDCG@{k}": ndcg(ranks, k)}
    columns["MRR"] = reciprocal_rank(ranks)
    return (bootstrap or Bootstrap()).estimate(mean_statistic(columns), len(ranks))


@dataclass(frozen=True)
class LeaveOneOut:
    """The test half of the leave-one-out protocol over an interaction log.

    The last interaction of each user is the test target, the one before it the validation target, everything
    earlier is fitted on. A test history is all that lies before the test target, the validation item
    included. Users with fewer than three interactions are fitted on and not tested.
    """

    train_items: Integers
    """Items of all fitted interactions, ``[N_train]``."""
    test_users: Integers
    """User of each test row, ``[B]``, ascending."""
    targets: Integers
    """Item that came next, ``[B]``."""
    history_items: Integers
    """Items before the target, row after row, oldest first, ``[H]``."""
    history_ends: Integers
    """Where each row's history ends in ``history_items``, ``[B]``."""
    untested_users: int
    """Users with fewer than three interactions."""

    def chunks(self, num_items: int) -> Iterator[tuple[slice, Mask]]:
        """Slices of test rows with their ``seen`` masks ``[rows, I]``, in pieces of bounded memory."""
        size = max(1, CHUNK_CELLS // num_items)
        starts = np.concatenate([[0], self.history_ends[:-1]])
        for first in range(0, len(self.targets), size):
            part = slice(first, min(first + size, len(self.targets)))
            begin, end = starts[part.start], self.history_ends[part.stop - 1]
            lengths = self.history_ends[part] - starts[part]
            seen = np.zeros((len(lengths), num_items), dtype=bool)
            seen[np.repeat(np.arange(len(lengths)), lengths), self.history_items[begin:end]] = True
            yield part, seen


def leave_one_out(users: Integers, items: Integers) -> LeaveOneOut:
    """Split a log by the leave-one-out protocol.

    Args:
        users: user of each interaction, ``[N]``, as numbers; each user's interactions lie oldest first.
        items: item of each interaction, ``[N]``.
    """
    order = np.argsort(users, kind="stable")
    users, items = np.asarray(users)[order], np.asarray(items)[order]
    distinct, starts, lengths = np.unique(users, return_index=True, return_counts=True)
    last = starts + lengths - 1
    from_end = np.repeat(last, lengths) - np.arange(len(users))  # 0 is the last of its user
    tested_users = lengths >= 3
    tested = np.repeat(tested_users, lengths)
    return LeaveOneOut(
        train_items=items[~tested | (from_end >= 2)],
        test_users=distinct[tested_users],
        targets=items[last[tested_users]],
        history_items=items[tested & (from_end >= 1)],
        history_ends=np.cumsum(lengths[tested_users] - 1),
        untested_users=int((~tested_users).sum()),
    )


def popularity_ranks(
    split: LeaveOneOut, num_items: int, *, exclude_seen: bool = True, ties: Ties = "average"
) -> NDArray[np.float64]:
    """Rank of every test target where items are ordered by their count in the fitted part.

    Args:
        split: what is fitted and what is tested.
        num_items: size of the catalogue I; items are numbered 0 to I - 1.
        exclude_seen: do not offer what the user has had already.
        ties: see :func:`target_ranks`.
    """
    counts = np.bincount(split.train_items, minlength=num_items)
    ranks = np.empty(len(split.targets))
    for part, seen in split.chunks(num_items):
        scores = np.broadcast_to(counts, seen.shape)
        ranks[part] = target_ranks(
            scores, split.targets[part], seen=seen if exclude_seen else None, ties=ties
        )
    return ranks


def _cutoff(k: int) -> int:
    if k < 1:
        raise ValueError(f"k={k} is no length of a list; give a whole number from 1")
    return k


def _check_ranking_input(scores: Floats | Integers, targets: Integers, seen: Mask | None) -> None:
    if scores.ndim != 2 or targets.shape != scores.shape[:1]:
        raise ValueError(f"scores must be [B, I] and targets [B], not {scores.shape} and {targets.shape}")
    if seen is not None and seen.shape != scores.shape:
        raise ValueError(f"seen must have the shape of scores, {scores.shape}, not {seen.shape}")
    outside = np.flatnonzero((targets < 0) | (targets >= scores.shape[1]))
    if outside.size:
        row = outside[0]
        raise ValueError(f"row {row}: target {targets[row]} is not an item from 0 to {scores.shape[1] - 1}")
    undefined = np.flatnonzero(np.isnan(scores).any(axis=1))
    if undefined.size:
        raise ValueError(f"row {undefined[0]} has NaN among its scores ({undefined.size} such rows)")
