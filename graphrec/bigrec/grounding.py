"""Grounding: every catalogue item ranked by how near its title lies to the text that was generated.

Bao et al., BIGRec, arXiv 2308.08434: L2 distances of embeddings, scaled to the range from 0 to 1 in each row
and divided by ``(1 + weight) ** gamma``, with weights from popularity or another recommender. Rows are worked
on a few at a time, so that tens of thousands of texts and titles need no matrix of all distances.

Letters: B texts, I titles, d width, k length of a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from graphrec.bigrec.distances import TitleDistances
from graphrec.bigrec.weights import min_max, weighted_distances
from graphrec.evaluation import Ties, hit_ratio, ndcg, target_ranks
from graphrec.histories import Histories, Integers
from graphrec.topk import best_by_scores

Floats = NDArray[np.floating]

CELLS_AT_ONCE = 2_000_000
"""Distances held at once: 8 MB in float32, so that they stay in the processor's cache."""
Weights = Callable[[slice], Floats]
"""Weights of some rows: ``[I]`` or ``[rows, I]``."""


class Grounded(NamedTuple):
    """What texts were grounded to."""

    items: Integers
    """Nearest first, -1 where nothing more is on offer, ``[B, k]``."""
    distances: Floats
    """Of these items: scaled to the range from 0 to 1 and weighted, ``[B, k]``."""
    ranks: NDArray[np.float64] | None
    """Of the targets, where they were given, ``[B]``; 1 is the nearest."""

    def metric(self, name: str, k: int) -> float:
        """Mean ``HR`` or ``NDCG`` at k."""
        if self.ranks is None or name not in ("HR", "NDCG"):
            raise ValueError(f"{name}@{k} needs targets, and is HR or NDCG")
        return float((hit_ratio if name == "HR" else ndcg)(self.ranks, k).mean())


def ground(
    texts: Tensor,
    titles: Tensor,
    k: int = 10,
    *,
    weights: Floats | Weights | None = None,
    gamma: float = 0.0,
    targets: Integers | None = None,
    same_title: Integers | None = None,
    seen: Histories | None = None,
    ties: Ties = "against",
) -> Grounded:
    """The k items nearest to each text, and the rank of its target.

    Args:
        texts: embeddings of generated texts, ``[B, d]``.
        titles: embeddings of all titles, ``[I, d]``.
        k: length of a list.
        weights: from 0 to 1, ``[I]`` or ``[B, I]``, or a function that gives those of some rows, so that
            the scores of another recommender need not be held; None: distances alone.
        gamma: how much weights count.
        targets: items that came next, ``[B]``.
        same_title: a number for each distinct title, ``[I]``; the best of the items that share the target's
            title then counts for it. None: every item stands for itself.
        seen: items that are not offered; the paper offers all.
        ties: how tied items count, see :func:`graphrec.evaluation.target_ranks`.
    """
    if gamma and weights is None:
        raise ValueError(f"gamma={gamma} has no effect without weights; give weights or leave gamma out")
    parts = []
    for part, near in weighted_rows(texts, titles, weights, gamma):
        hidden = None if seen is None else seen[part]
        items, scores = best_by_scores(-near, k, seen=hidden)
        ranks = None
        if targets is not None:
            ranks = grounded_ranks(near, targets[part], same_title=same_title, seen=hidden, ties=ties)
        parts.append(Grounded(items, -scores, ranks))
    if not parts:
        return Grounded(np.empty((0, k), dtype=np.int64), np.empty((0, k)), None)
    items, found = (np.concatenate(column) for column in list(zip(*parts, strict=True))[:2])
    ranked = None if targets is None else np.concatenate([p.ranks for p in parts if p.ranks is not None])
    return Grounded(items, found, ranked)


def weighted_rows(
    texts: Tensor, titles: Tensor, weights: Floats | Weights | None = None, gamma: float = 0.0
) -> Iterator[tuple[slice, Floats]]:
    """Scaled and weighted distances ``[rows, I]`` of some rows after the other; see :func:`ground`."""
    for part, found in distance_rows(texts, titles):
        near = min_max(found)
        if weights is not None and gamma:
            near = weighted_distances(near, _of_rows(weights, part), gamma)
        yield part, near


def distance_rows(texts: Tensor, titles: Tensor) -> Iterator[tuple[slice, Floats]]:
    """Distances ``[rows, I]`` of some rows after the other, within bounded memory."""
    away = TitleDistances(titles)
    size = max(1, CELLS_AT_ONCE // len(titles))
    for first in range(0, len(texts), size):
        part = slice(first, min(first + size, len(texts)))
        yield part, away(texts[part]).cpu().numpy()


def _of_rows(weights: Floats | Weights, part: slice) -> Floats:
    if callable(weights):
        return weights(part)
    return weights if weights.ndim == 1 else weights[part]


def grounded_ranks(
    near: Floats,
    targets: Integers,
    *,
    same_title: Integers | None = None,
    seen: Histories | None = None,
    ties: Ties = "against",
) -> NDArray[np.float64]:
    """Rank of each target by distance, ``[B]``; items that share its title do not stand in its way.

    Args:
        near: distances, ``[B, I]``.
        targets, same_title, seen, ties: as in :func:`ground`.
    """
    if same_title is None:
        return target_ranks(-near, targets, seen=seen, ties=ties)
    twins = same_title == same_title[targets][:, None]  # [B, I]
    hidden = np.zeros_like(twins) if seen is None else seen.seen_mask(near.shape[1])
    best = np.where(twins & ~hidden, near, np.inf).min(axis=1)
    rows = np.arange(len(targets))
    scores = -near
    missed = hidden[rows, targets] & ~np.isfinite(best)
    scores[rows, targets] = np.where(missed, -np.inf, -best)
    hidden = hidden | twins
    hidden[rows, targets] = missed
    return target_ranks(scores, targets, seen=hidden, ties=ties)


class GammaChoice(NamedTuple):
    """The gamma that was chosen, and the metric of every one."""

    gamma: float
    values: dict[float, float]


def choose_gamma(
    texts: Tensor,
    titles: Tensor,
    weights: Floats | Weights,
    targets: Integers,
    gammas: Sequence[float],
    *,
    metric: tuple[str, int] = ("NDCG", 10),
    same_title: Integers | None = None,
    seen: Histories | None = None,
    ties: Ties = "against",
) -> GammaChoice:
    """The gamma that is best on validation rows; the smallest of equals.

    The paper's code chooses one for every metric and every k, which flatters the results: here one
    metric chooses, and a caller who wants the other asks once for each.

    Args:
        metric: ``HR`` or ``NDCG``, and k.
        gammas: to try, such as :data:`~graphrec.bigrec.weights.POPULARITY_GAMMAS`.
        texts, titles, weights, targets, same_title, seen, ties: as in :func:`ground`.
    """
    if not gammas or not len(targets):
        raise ValueError(f"{len(gammas)} gammas and {len(targets)} rows: give at least one of each")
    name, k = metric
    measure = {"HR": hit_ratio, "NDCG": ndcg}.get(name)
    if measure is None:
        raise ValueError(f"metric {name!r} is not known; choose HR or NDCG")
    sums = dict.fromkeys(sorted(gammas), 0.0)
    for part, found in distance_rows(texts, titles):
        scaled, of_rows = min_max(found), _of_rows(weights, part)
        hidden = None if seen is None else seen[part]
        for gamma in sums:
            near = weighted_distances(scaled, of_rows, gamma)
            ranks = grounded_ranks(near, targets[part], same_title=same_title, seen=hidden, ties=ties)
            sums[gamma] += float(measure(ranks, k).sum())
    values = {gamma: total / len(targets) for gamma, total in sums.items()}
    return GammaChoice(max(values, key=lambda gamma: (values[gamma], -gamma)), values)
