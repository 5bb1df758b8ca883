"""Negatives: never what was taken, everything else alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrec.histories import Histories
from graphrec.offline_rl.negatives import draw_other, draw_outside


def test_other_items_are_drawn_alike() -> None:
    drawn = draw_other(np.array([2, 0]), 4, 6000, np.random.default_rng(0))
    for row, taken in zip(drawn, (2, 0), strict=True):
        counts = np.bincount(row, minlength=4)
        assert counts[taken] == 0
        assert np.delete(counts, taken) / len(row) == pytest.approx([1 / 3] * 3, abs=0.03)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=9), min_size=1, max_size=5))
def test_nothing_of_the_session_is_drawn_and_everything_else_is(walks: list[list[int]]) -> None:
    num_items = 9
    sessions = Histories.from_lists(walks)
    rows = np.random.default_rng(1).integers(len(walks), size=len(walks) + 2)
    drawn = draw_outside(sessions, rows, num_items, 300, np.random.default_rng(2))
    for row, found in zip(rows, drawn, strict=True):
        assert set(found.tolist()) == set(range(num_items)) - set(walks[row])


def test_draws_outside_are_uniform() -> None:
    drawn = draw_outside(Histories.from_lists([[0, 3]]), np.array([0]), 5, 6000, np.random.default_rng(0))
    assert np.bincount(drawn[0], minlength=5) / 6000 == pytest.approx([0, 1 / 3, 1 / 3, 0, 1 / 3], abs=0.03)


def test_nothing_to_draw() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="one item has no negatives"):
        draw_other(np.array([0]), 1, 2, rng)
    sessions = Histories.from_lists([[1], [0, 1, 2]])
    with pytest.raises(ValueError, match="session 1 holds the whole catalogue"):
        draw_outside(sessions, np.array([0, 1]), 3, 2, rng)
