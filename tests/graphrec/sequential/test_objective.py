"""Losses of a batch by name: which negatives they see, and what they come to."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from graphrec.sequential.config import Loss, SASRecConfig
from graphrec.sequential.negatives import SharedNegatives, uniform_except
from graphrec.sequential.objective import Objective

ITEMS = 30


def inputs() -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    targets = torch.arange(12) % ITEMS
    return torch.randn(12, 6), targets, (torch.randn(ITEMS, 6) / 3, torch.randn(ITEMS) / 3)


@pytest.mark.parametrize("power", [0.0, 1.0], ids=["even", "popular"])
def test_sampled_softmax_nears_the_full_one_as_samples_grow(power: float) -> None:
    states, targets, scoring = inputs()
    config = SASRecConfig(loss="sampled_softmax", num_negatives=60_000, negative_power=power)
    counts = torch.randint(1, 50, (ITEMS,))
    expected = cross_entropy(states @ scoring[0].T + scoring[1], targets)
    assert Objective(config, counts)(states, targets, scoring).item() == pytest.approx(
        expected.item(), abs=0.02
    )


def test_softmax_is_the_whole_catalogue() -> None:
    states, targets, scoring = inputs()
    expected = cross_entropy(states @ scoring[0].T + scoring[1], targets)
    got = Objective(SASRecConfig(), torch.ones(ITEMS))(states, targets, scoring)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
@pytest.mark.parametrize("loss", ["gbce", "bce"])
def test_the_target_is_no_negative_of_its_own(loss: Loss, shared: bool) -> None:
    config = SASRecConfig(loss=loss, num_negatives=1, shared_negatives=shared)
    objective = Objective(config, torch.ones(2))
    states, scoring = torch.zeros(40, 3), (torch.zeros(2, 3), torch.tensor([-30.0, 30.0]))
    # one item scores high and is always the target: only the other could be counted as a negative
    assert objective(states, torch.ones(40, dtype=torch.long), scoring).item() == pytest.approx(0, abs=1e-6)


def test_own_negatives_are_all_other_items_alike() -> None:
    targets = torch.tensor([0, 4, 9]).repeat_interleave(4000)
    drawn = uniform_except(targets, 2, 10)
    assert not (drawn == targets.unsqueeze(1)).any()
    counts = torch.bincount(drawn[:4000].flatten(), minlength=10)[1:]
    assert counts.min() > 0.85 * 8000 / 9


def test_shared_negatives_follow_the_counts() -> None:
    counts = torch.tensor([0, 1, 3, 12])
    negatives = SharedNegatives(counts, 1.0)
    drawn = torch.bincount(negatives.draw(34_000, torch.device("cpu")), minlength=4) / 34_000
    share = torch.tensor([1, 1, 3, 12]) / 17
    torch.testing.assert_close(drawn, share, atol=0.01, rtol=0)
    expected = negatives.log_expected(torch.arange(4), 34)
    torch.testing.assert_close(expected, (34 * share).log(), atol=1e-5, rtol=0)


def test_one_item_cannot_be_told_apart() -> None:
    with pytest.raises(ValueError, match="the catalogue has one"):
        Objective(SASRecConfig(loss="bce", num_negatives=1), torch.ones(1))


def test_more_negatives_than_items_are_refused() -> None:
    with pytest.raises(ValueError, match="negatives out of 30 items"):
        Objective(SASRecConfig(loss="gbce"), torch.ones(ITEMS))
