"""Recommenders as policies, and rows as sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_sessions import NUM_ITEMS, walks, write_sessions

from graphrec.data import Rows
from graphrec.histories import Histories
from graphrec.offline_rl.policies import following, popularity, sessions, show
from graphrec.recommender import Recommender


class Fixed(Recommender):
    """The same scores in every state, in pieces of three rows."""

    name = "fixed"
    config_class = dict

    def __init__(self, scores: np.ndarray) -> None:
        self.values = scores

    def fit(self, data: Any, **options: Any) -> Any:
        raise NotImplementedError

    def scores(self, histories: Histories) -> np.ndarray:
        return np.tile(self.values, (len(histories), 1))

    def parts(self, num_rows: int) -> Any:
        return (slice(first, min(first + 3, num_rows)) for first in range(0, num_rows, 3))

    def arrays(self) -> dict[str, Any]:
        return {}

    def set_arrays(self, arrays: Any) -> None:
        del arrays


def rows_of(sequences: list[list[int]]) -> Rows:
    pairs = [(walk[:place], walk[place]) for walk in sequences for place in range(len(walk))]
    return Rows(Histories.from_lists([history for history, _ in pairs]), np.array([t for _, t in pairs]))


def test_probabilities_ranks_and_mean_vectors() -> None:
    scores, vectors = np.log([0.1, 0.2, 0.3, 0.4]), np.random.default_rng(0).random((4, 2))
    rows = rows_of([[3, 0, 1], [2, 2]])
    shown = show(Fixed(scores), rows, vectors=vectors)
    assert shown.ranks.tolist() == [1, 4, 3, 2, 2]
    np.testing.assert_allclose(shown.probabilities, [0.4, 0.1, 0.2, 0.3, 0.3])
    assert shown.mean_vectors is not None
    np.testing.assert_allclose(shown.mean_vectors, np.tile(np.array([0.1, 0.2, 0.3, 0.4]) @ vectors, (5, 1)))


def test_a_cold_policy_shows_its_first_item_only() -> None:
    shown = show(Fixed(np.array([0.0, 900.0, 1.0])), rows_of([[1, 0]]), temperature=0.01)
    assert shown.probabilities.tolist() == [1.0, 0.0]
    assert shown.mean_vectors is None


def test_popularity_leaves_no_item_without_a_share() -> None:
    shares = popularity(np.array([0, 0, 2]), 4)
    np.testing.assert_allclose(shares, np.array([3, 1, 2, 1]) / 7)


def test_rows_go_on_within_their_session(tmp_path: Path) -> None:
    data = write_sessions(tmp_path / "data")
    followers = following(data.test)
    lengths = [len(walk) for walk in walks(20, 2)]
    ends = np.cumsum(lengths) - 1
    expected = np.arange(1, sum(lengths) + 1)
    expected[ends] = -1
    assert followers.tolist() == expected.tolist()
    assert sessions(followers).tolist() == np.repeat(np.arange(20), lengths).tolist()
    assert data.num_items == NUM_ITEMS


def test_rows_that_only_look_alike_are_not_joined() -> None:
    rows = Rows(Histories.from_lists([[], [4], [4, 9], [5, 2, 1]]), np.array([4, 2, 1, 1]))
    assert following(rows).tolist() == [1, -1, -1, -1]


def test_leave_one_out_rows_are_no_sessions() -> None:
    rows = Rows(Histories.from_lists([[1, 2], [3, 4]]), np.array([3, 1]))
    with pytest.raises(ValueError, match="one row for each event"):
        following(rows)
