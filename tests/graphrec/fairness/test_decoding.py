"""Answers that are chosen with an eye on their groups."""

from __future__ import annotations

import numpy as np
import pytest

from graphrec.fairness.decoding import (
    assign_groups,
    best_of_groups,
    choose_answers,
    group_logps,
    held_to_groups,
)
from graphrec.fairness.groups import ItemGroups

GROUPS = ItemGroups.from_lists([[0], [0, 1], [1], []], ["a", "b"])


def test_best_of_each_group() -> None:
    items, scores = best_of_groups(np.array([[1.0, 3.0, 2.0, 9.0], [5.0, -np.inf, -np.inf, 0.0]]), GROUPS)
    assert items[0].tolist() == [1, 1]
    assert scores.tolist() == [[3, 3], [5, -np.inf]]


def test_group_probabilities_sum_to_one() -> None:
    logps = np.log(np.array([[0.5, 0.2, 0.1, 0.2]]))
    np.testing.assert_allclose(np.exp(group_logps(logps, GROUPS)), [[0.6 / 0.8, 0.2 / 0.8]])
    with pytest.raises(ValueError, match="row 0 offers no item of any group"):
        group_logps(np.array([[-np.inf, -np.inf, -np.inf, 0.0]]), GROUPS)


def test_rows_that_lose_least_change_their_group() -> None:
    chances = np.log(np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.7, 0.3]]))
    assert assign_groups(chances, np.array([0.5, 0.5])).tolist() == [0, 0, 1, 1]
    assert assign_groups(chances, np.array([0.75, 0.25])).tolist() == [0, 0, 1, 0]


def test_beams_are_chosen_at_least_loss() -> None:
    items = np.array([[0, 2, -1], [0, 2, 2], [0, 3, 2]])
    scores = np.array([[0.0, -1.0, 5.0], [0.0, -9.0, -0.2], [0.0, -0.1, -3.0]])
    found = choose_answers(items, scores, GROUPS, np.array([2 / 3, 1 / 3]), tolerance=0.01)
    assert found.lists[:, 0].tolist() == [0, 2, 0]
    assert found.cost == pytest.approx(0.2 / 3)


def test_a_decoder_is_held_to_its_group() -> None:
    held = held_to_groups(np.ones((2, 4), dtype=np.float32), GROUPS, np.array([1, 0]))
    assert held.tolist() == [[-np.inf, 1, 1, -np.inf], [1, 1, -np.inf, -np.inf]]
    assert held.dtype == np.float32
