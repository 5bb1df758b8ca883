"""Ranks of a protocol: filters, candidates, ties, metrics by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_recommenders import write_folder

from graphrec.data import RecommendationData, Rows
from graphrec.histories import Histories
from graphrec.ranking import candidate_ranks, metric_column, metric_value, protocol_ranks, rank_rows
from graphrec.simple import Popularity

TRAIN = [[0, 0, 0, 1, 1, 2, 3]]  # items 2 and 3 are tied, item 4 never occurs
ROWS = [([0], 1), ([1, 0, 1], 2), ([4], 4), ([], 3)]
CANDIDATES = [[[1, 0], [4, 1]], [[2, 3], [4, 2]], [[4, 0], [4, 1]], [[3, 2], [3, 4]]]


def popular(folder: Path, **manifest: object) -> tuple[Popularity, RecommendationData]:
    data = RecommendationData.load(
        write_folder(folder, 5, TRAIN, ROWS, ROWS, candidates=CANDIDATES, **manifest)
    )
    model = Popularity()
    model.fit(data)
    return model, data


def test_by_hand(tmp_path: Path) -> None:
    model, data = popular(tmp_path)
    assert rank_rows(model, data.test, filter_seen=False).tolist() == [2, 4, 5, 4]
    assert rank_rows(model, data.test, filter_seen=False, ties="average").tolist() == [2, 3.5, 5, 3.5]
    assert rank_rows(model, data.test, filter_seen=True).tolist() == [1, 2, np.inf, 4]
    assert candidate_ranks(model, data.test).tolist() == [[2, 1], [2, 1], [2, 2], [2, 1]]


def test_the_manifest_says_how(tmp_path: Path) -> None:
    model, data = popular(tmp_path, metric="NDCG@10", filter_seen=True, ties="average")
    assert protocol_ranks(model, data.test, data.manifest).tolist() == [1, 1.5, np.inf, 3.5]
    model, data = popular(tmp_path, metric="HitRatio@1")
    assert protocol_ranks(model, data.test, data.manifest).shape == (4, 2)


def test_pieces_do_not_change_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = popular(tmp_path)
    whole = rank_rows(model, data.test, filter_seen=True), candidate_ranks(model, data.test)
    monkeypatch.setattr("graphrec.recommender.CHUNK_CELLS", 7)
    pieces = rank_rows(model, data.test, filter_seen=True), candidate_ranks(model, data.test)
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(one, other)


def test_metrics_by_name() -> None:
    ranks = np.array([1.0, 3.0, np.inf])
    assert metric_column("HR@1", ranks).tolist() == [1, 0, 0]
    assert metric_column("NDCG@5", ranks).tolist() == [1, 0.5, 0]
    assert metric_value("MRR", ranks) == pytest.approx((1 + 1 / 3) / 3)
    draws = np.array([[1.0, 2.0], [1.0, 1.0]])
    assert metric_column("HitRatio@1", draws).tolist() == [0.5, 1.0]


@pytest.mark.parametrize("name", ["HR", "NDCG@0", "AUC", "hr@10"])
def test_unknown_metrics(name: str) -> None:
    with pytest.raises(ValueError, match="is no metric; give HR@k"):
        metric_column(name, np.ones(1))


def test_candidates_are_wanted(tmp_path: Path) -> None:
    model, _ = popular(tmp_path)
    rows = Rows(Histories.from_lists([[0]]), np.array([1]))
    with pytest.raises(ValueError, match="have no candidate lists"):
        candidate_ranks(model, rows)
