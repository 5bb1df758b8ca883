"""Temporal-difference losses, negatives and the conservative penalty on numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from graphrec.offline_rl.values import (
    conservative_penalty,
    double_q,
    negative_td_loss,
    td_loss,
    td_target,
)


def test_one_network_chooses_and_the_other_values() -> None:
    target = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    selector = torch.tensor([[0.0, 9.0, 5.0]], requires_grad=True)
    chosen = double_q(target, selector)
    assert chosen.tolist() == [2.0]
    assert not chosen.requires_grad


def test_nothing_lies_behind_the_end_of_a_session() -> None:
    rewards, next_values = torch.tensor([1.0, 0.2]), torch.tensor([math.inf, 4.0])
    targets = td_target(rewards, torch.tensor([True, False]), next_values, gamma=0.5)
    torch.testing.assert_close(targets, torch.tensor([1.0, 2.2]))


def test_values_are_pulled_to_the_target_and_the_target_is_not_pulled() -> None:
    values = torch.tensor([1.0, 3.0], requires_grad=True)
    targets = torch.tensor([2.0, 2.0])
    loss = td_loss(values, targets)
    assert loss.tolist() == [0.5, 0.5]
    loss.sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [-1.0, 1.0]


def test_negatives_stay_in_their_state() -> None:
    values = torch.tensor([[1.0, 0.0]], requires_grad=True)
    loss = negative_td_loss(values, torch.tensor([4.0]), gamma=0.5, reward=-1.0)
    assert loss.tolist() == [0.5]  # target -1 + 0.5 * 4 = 1: the first is there, the second one away
    loss.sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [[0.0, -1.0]]


class TestConservativePenalty:
    def test_by_hand(self) -> None:
        penalty = conservative_penalty(torch.tensor([[0.0, 0.0, 0.0, 0.0]]), torch.tensor([1.0]))
        assert penalty.item() == pytest.approx(math.log(4) - 1)

    def test_low_temperature_compares_with_the_best_action(self) -> None:
        values = torch.tensor([[3.0, 7.0, 1.0]])
        cold = conservative_penalty(values, values[:, 0], temperature=1e-3)
        assert cold.item() == pytest.approx(4.0, abs=1e-3)

    def test_it_lifts_the_logged_action_and_lowers_all_others(self) -> None:
        values = torch.zeros(1, 5, requires_grad=True)
        conservative_penalty(values, values[:, 2]).sum().backward()
        assert values.grad is not None
        pulls = values.grad[0].tolist()
        assert pulls[2] < 0 < min(pulls[:2] + pulls[3:])
        assert sum(pulls) == pytest.approx(0.0, abs=1e-6)

    def test_never_below_zero_when_the_logged_action_takes_part(self) -> None:
        values = torch.randn(50, 6)
        assert conservative_penalty(values, values[:, 0], temperature=0.3).min() >= 0


@pytest.mark.parametrize("gamma", [-0.1, 1.0, math.nan], ids=["negative", "one", "nan"])
def test_discounts_that_are_none(gamma: float) -> None:
    with pytest.raises(ValueError, match="is a discount"):
        td_target(torch.ones(1), torch.zeros(1, dtype=torch.bool), torch.ones(1), gamma=gamma)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf], ids=["zero", "negative", "infinite"])
def test_temperatures_that_are_none(temperature: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        conservative_penalty(torch.zeros(1, 2), torch.zeros(1), temperature=temperature)
