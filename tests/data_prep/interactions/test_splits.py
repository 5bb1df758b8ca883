"""Split rules over interactions."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.errors import DataError
from data_prep.interactions.log import Log, RawLog, number
from data_prep.interactions.splits import (
    Parts,
    assign_sequences,
    by_global_time,
    by_sequence,
    leave_one_out,
)


def log_of(*sequences: list[int], times: list[list[float]] | None = None) -> Log:
    """A log whose item numbers are the given ones, for items 0 to 9."""
    rows = [(f"s{n}", str(item)) for n, items in enumerate(sequences) for item in items]
    frame = pl.DataFrame(rows, schema=["sequence", "item"], orient="row")
    if times is not None:
        frame = frame.with_columns(time=pl.Series([time for one in times for time in one]))
    catalogue = pl.DataFrame({"item_id": [str(item) for item in range(10)]})
    return number(RawLog(frame, catalogue, whole_catalogue=True))


def fitted(part: pl.DataFrame) -> dict[int, list[int]]:
    return dict(part.group_by("sequence", maintain_order=True).agg("item").iter_rows())


def ranked(rows: pl.DataFrame) -> list[tuple[list[int], int]]:
    return rows.select("history", "target").rows()


def test_leave_one_out():
    parts = leave_one_out(log_of([1, 2, 3, 4], [5, 6], [7, 8, 9]))
    assert fitted(parts.train) == {0: [1, 2], 1: [5, 6], 2: [7]}
    assert fitted(parts.trainval) == {0: [1, 2, 3], 1: [5, 6], 2: [7, 8]}
    assert ranked(parts.valid) == [([1, 2], 3), ([7], 8)]
    assert ranked(parts.test) == [([1, 2, 3], 4), ([7, 8], 9)]
    assert parts.test["sequence"].to_list() == [0, 2]
    assert parts.test["row"].to_list() == [0, 1]


def test_leave_one_out_needs_a_sequence_of_three():
    with pytest.raises(DataError, match="No sequence has three"):
        leave_one_out(log_of([1, 2], [3]))


def test_global_time_cuts_all_sequences_at_the_same_moments():
    log = log_of([1, 2, 3, 4, 5], [6, 7, 8, 9, 0], times=[[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]])
    parts = by_global_time(log, (0.6, 0.2, 0.2))
    assert fitted(parts.train) == {0: [1, 2, 3], 1: [6, 7, 8]}
    assert fitted(parts.trainval) == {0: [1, 2, 3, 4], 1: [6, 7, 8, 9]}
    assert ranked(parts.valid) == [([1, 2, 3], 4), ([6, 7, 8], 9)]
    assert ranked(parts.test) == [([1, 2, 3, 4], 5), ([6, 7, 8, 9], 0)]
    assert parts.train["time"].max() < parts.valid["time"].min() <= parts.valid["time"].max()
    assert parts.trainval["time"].max() < parts.test["time"].min()


def test_global_time_gives_a_row_the_history_within_its_period():
    log = log_of([1, 2, 3, 4], [5, 6, 7, 8], times=[[0, 1, 8, 9], [0, 1, 2, 3]])
    assert ranked(by_global_time(log, (0.5, 0.25, 0.25)).test) == [([1, 2], 3), ([1, 2, 3], 4)]
    last = by_global_time(log, (0.5, 0.25, 0.25), targets="last")
    assert ranked(last.test) == [([1, 2, 3], 4)]


def test_global_time_keeps_equal_times_together():
    log = log_of([1, 2, 3, 4, 5, 6], times=[[0, 1, 1, 1, 2, 3]])
    parts = by_global_time(log, (0.4, 0.3, 0.3))
    assert fitted(parts.train) == {0: [1]}
    assert parts.valid["time"].to_list() == [1, 1, 1]


@pytest.mark.parametrize(
    ("times", "message"), [(None, "needs times"), ([[1, 1, 1]], "is empty")], ids=["no times", "one time"]
)
def test_global_time_says_what_it_lacks(times, message):
    with pytest.raises(DataError, match=message):
        by_global_time(log_of([1, 2, 3], times=times), (0.8, 0.1, 0.1))


def test_whole_sequences_are_held_out():
    log = log_of([1, 2, 3], [4, 5], [6, 7])
    parts = by_sequence(log, np.array([0, 1, 2]))
    assert fitted(parts.train) == {0: [1, 2, 3]}
    assert fitted(parts.trainval) == {0: [1, 2, 3], 1: [4, 5]}
    assert ranked(parts.valid) == [([4], 5)]
    assert ranked(parts.test) == [([6], 7)]


def test_all_interactions_of_held_out_sequences_can_be_ranked():
    parts = by_sequence(log_of([1, 2], [4, 5, 6]), np.array([0, 2]), targets="all")
    assert ranked(parts.test) == [([], 4), ([4], 5), ([4, 5], 6)]
    assert parts.valid.is_empty()


@pytest.mark.parametrize("part", [[0, 0], [2, 2]], ids=["no test", "no train"])
def test_a_part_without_sequences_is_an_error(part):
    with pytest.raises(DataError, match="No sequence is in the"):
        by_sequence(log_of([1, 2], [3, 4]), np.array(part))


def test_sequences_are_shuffled_by_the_seed():
    log = log_of(*[[n % 10] for n in range(40)])
    first, again, other = (assign_sequences(log, (0.8, 0.1, 0.1), seed=seed) for seed in (1, 1, 2))
    assert np.bincount(first).tolist() == [32, 4, 4]
    assert (first == again).all()
    assert (first != other).any()


def test_later_sequences_can_be_held_out():
    log = log_of([1], [2], [3], [4], [5], times=[[5], [1], [4], [2], [3]])
    assert assign_sequences(log, (0.6, 0.2, 0.2), order="time").tolist() == [2, 0, 1, 0, 0]


def test_an_order_in_time_needs_times():
    with pytest.raises(DataError, match="has times"):
        assign_sequences(log_of([1], [2]), (0.5, 0.0, 0.5), order="time")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=3, max_size=8))
def test_no_interaction_is_lost_or_doubled(sequences):
    log = log_of([1, 2, 3], *sequences)
    parts = leave_one_out(log)
    assert len(parts.train) + len(parts.valid) + len(parts.test) == len(log.frame)
    assert len(parts.trainval) + len(parts.test) == len(log.frame)
    for rows in (parts.valid, parts.test):
        for sequence, history, target in rows.select("sequence", "history", "target").iter_rows():
            whole = ([1, 2, 3], *sequences)[sequence]
            assert whole[: len(history) + 1] == [*history, target]


def test_targets_bring_their_own_columns():
    log = log_of([1, 2, 3], times=[[1, 2, 3]])
    parts: Parts = leave_one_out(log)
    assert parts.test["time"].to_list() == [3]
