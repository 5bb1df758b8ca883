"""Contrastive models of reward and transition."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from graphrec.offline_rl.contrast import (
    RewardContrast,
    TransitionContrast,
    contrast,
    reward_weights,
    top_one,
)

ROWS, NEGATIVES, STATE, ITEM = 5, 3, 6, 4


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(ROWS, STATE), torch.randn(ROWS, 1 + NEGATIVES, ITEM), torch.randn(ROWS, STATE)


def test_equal_similarities_give_chance() -> None:
    loss = contrast(torch.zeros(2, 4), temperature=0.1)
    torch.testing.assert_close(loss, torch.full((2,), math.log(4)))


def test_the_loss_falls_with_the_true_similarity() -> None:
    near, far = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.2, 0.1]])
    assert contrast(near, temperature=0.5) < contrast(far, temperature=0.5)
    with pytest.raises(ValueError, match="temperature"):
        contrast(near, temperature=0.0)


def test_a_purchase_pulls_as_much_harder_as_it_is_worth_more() -> None:
    weights = reward_weights(torch.tensor([0.2, 1.0]), largest=1.0)
    assert weights[1] / weights[0] == pytest.approx(5.0)


def test_accuracy_needs_the_true_one_strictly_ahead() -> None:
    similarities = torch.tensor([[0.5, 0.4], [0.5, 0.5], [0.1, 0.2]])
    assert top_one(similarities).tolist() == [True, False, False]


def test_reward_similarities_are_cosines(batch: tuple[torch.Tensor, ...]) -> None:
    states, candidates, _ = batch
    model = RewardContrast(STATE, ITEM)
    found = model(states, candidates)
    for row in range(ROWS):
        projected = states[row] @ model.projection
        for place in range(1 + NEGATIVES):
            expected = functional.cosine_similarity(projected, candidates[row, place], dim=0)
            torch.testing.assert_close(found[row, place], expected)


def test_prediction_is_the_network_of_state_and_item_side_by_side(batch: tuple[torch.Tensor, ...]) -> None:
    states, candidates, _ = batch
    model = TransitionContrast(STATE, ITEM)
    beside = torch.cat([states[:, None].expand(-1, 1 + NEGATIVES, -1), candidates], 2)
    expected = model.output(model.hidden(beside).relu())
    torch.testing.assert_close(model.predict(states, candidates), expected)


def test_the_state_that_followed_is_a_fixed_target(batch: tuple[torch.Tensor, ...]) -> None:
    states, candidates, reached = (tensor.requires_grad_() for tensor in batch)
    model = TransitionContrast(STATE, ITEM)
    model(states, candidates, reached, in_batch=True)[:, :-ROWS].sum().backward()
    assert reached.grad is None
    assert states.grad is not None and candidates.grad is not None


def test_other_rows_are_further_negatives_and_a_row_is_not_its_own(batch: tuple[torch.Tensor, ...]) -> None:
    states, candidates, reached = batch
    model = TransitionContrast(STATE, ITEM)
    alone = model(states, candidates, reached)
    widened = model(states, candidates, reached, in_batch=True)
    torch.testing.assert_close(widened[:, : 1 + NEGATIVES], alone)
    predicted = model.predict(states, candidates)[:, 0]
    for row in range(ROWS):
        for other in range(ROWS):
            found = widened[row, 1 + NEGATIVES + other]
            if row == other:
                assert found == -math.inf
            else:
                expected = functional.cosine_similarity(predicted[row], reached[other], dim=0)
                torch.testing.assert_close(found, expected)
