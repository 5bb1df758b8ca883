"""Samples of BIGRec."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphrec.bigrec.windows import windows
from graphrec.histories import Histories

USERS = Histories.from_lists([[1, 2, 3, 4], [5], [7, 6]])
TIMES = np.array([1.0, 2.0, 3.0, 4.0, 9.0, 8.0, 2.5])


def test_full_windows_alone() -> None:
    found = windows(USERS, TIMES, window=2)
    assert found.histories.lists() == [[1, 2], [2, 3]]
    assert found.targets.tolist() == [3, 4]
    assert found.users.tolist() == [0, 0]


def test_short_users_give_their_last_interaction() -> None:
    found = windows(USERS, TIMES, window=2, variant="game")
    assert found.histories.lists() == [[1, 2], [2, 3], [6]]
    assert found.targets.tolist() == [3, 4, 7]
    empty = windows(USERS, TIMES, window=2, variant="game", keep_empty=True)
    assert empty.histories.lists() == [[1, 2], [2, 3], [6], []]
    assert empty.targets.tolist() == [3, 4, 7, 5]


def test_the_cut_is_by_count() -> None:
    found = windows(Histories.from_lists([range(21)]), np.arange(21.0), window=10)
    assert (len(found), found.num_train, found.num_valid, found.num_test) == (11, 8, 1, 2)


def test_ties_keep_the_order_of_the_source() -> None:
    found = windows(Histories.from_lists([[3, 1, 2]]), np.zeros(3), window=1)
    assert found.histories.lists() == [[3], [1]]


def test_refusals() -> None:
    unknown: Any = "book"
    with pytest.raises(ValueError, match="choose 'movie' or 'game'"):
        windows(USERS, TIMES, variant=unknown)
    with pytest.raises(ValueError, match="no effect on the movie variant"):
        windows(USERS, TIMES, keep_empty=True)
    with pytest.raises(ValueError, match="window=0"):
        windows(USERS, TIMES, window=0)
