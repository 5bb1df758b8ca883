"""Ragged rows in one array: cutting, choosing, padding, repeated items."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrec.histories import Histories, pad_history

ROWS = [[3, 1, 3], [], [5], [0, 2, 4, 2, 0]]
SOME_ROWS = st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=6)


@pytest.fixture
def histories() -> Histories:
    return Histories.from_lists(ROWS)


def test_lists_and_back(histories: Histories) -> None:
    assert histories.lists() == ROWS
    assert histories.lengths.tolist() == [3, 0, 1, 5]
    assert histories.rows.tolist() == [0, 0, 0, 2, 3, 3, 3, 3, 3]
    assert histories.positions.tolist() == [0, 1, 2, 0, 0, 1, 2, 3, 4]
    assert histories.places_from_end.tolist() == [2, 1, 0, 0, 4, 3, 2, 1, 0]


@settings(max_examples=40, deadline=None)
@given(SOME_ROWS, st.integers(0, 4), st.integers(-7, 7), st.integers(-7, 7))
def test_rows_are_chosen_and_cut_as_lists_are(rows: list[list[int]], n: int, first: int, last: int) -> None:
    histories = Histories.from_lists(rows)
    assert histories[first:last].lists() == rows[first:last]
    assert histories[::2].lists() == rows[::2]
    assert histories.last(n).lists() == [row[len(row) - n :] if n < len(row) else row for row in rows]
    assert histories.without_last(n).lists() == [row[: max(0, len(row) - n)] for row in rows]
    order = np.random.default_rng(0).permutation(len(rows))
    assert histories.select(order).lists() == [rows[number] for number in order]


def test_rows_by_mask(histories: Histories) -> None:
    assert histories.select(np.array([True, False, False, True])).lists() == [ROWS[0], ROWS[3]]


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        pytest.param("right", [[1, 3], [9, 9], [5, 9], [2, 0]], id="right"),
        pytest.param("left", [[1, 3], [9, 9], [9, 5], [2, 0]], id="left"),
    ],
)
def test_padding_keeps_the_latest(histories: Histories, side: str, expected: list[list[int]]) -> None:
    assert histories.padded(2, 9, side=side).tolist() == expected


def test_an_empty_history_counts_as_one_place() -> None:
    assert pad_history([], 3, 7) == ([7, 7, 7], 1)
    assert pad_history([1, 2, 3, 4], 3, 7) == ([2, 3, 4], 3)


def test_repeated_items_count_where_they_are_latest(histories: Histories) -> None:
    latest = histories.latest_of_each()
    assert histories.items[latest].tolist() == [1, 3, 5, 4, 2, 0]
    assert histories.seen_mask(6).sum(axis=1).tolist() == [2, 0, 1, 3]


@pytest.mark.parametrize(
    ("items", "ends", "message"),
    [
        pytest.param([1, 2], [1], "rise to the number of items", id="items-left-over"),
        pytest.param([1, 2], [2, 1, 2], "rise to the number of items", id="falling"),
        pytest.param([[1], [2]], [2], "flat", id="two-dimensions"),
    ],
)
def test_refusals(items: list[int], ends: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Histories(np.array(items), np.array(ends))


def test_refused_arguments(histories: Histories) -> None:
    for call in (
        lambda: histories.padded(0, 9),
        lambda: histories.last(-1),
        lambda: histories.padded(2, 9, side="middle"),
    ):
        with pytest.raises(ValueError, match="choose|give"):
            call()
