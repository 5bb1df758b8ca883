"""Ranks on disk, metrics with intervals, groups apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tiny_recommenders import write_folder

from data_prep.errors import DataError
from graphrec.comparison import compare
from graphrec.data import RecommendationData
from graphrec.results import Evaluation, check_catalogue, evaluate
from graphrec.simple import Popularity

TRAIN = [[0, 0, 1, 2]]
TEST = [([0], 1), ([], 0), ([0, 1], 3), ([], 3)]


@pytest.fixture
def data(tmp_path: Path) -> RecommendationData:
    folder = write_folder(
        tmp_path / "data", 4, TRAIN, TEST, TEST, filter_seen=False, ks=[1, 3], hash="f" * 64
    )
    path = folder / "test.parquet"
    events = pl.Series(["click", "click", "buy", "click"])
    pl.read_parquet(path).with_columns(event=events).write_parquet(path)
    return RecommendationData.load(folder)


@pytest.fixture
def model(data: RecommendationData) -> Popularity:
    found = Popularity()
    found.fit(data)
    return found


def test_groups_are_reported_apart(model: Popularity, data: RecommendationData) -> None:
    found = evaluate(model, data)
    assert {name: mask.tolist() for name, mask in found.groups.items()} == {
        "with history": [True, False, True, False],
        "without history": [False, True, False, True],
        "known target": [True, True, False, False],
        "cold target": [False, False, True, True],
        "event buy": [False, False, True, False],
        "event click": [True, True, False, True],
    }
    metrics = found.metrics()
    assert metrics["known target"]["HR@3"].value == 1.0  # ranks 3 (tied) and 1
    assert metrics["cold target"]["HR@3"].value == 0.0
    assert list(metrics["all"]) == ["HR@1", "NDCG@1", "HR@3", "NDCG@3", "HR@10", "NDCG@10", "MRR"]


def test_groups_that_hold_all_rows_are_not_repeated(tmp_path: Path) -> None:
    data = RecommendationData.load(write_folder(tmp_path, 4, TRAIN, TEST, [([0], 1)]))
    model = Popularity()
    model.fit(data)
    assert evaluate(model, data).groups == {}


def test_ranks_come_back(model: Popularity, data: RecommendationData, tmp_path: Path) -> None:
    found = evaluate(model, data, label="popular", seed=3)
    metrics = found.save(tmp_path / "run" / "test")
    for folder in (tmp_path / "run", tmp_path / "run" / "test"):
        loaded = Evaluation.load(folder)
        assert loaded.task == found.task
        assert loaded.ranks.tolist() == found.ranks.tolist()
        assert loaded.metrics() == metrics
    said = json.loads((tmp_path / "run" / "test" / "results.json").read_text())
    assert said["task"]["hash"] == "f" * 64
    assert said["rows"]["without history"] == 2
    assert said["metrics"]["all"]["HR@1"]["value"] == metrics["all"]["HR@1"].value


def test_draws_come_back(tmp_path: Path) -> None:
    lists = [[[1, 3], [2, 1]], [[0, 3], [0, 2]], [[3, 0], [0, 3]], [[3, 1], [3, 2]]]
    folder = write_folder(tmp_path / "data", 4, TRAIN, TEST, TEST, candidates=lists, metric="HitRatio@1")
    data = RecommendationData.load(folder)
    model = Popularity()
    model.fit(data)
    found = evaluate(model, data)
    assert found.columns["HitRatio@1"].tolist() == [0.5, 1.0, 0.0, 0.0]
    assert found.columns["HitRatio@1, draw 0"].tolist() == [1.0, 1.0, 0.0, 0.0]
    found.save(tmp_path)
    np.testing.assert_array_equal(Evaluation.load(tmp_path).draws, found.draws)


def test_candidates_alone_leave_the_catalogue_unranked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = [[[1, 3], [2, 1]], [[0, 3], [0, 2]], [[3, 0], [0, 3]], [[3, 1], [3, 2]]]
    folder = write_folder(tmp_path / "data", 4, TRAIN, TEST, TEST, candidates=lists, metric="HitRatio@1")
    data = RecommendationData.load(folder)
    model = Popularity()
    model.fit(data)
    whole = evaluate(model, data)
    monkeypatch.delattr("graphrec.results.rank_rows")
    found = evaluate(model, data, candidates_only=True)
    assert len(found) == len(whole) == 4
    assert list(found.columns) == ["HitRatio@1", "HitRatio@1, draw 0"]
    np.testing.assert_array_equal(found.draws, whole.draws)
    assert found.metrics()["cold target"] == {
        name: whole.metrics()["cold target"][name] for name in found.columns
    }
    found.save(tmp_path)
    assert Evaluation.load(tmp_path).ranks is None
    sides = compare([whole, Evaluation.load(tmp_path)])
    assert [list(side.metrics) for side in sides] == [list(found.columns)] * 2
    assert sides[1].differences["HitRatio@1"].metric.value == 0


def test_candidates_alone_need_candidates(model: Popularity, data: RecommendationData) -> None:
    with pytest.raises(ValueError, match="decided by NDCG@10 of the whole catalogue.*set candidates_only to"):
        evaluate(model, data, candidates_only=True)
    with pytest.raises(ValueError, match="nothing was ranked"):
        Evaluation(evaluate(model, data).task, None)


def test_absent_and_foreign_ranks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Name the folder of a run that was tested"):
        Evaluation.load(tmp_path)
    pl.DataFrame({"rank": [1.0]}).write_parquet(tmp_path / "ranks.parquet")
    with pytest.raises(DataError, match="was not written by graphrec"):
        Evaluation.load(tmp_path)


def test_another_catalogue_is_refused(model: Popularity, tmp_path: Path) -> None:
    other = RecommendationData.load(
        write_folder(tmp_path / "other", 4, TRAIN, TEST, TEST, item_ids=["a", "b", "c", "d"])
    )
    with pytest.raises(ValueError, match="knows another catalogue"):
        check_catalogue(model, other)


def test_no_rows(model: Popularity, data: RecommendationData) -> None:
    path = data.folder / "test.parquet"
    pl.read_parquet(path).head(0).write_parquet(path)
    with pytest.raises(ValueError, match="has no test rows"):
        evaluate(model, RecommendationData.load(data.folder))
