"""Weights of training samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrec.fairness.groups import ItemGroups
from graphrec.fairness.reweighting import LEAST, effective_samples, reweight, weighted_loss
from graphrec.histories import Histories


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_mean_weight_is_one_where_each_item_has_one_group(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = ItemGroups.by_popularity(rng.integers(0, 9, 12), 3)
    targets = np.concatenate([np.arange(12), rng.integers(0, 12, 8)])
    found = reweight(groups, Histories.from_lists(rng.integers(0, 12, (20, 4))), targets)
    assert found.weights.mean() == pytest.approx(1)
    assert 0 < found.effective_share <= 1


def test_equal_distributions_change_nothing() -> None:
    groups = ItemGroups.from_lists([[0], [1], [0, 1]], ["a", "b"])
    found = reweight(groups, Histories.from_lists([[0], [1], [2]]), np.array([0, 1, 2]))
    assert found.weights.tolist() == [1, 1, 1]
    assert found.effective_share == 1


def test_what_has_no_group_weighs_one_and_is_told() -> None:
    groups = ItemGroups.from_lists([[0], [1], []], ["a", "b"])
    found = reweight(groups, Histories.from_lists([[0, 1], [1], [2]]), np.array([0, 0, 2]))
    np.testing.assert_allclose(found.weights, [1 / 3, 1 / 3, 1])
    assert found.unseen == ("b",)
    assert found.without_group == 1
    assert found.effective_samples == pytest.approx((5 / 3) ** 2 / (2 / 9 + 1))


def test_lists_can_take_the_place_of_targets() -> None:
    groups = ItemGroups.from_lists([[0], [1], [1], []], ["rare", "common"])
    histories, targets = Histories.from_lists([[0, 1], [2, 3]]), np.array([0, 1])
    found = reweight(groups, histories, targets, shown=np.array([[1, 2], [2, 1], [2, -1]]))
    rare, common = (1 / 3 + LEAST) / LEAST, (2 / 3 + LEAST) / (1 + LEAST)
    assert found.group_weights.tolist() == pytest.approx([rare, common])
    assert found.weights.mean() == pytest.approx(1)
    assert found.weights[0] / found.weights[1] == pytest.approx(rare / common)
    assert found.target_shares.tolist() == [0, 1]
    milder = reweight(groups, histories, targets, shown=np.array([[1, 2], [2, 1], [2, -1]]), power=0.5)
    assert milder.group_weights.tolist() == pytest.approx([rare**0.5, common**0.5])
    assert milder.weights.mean() == pytest.approx(1)
    assert not found.unseen


def test_effective_samples() -> None:
    assert effective_samples(np.array([1.0, 1.0, 0.0])) == 2


def test_a_weight_moves_its_own_sample_only() -> None:
    logps = torch.tensor([-4.0, -1.0], requires_grad=True)
    lengths, weights = torch.tensor([2, 1]), torch.tensor([3.0, 0.5])
    loss = weighted_loss(logps, lengths, weights)
    assert loss.item() == pytest.approx((3 * 2 + 0.5 * 1) / 2)
    loss.backward()
    assert logps.grad is not None
    assert logps.grad.tolist() == [-3 / 2 / 2, -0.5 / 2]


@pytest.mark.parametrize(
    ("histories", "targets", "message"),
    [
        pytest.param([[0]], [0, 1], "give one each", id="lengths"),
        pytest.param([], [], "at least one", id="nothing"),
        pytest.param([[1]], [0], "no history of these samples is in a group", id="no-group-in-histories"),
        pytest.param([[0]], [1], "no target of these samples is in a group", id="no-group-in-targets"),
    ],
)
def test_refusals(histories: list[list[int]], targets: list[int], message: str) -> None:
    groups = ItemGroups.from_lists([[0], []], ["a"])
    with pytest.raises(ValueError, match=message):
        reweight(groups, Histories.from_lists(histories), np.array(targets, dtype=np.int64))
