"""Reading a built folder, and refusing one that does not hold together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tiny_recommenders import tiny_data, write_folder

from data_prep.errors import DataError
from graphrec.data import RecommendationData, Words

TRAIN = [[0, 1, 2], [3, 1]]
VALID = [([0, 1, 2], 3)]
TEST = [([0, 1, 2, 3], 1), ([], 2)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data", 4, TRAIN, VALID, TEST)


def test_everything_is_read(folder: Path) -> None:
    data = RecommendationData.load(folder)
    assert data.train.lists() == TRAIN
    assert data.trainval.lists() == [*TRAIN, [0, 1, 2, 3]]
    assert data.test.histories.lists() == [history for history, _ in TEST]
    assert data.test.targets.tolist() == [1, 2]
    assert data.test.candidates is None
    assert data.catalogue.item_ids == ["i0", "i1", "i2", "i3"]
    assert data.catalogue.groups["genres"][1] == ["odd", "all"]
    assert data.train_interactions.columns["time"].tolist() == [0, 1, 2, 0, 1]
    assert data.manifest.ties == "against"
    assert data.fitted(refit_on_trainval=True) is data.trainval_interactions


def test_events_are_words(folder: Path) -> None:
    path = folder / "test.parquet"
    pl.read_parquet(path).with_columns(event=pl.Series(["view", "buy"])).write_parquet(path)
    rows = RecommendationData.load(folder).test
    events = rows.columns["event"]
    assert isinstance(events, Words)
    assert events.is_word("buy").tolist() == [False, True]
    assert rows.select(np.array([1])).columns["event"].is_word("buy").tolist() == [True]
    with pytest.raises(ValueError, match="'click' does not occur; there are buy, view"):
        events.is_word("click")


def test_candidates_are_draws_of_equal_length(tmp_path: Path) -> None:
    lists = [[[0, 1], [1, 3]], [[2, 0], [3, 2]]]
    folder = write_folder(tmp_path, 4, TRAIN, TEST, TEST, candidates=lists)
    assert RecommendationData.load(folder).test.candidates.tolist() == lists


def read_all(folder: Path) -> tuple[object, ...]:
    data = RecommendationData.load(folder)
    return data.train, data.catalogue, data.valid


def rewrite(name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], None]:
    return lambda folder: change(pl.read_parquet(folder / name)).write_parquet(folder / name)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(lambda f: (f / "manifest.json").unlink(), "manifest.json is not a file", id="absent"),
        pytest.param(lambda f: (f / "manifest.json").write_text("{"), "not valid JSON", id="no-json"),
        pytest.param(
            lambda f: (f / "manifest.json").write_text('{"kind": "pairs"}'), "does not describe", id="kind"
        ),
        pytest.param(
            lambda f: (f / "manifest.json").write_text('{"kind": "recommendation"}'), "lacks name", id="lacks"
        ),
        pytest.param(lambda f: (f / "train.parquet").write_bytes(b"PAR1"), "damaged", id="cut-short"),
        pytest.param(
            rewrite("train.parquet", lambda t: t.with_columns(item=pl.lit(4))),
            "entry 0 is item 4, not 0 to 3",
            id="outside",
        ),
        pytest.param(
            rewrite("train.parquet", lambda t: t.with_columns(sequence=pl.Series([0, 1, 0, 1, 1]))),
            "not sorted by sequence",
            id="unsorted",
        ),
        pytest.param(rewrite("train.parquet", lambda t: t.head(0)), "has no interaction", id="nothing"),
        pytest.param(
            rewrite("items.parquet", lambda t: t.with_columns(item=pl.col("item") + 1)),
            "not numbered 0 to 3",
            id="numbering",
        ),
    ],
)
def test_a_broken_folder_is_told(folder: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(folder)
    with pytest.raises(DataError, match=message) as error:
        read_all(folder)
    assert "data-prep" in str(error.value)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        pytest.param([[[0, 1]], [[3, 1]]], "row 1: each list must hold the target once", id="no-target"),
        pytest.param([[[1, 1]], [[2, 1]]], "row 0: each list must hold the target once", id="target-twice"),
        pytest.param([[[0, 1]], [[2, 1, 0]]], "differ in number or length", id="ragged"),
    ],
)
def test_candidates_must_hold_the_target_once(tmp_path: Path, lists: list, message: str) -> None:
    folder = write_folder(tmp_path, 4, TRAIN, TEST, TEST, candidates=lists)
    with pytest.raises(DataError, match=message):
        assert RecommendationData.load(folder).test


def test_unknown_ties_and_splits(tmp_path: Path) -> None:
    data = tiny_data(tmp_path / "good")
    with pytest.raises(ValueError, match="choose 'valid' or 'test'"):
        data.rows("train")
    with pytest.raises(DataError, match="ties 'first' is not known"):
        tiny_data(tmp_path / "bad", ties="first")
