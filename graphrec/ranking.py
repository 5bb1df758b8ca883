"""Ranks that a recommender gives to the targets of a protocol, and the metric the protocol is decided by.

A protocol with candidate lists ranks each target among its list, once for each draw (a sampled-candidate
figure, named HitRatio@k); any other ranks it among the whole catalogue.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from graphrec.data import Manifest, Rows
from graphrec.evaluation import Ties, hit_ratio, ndcg, reciprocal_rank, target_ranks
from graphrec.recommender import Recommender

Ranks = NDArray[np.float64]
Columns = dict[str, NDArray[np.float64]]

_METRIC = re.compile(r"(HR|NDCG|HitRatio)@([1-9]\d*)|MRR")


def rank_rows(model: Recommender, rows: Rows, *, filter_seen: bool, ties: Ties = "against") -> Ranks:
    """Rank of each target among the whole catalogue, ``[B]``.

    Args:
        model: scores some rows at a time.
        rows: histories and targets; candidates are not looked at.
        filter_seen: items of the whole history are not offered; a target among them is a miss.
        ties: see :func:`graphrec.evaluation.target_ranks`.
    """
    ranks = np.empty(len(rows))
    for part in model.parts(len(rows)):
        histories = rows.histories[part]
        ranks[part] = target_ranks(
            model.scores(histories),
            rows.targets[part],
            seen=histories if filter_seen else None,
            ties=ties,
        )
    return ranks


def candidate_ranks(model: Recommender, rows: Rows, *, ties: Ties = "against") -> Ranks:
    """Rank of each target among its candidates, for each draw, ``[B, draws]``."""
    if rows.candidates is None:
        raise ValueError("these rows have no candidate lists; rank them among the whole catalogue")
    count, draws, size = rows.candidates.shape
    lists = model.draw_scores(rows.histories, rows.candidates).reshape(count * draws, size)
    place = (rows.candidates == rows.targets[:, None, None]).argmax(axis=2).reshape(-1)
    return target_ranks(lists, place, ties=ties).reshape(count, draws)


def protocol_ranks(model: Recommender, rows: Rows, manifest: Manifest) -> Ranks:
    """Ranks as the protocol's own metric wants them: ``[B]``, or ``[B, draws]`` where it has candidates."""
    if manifest.metric.startswith("HitRatio"):
        return candidate_ranks(model, rows, ties=manifest.ties)
    return rank_rows(model, rows, filter_seen=manifest.filter_seen, ties=manifest.ties)


def metric_column(name: str, ranks: Ranks) -> NDArray[np.float64]:
    """A metric of each row by its name (HR@10, NDCG@20, HitRatio@1, MRR), ``[B]``; draws are averaged.

    Raises:
        ValueError: there is no such metric.
    """
    found = _METRIC.fullmatch(name)
    if not found:
        raise ValueError(f"{name!r} is no metric; give HR@k, NDCG@k, HitRatio@k or MRR")
    if name == "MRR":
        column = reciprocal_rank(ranks)
    else:
        kind, k = found[1], int(found[2])
        column = ndcg(ranks, k) if kind == "NDCG" else hit_ratio(ranks, k)
    return column if column.ndim == 1 else column.mean(axis=1)


def metric_value(name: str, ranks: Ranks) -> float:
    """Mean of a metric over rows."""
    return float(metric_column(name, ranks).mean())
