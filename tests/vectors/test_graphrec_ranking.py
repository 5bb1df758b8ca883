"""Ranking metrics and padding against the released evaluation code; and that every known case is replayed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphrec.evaluation import hit_ratio, ndcg, target_ranks
from graphrec.histories import Histories, pad_history


def test_ranking_metrics(graphrec_ranking_metrics: dict[str, Any]) -> None:
    case = graphrec_ranking_metrics
    ranks = target_ranks(np.array(case["scores"]), np.array(case["targets"]))
    for k, hits, gain in zip(case["ks"], case["hit_ratio"], case["ndcg"], strict=True):
        assert hit_ratio(ranks, k).mean() == pytest.approx(hits, rel=1e-4, abs=1e-5)
        assert ndcg(ranks, k).mean() == pytest.approx(gain, rel=1e-4, abs=1e-5)


def test_pad_history(graphrec_pad_history: dict[str, Any]) -> None:
    case = graphrec_pad_history
    padded, length = pad_history(case["items"], case["length"], case["pad_id"])
    assert (padded, length) == (case["padded"], case["len_seq"])
    many = Histories.from_lists([case["items"], [], case["items"]])
    assert many.padded(case["length"], case["pad_id"])[2].tolist() == case["padded"]


def test_every_case_is_replayed(unreplayed: set[str]) -> None:
    assert not unreplayed
