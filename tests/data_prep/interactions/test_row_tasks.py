"""Ranking tasks from published rows."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from pickled_rows import write_rows

from data_prep.errors import DataError
from data_prep.interactions.row_tasks import (
    PublishedRows,
    after,
    train_test_rows,
    window_parts,
    with_candidates,
    zhihu_parts,
)
from data_prep.readers.history_rows import read_history_rows

TRAIN, VALID, TEST = [[0, 1, 2], [3, 4]], [[5, 6]] + [[n % 9, 9] for n in range(9)], [[7, 8], [1]]


@pytest.fixture
def rows(tmp_path: Path) -> PublishedRows:
    read = [
        read_history_rows(write_rows(tmp_path / f"{name}.df", sequences, width=2, pad=10), 10)
        for name, sequences in (("train", TRAIN), ("valid", VALID), ("test", TEST))
    ]
    return PublishedRows(*read)


def sequences(part: pl.DataFrame) -> list[list[int]]:
    return part.group_by("sequence", maintain_order=True).agg("item")["item"].to_list()


def test_training_rows_become_sequences_and_validation_rows_join_them(rows):
    parts = train_test_rows(rows)
    assert sequences(parts.train) == TRAIN
    assert sequences(parts.trainval) == [*TRAIN, *VALID]
    assert parts.test.select("history", "target").rows() == [([], 7), ([7], 8), ([], 1)]


def test_no_two_parts_share_a_sequence_number(rows):
    parts = train_test_rows(rows)
    numbers = [set(part["sequence"]) for part in (parts.train, parts.valid, parts.test)]
    assert len(set.union(*numbers)) == sum(map(len, numbers)) == len(TRAIN) + len(VALID) + len(TEST)
    assert set(parts.trainval["sequence"]) == numbers[0] | numbers[1]


def test_sets_without_training_rows_say_so(rows):
    with pytest.raises(DataError, match="not published"):
        train_test_rows(PublishedRows(None, rows.valid, rows.test))


@pytest.mark.parametrize(
    ("variant", "fitted", "validation_rows"),
    [("train", TRAIN, 20), ("train+val", [*TRAIN, *VALID], 0), ("val-window", VALID, 0)],
)
def test_variants_of_what_is_fitted(rows, variant, fitted, validation_rows):
    parts = zhihu_parts(rows, variant)
    assert sequences(parts.train) == fitted
    assert len(parts.valid) == validation_rows
    assert parts.test.drop("sequence").equals(train_test_rows(rows).test.drop("sequence"))


def test_a_window_is_fitted_but_for_its_last_sequences(rows):
    parts = window_parts(rows)
    assert sequences(parts.train) == VALID[:9]
    assert sequences(parts.trainval) == VALID
    assert parts.valid.select("row", "history", "target").rows() == [(0, [], 8), (1, [8], 9)]
    assert parts.test["sequence"].to_list() == [10, 10, 11]


def test_sequences_can_be_numbered_after_others():
    frame = pl.DataFrame({"sequence": [0, 0, 1]})
    assert after(frame, frame, frame)["sequence"].to_list() == [4, 4, 5]


def test_candidates_for_rows(rows):
    parts = with_candidates(train_test_rows(rows), 10, size=3, draws=2)
    assert parts.test["candidates"].list.len().to_list() == [2, 2, 2]
    assert parts.valid["candidates"].explode().list.len().unique().to_list() == [3]
