"""Mean and soft minimum of losses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from align.reductions import MeanReduction, SoftMinimum, soft_minimum

LOSSES = torch.tensor([0.1, 0.5, 2.0, 9.0], dtype=torch.float64)
EVERY = torch.ones(4).bool()


def test_soft_minimum_by_hand() -> None:
    losses = torch.tensor([math.log(2.0), math.log(4.0)], dtype=torch.float64)
    torch.testing.assert_close(soft_minimum(losses, 1.0).item(), -math.log((1 / 2 + 1 / 4) / 2))


@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.floats(0, 60), min_size=1, max_size=6), beta_prime=st.floats(0.05, 50))
def test_soft_minimum_equals_its_definition(values: list[float], beta_prime: float) -> None:
    losses = torch.tensor(values, dtype=torch.float64)
    plain = -beta_prime * (torch.logsumexp(-losses / beta_prime, 0) - math.log(len(values)))
    torch.testing.assert_close(soft_minimum(losses, beta_prime), plain, rtol=1e-9, atol=1e-9)


def test_soft_minimum_keeps_its_digits_in_single_precision() -> None:
    exact = soft_minimum(LOSSES, 1e4)
    torch.testing.assert_close(soft_minimum(LOSSES.float(), 1e4).double(), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("loss", [110.0, 5000.0], ids=["underflow", "far"])
def test_soft_minimum_of_large_losses_is_finite(loss: float) -> None:
    losses = torch.tensor([loss, loss + 1], requires_grad=True)
    soft_minimum(losses, 1.0).backward()
    assert losses.grad is not None
    torch.testing.assert_close(losses.grad, torch.tensor([0.0, -1.0]).softmax(0))


@pytest.mark.parametrize(
    "reduction", [MeanReduction(), SoftMinimum(0.5), SoftMinimum(3.0)], ids=["mean", "sharp", "soft"]
)
def test_weights_are_the_derivative(reduction: MeanReduction | SoftMinimum) -> None:
    losses, kept = LOSSES.clone().requires_grad_(), torch.tensor([True, False, True, True])
    reduction(losses, kept).backward()
    assert losses.grad is not None
    torch.testing.assert_close(losses.grad, reduction.weights(losses, kept))
    assert losses.grad[1] == 0


def test_small_losses_weigh_most() -> None:
    weights = SoftMinimum(1.0).weights(LOSSES, EVERY)
    assert (weights.diff() < 0).all() and weights.sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("reduction", [MeanReduction(), SoftMinimum()], ids=["mean", "soft-minimum"])
def test_of_nothing_is_zero_and_attached(reduction: MeanReduction | SoftMinimum) -> None:
    losses = LOSSES.clone().requires_grad_()
    loss = reduction(losses, ~EVERY)
    loss.backward()
    assert loss == 0 and losses.grad is not None and not losses.grad.any()
    assert not reduction.weights(LOSSES, ~EVERY).any()


def test_mean_of_a_part_divides_by_the_whole() -> None:
    parts = [MeanReduction()(LOSSES[rows], EVERY[rows], 4) for rows in (slice(0, 1), slice(1, 4))]
    torch.testing.assert_close(parts[0] + parts[1], LOSSES.mean())


@pytest.mark.parametrize(
    ("kind", "options", "word"),
    [
        (SoftMinimum, {"beta_prime": 0.0}, "beta_prime=0.0 must be above zero"),
        (SoftMinimum, {"scope": "rank"}, "global"),
        (MeanReduction, {"scope": "rank"}, "local"),
    ],
    ids=["softness", "scope-of-soft-minimum", "scope-of-mean"],
)
def test_wrong_settings_are_refused(kind: type, options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        kind(**options)


def test_soft_minimum_of_a_part_is_refused() -> None:
    with pytest.raises(ValueError, match="all of them at once"):
        SoftMinimum()(LOSSES, EVERY, 8)
