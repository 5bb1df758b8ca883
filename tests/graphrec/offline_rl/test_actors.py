"""Weights of logged actions in the policy's loss."""

from __future__ import annotations

import torch

from graphrec.offline_rl.actors import advantage, advantage_weight, inverse_propensity, value_weight


def test_advantage_is_over_the_mean_of_all_candidates() -> None:
    values, negatives = torch.tensor([4.0]), torch.tensor([[1.0, 1.0]])
    assert advantage(values, negatives).tolist() == [2.0]


def test_no_weight_carries_a_gradient() -> None:
    values = torch.ones(2, requires_grad=True)
    negatives, logps = torch.zeros(2, 3, requires_grad=True), torch.zeros(2, requires_grad=True)
    weights = [
        value_weight(values),
        advantage(values, negatives),
        inverse_propensity(logps, torch.full((2,), 0.5)),
    ]
    assert not any(weight.requires_grad for weight in weights)


def test_ratios_are_cut_on_both_sides() -> None:
    logps = torch.tensor([0.5, 0.5, 1e-6]).log()
    ratios = inverse_propensity(logps, torch.tensor([0.25, 0.001, 0.5]), clip=(0.1, 10.0))
    torch.testing.assert_close(ratios, torch.tensor([2.0, 10.0, 0.1]))


def test_smoothing_by_zero_switches_the_correction_off() -> None:
    advantages, ratios = torch.tensor([-1.0, 2.0, 50.0]), torch.tensor([3.0, 3.0, 3.0])
    assert advantage_weight(advantages, ratios).tolist() == [0.0, 2.0, 10.0]
    torch.testing.assert_close(
        advantage_weight(advantages, ratios, smooth=1.0), torch.tensor([0.0, 6.0, 30.0])
    )
