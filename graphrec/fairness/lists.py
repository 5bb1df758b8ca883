"""Lists and ranks that any recommender gives, plain or with the punishment of items, in bounded memory.

Letters: B rows, I items, K length of a list, A alphas.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphrec.bigrec.weights import min_max
from graphrec.data import Manifest, Rows
from graphrec.evaluation import hit_ratio, ndcg, target_ranks
from graphrec.fairness.calibration import pool
from graphrec.fairness.decoding import WritesAnswers
from graphrec.fairness.groups import ItemGroups
from graphrec.fairness.reranking import Form, as_distances, punished
from graphrec.histories import Integers
from graphrec.recommender import ROWS_AT_ONCE, Recommender
from graphrec.topk import best_by_scores

Floats = NDArray[np.floating]


class Lists(NamedTuple):
    """What every row is shown, and where its target is."""

    items: Integers
    """Best first, -1 where nothing more is on offer, ``[B, K]``."""
    ranks: NDArray[np.float64]
    """Of the targets among all items, or within the lists where only these are known, ``[B]``."""

    def accuracy(self, ks: Sequence[int]) -> dict[str, NDArray[np.float64]]:
        """HR@k and NDCG@k of each row, ``[B]`` each."""
        found: dict[str, NDArray[np.float64]] = {}
        for k in ks:
            found |= {f"HR@{k}": hit_ratio(self.ranks, k), f"NDCG@{k}": ndcg(self.ranks, k)}
        return found


def listed(lists: Integers, targets: Integers) -> Lists:
    """Lists ``[B, K]`` that are known alone: a target outside its list is a miss."""
    hits = lists == targets[:, None]
    return Lists(lists, np.where(hits.any(axis=1), hits.argmax(axis=1) + 1.0, np.inf))


def reranked_lists(
    model: Recommender,
    rows: Rows,
    manifest: Manifest,
    length: int,
    *,
    punishment: NDArray[np.float64],
    alphas: Sequence[float],
    form: Form = "convex_minmax",
) -> list[Lists]:
    """Lists of every alpha; the model scores each row once.

    Args:
        model: any recommender.
        rows: histories and targets.
        manifest: whether seen items are offered, and how ties count.
        length: K.
        punishment: of each item, ``[I]``; with alpha 0 lists are those of the model.
        alphas: coefficients of the punishment, A of them.
        form: see :func:`~graphrec.fairness.reranking.punished`.
    """
    items = [np.empty((len(rows), length), dtype=np.int64) for _ in alphas]
    ranks = [np.empty(len(rows)) for _ in alphas]
    for part in model.parts(len(rows)):
        histories = rows.histories[part]
        seen = histories if manifest.filter_seen else None
        distances = as_distances(model.scores(histories), seen)
        for place, alpha in enumerate(alphas):
            scores = -(punished(distances, punishment, alpha, form) if alpha else distances)
            items[place][part] = best_by_scores(scores, length, seen=seen)[0]
            ranks[place][part] = target_ranks(scores, rows.targets[part], seen=seen, ties=manifest.ties)
    return [Lists(*found) for found in zip(items, ranks, strict=True)]


def answer_lists(
    model: WritesAnswers, rows: Rows, manifest: Manifest, answers: Integers, length: int
) -> Lists:
    """Lists that a model makes of given answers ``[B]``, and the ranks of the targets among all items."""
    found = []
    for first in range(0, len(rows), ROWS_AT_ONCE):
        part = slice(first, min(first + ROWS_AT_ONCE, len(rows)))
        histories = rows.histories[part]
        seen = histories if manifest.filter_seen else None
        scores = model.scores_of_answers(histories, answers[part])
        ranks = target_ranks(scores, rows.targets[part], seen=seen, ties=manifest.ties)
        found.append(Lists(best_by_scores(scores, length, seen=seen)[0], ranks))
    return Lists(*(np.concatenate(column) for column in zip(*found, strict=True)))


def pooled_costs(
    model: Recommender, rows: Rows, manifest: Manifest, groups: ItemGroups, k: int, *, width: int
) -> tuple[Integers, NDArray[np.float32]]:
    """What calibration chooses from, item numbers and costs ``[B, N]``: min-max distances of the best items.

    See :func:`graphrec.fairness.calibration.pool`.
    """
    parts = []
    for part in model.parts(len(rows)):
        histories = rows.histories[part]
        distances = as_distances(model.scores(histories), histories if manifest.filter_seen else None)
        parts.append(pool(min_max(distances), groups, k, width=width))
    items, costs = zip(*parts, strict=True)
    return np.concatenate(items), np.concatenate(costs).astype(np.float32)
