"""Fair lists for users: recommendations of any model, reranked with a punishment or calibrated to shares.

What :mod:`graphrec.fairness.study` found on a split is used here on histories as they come.

Letters: B rows, I items, G groups, K length of a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphrec.bigrec.weights import min_max
from graphrec.catalogue import ItemId
from graphrec.fairness.calibration import Calibration, calibrate, pool
from graphrec.fairness.groups import ItemGroups
from graphrec.fairness.reranking import Form, as_distances, punished
from graphrec.fairness.unfairness import history_target
from graphrec.histories import Integers
from graphrec.recommender import Recommendation, Recommender
from graphrec.topk import best_by_scores

Floats = NDArray[np.floating]


class CalibratedLists(NamedTuple):
    """Lists for users, and how close they come to the shares."""

    lists: list[list[Recommendation]]
    """Best first; scores are those of the model."""
    calibration: Calibration


def reranked_recommendations(
    model: Recommender,
    histories: Sequence[Sequence[ItemId]],
    k: int = 10,
    *,
    punishment: NDArray[np.float64],
    alpha: float,
    form: Form = "convex_minmax",
    exclude_seen: bool = True,
) -> list[list[Recommendation]]:
    """The best items for each history once the punishment of items has moved them.

    Args:
        model: any recommender.
        histories: item ids, oldest first.
        k: length of a list; it is shorter where fewer items are on offer.
        punishment: of each item, from :func:`~graphrec.fairness.punishment.item_punishment`, ``[I]``.
        alpha: how much it counts, such as a study chose on validation.
        form: see :func:`~graphrec.fairness.reranking.punished`.
        exclude_seen: leave out items of the history.
    """
    if punishment.shape != (len(model.catalogue),):
        raise ValueError(f"punishment has shape {punishment.shape}; give one of {len(model.catalogue)} items")
    known = model.catalogue.histories(histories)
    found: list[list[Recommendation]] = []
    for part in model.parts(len(known)):
        seen = known[part] if exclude_seen else None
        scores = model.scores(known[part])
        moved = -punished(as_distances(scores, seen), punishment, alpha, form)
        items = best_by_scores(moved, k, seen=seen)[0]
        found += _named(model, items, np.take_along_axis(scores, np.maximum(items, 0), axis=1))
    return found


def calibrated_recommendations(
    model: Recommender,
    histories: Sequence[Sequence[ItemId]],
    k: int = 10,
    *,
    groups: ItemGroups,
    shares: NDArray[np.float64] | None = None,
    tolerance: float = 0.005,
    width: int = 200,
    exclude_seen: bool = True,
) -> CalibratedLists:
    """Lists whose groups have the wanted shares, all rows together, at least loss of the model's ranking.

    Args:
        model, histories, exclude_seen: as in :func:`reranked_recommendations`.
        k: length of every list.
        groups: of items.
        shares: of each group, which sum to 1, ``[G]``; None: those of the histories.
        tolerance: largest gap between share and target.
        width: best items of each row that are chosen from, beside those of each group.

    Raises:
        ValueError: fewer than k items are on offer, or no lists reach the shares.
    """
    known = model.catalogue.histories(histories)
    wanted = history_target(groups, known).shares if shares is None else shares
    pools, own = [], []
    for part in model.parts(len(known)):
        scores = model.scores(known[part])
        away = min_max(as_distances(scores, known[part] if exclude_seen else None))
        pools.append(pool(away, groups, k, width=width))
        own.append(np.take_along_axis(scores, pools[-1][0], axis=1))
    if not pools:
        raise ValueError("there is no history: shares are met by the lists of at least one row")
    items, costs = (np.concatenate(parts) for parts in zip(*pools, strict=True))
    found = calibrate(costs, groups, wanted, k, items=items, tolerance=tolerance)
    places = np.stack([(items == column[:, None]).argmax(axis=1) for column in found.lists.T], axis=1)
    scores = np.take_along_axis(np.concatenate(own), places, axis=1)
    return CalibratedLists(_named(model, found.lists, scores), found)


def _named(model: Recommender, items: Integers, scores: Floats) -> list[list[Recommendation]]:
    """Item numbers ``[B, K]``, -1 for a blank, and their scores ``[B, K]``, as users read them."""
    ids, title = model.catalogue.item_ids, model.catalogue.title
    return [
        [
            Recommendation(ids[item], title(item), score)
            for item, score in zip(row, values, strict=True)
            if item >= 0
        ]
        for row, values in zip(items.tolist(), scores.tolist(), strict=True)
    ]
