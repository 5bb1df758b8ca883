"""Drawn candidate lists of training rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrec.histories import Histories
from graphrec.llara.candidates import drawn_candidates


@settings(max_examples=40, deadline=None)
@given(
    seen=st.lists(st.lists(st.integers(0, 11), max_size=5), min_size=1, max_size=6),
    count=st.integers(2, 6),
    step=st.integers(0, 1000),
    num_items=st.sampled_from([12, 500]),
)
def test_lists_hold_the_target_once_and_nothing_that_was_seen(
    seen: list[list[int]], count: int, step: int, num_items: int
) -> None:
    targets = np.arange(len(seen)) % num_items
    lists = drawn_candidates(targets, Histories.from_lists(seen), num_items, count, seed=1, step=step)
    assert lists.shape == (len(seen), count)
    for row, target, before in zip(lists.tolist(), targets.tolist(), seen, strict=True):
        assert len(set(row)) == count
        assert row.count(target) == 1
        assert not set(row) - {target} & set(before)
        assert all(0 <= item < num_items for item in row)


def test_draws_hang_on_seed_and_step_alone() -> None:
    seen = Histories.from_lists([[1, 2], [3]])
    targets = np.array([4, 5])

    def drawn(seed: int, step: int) -> list[list[int]]:
        return drawn_candidates(targets, seen, 100, 20, seed=seed, step=step).tolist()

    assert drawn(0, 7) == drawn(0, 7)
    assert drawn(0, 7) != drawn(0, 8)
    assert drawn(0, 7) != drawn(1, 7)


@pytest.mark.parametrize("num_items", [30, 2000], ids=["few-items", "many-items"])
def test_the_target_stands_anywhere_and_others_are_drawn_evenly(num_items: int) -> None:
    rows = 4000
    targets = np.full(rows, 3)
    seen = Histories.from_lists([[1, 2]] * rows)
    lists = drawn_candidates(targets, seen, num_items, 10, seed=0, step=0)
    places = np.bincount(np.argmax(lists == 3, axis=1), minlength=10)
    assert ((places - rows / 10) ** 2 / (rows / 10)).sum() < 27.9  # chi-square, 9 degrees of freedom, 0.001
    others = np.bincount(lists.ravel(), minlength=num_items)
    assert others[[1, 2]].sum() == 0
    free = np.delete(others, [1, 2, 3])
    expected = 9 * rows / len(free)
    assert abs(((free - expected) ** 2 / expected).mean() - 1) < 0.6


def test_too_few_items_are_told() -> None:
    with pytest.raises(ValueError, match="row 1 leaves 2 items .* 4 are to be drawn"):
        drawn_candidates(np.array([0, 1]), Histories.from_lists([[], [2, 3]]), 5, 5, seed=0, step=0)
