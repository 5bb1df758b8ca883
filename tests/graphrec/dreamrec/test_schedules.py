from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrec.dreamrec.schedules import SCHEDULES, Diffusion


@pytest.mark.parametrize("schedule", SCHEDULES)
@given(num_steps=st.integers(2, 300))
@settings(max_examples=15, deadline=None)
def test_noise_only_grows(schedule: str, num_steps: int) -> None:
    diffusion = Diffusion.build(schedule, num_steps)
    assert len(diffusion) == num_steps
    assert bool((diffusion.alpha_bars.diff() < 0).all())
    assert bool((diffusion.alpha_bars > 0).all())
    assert diffusion.betas.dtype == torch.float64


@pytest.mark.parametrize(("num_steps", "left"), [(100, 0.36356), (500, 0.006353)])
def test_linear_leaves_signal_by_hand(num_steps: int, left: float) -> None:
    assert Diffusion.build("linear", num_steps).alpha_bars[-1].item() == pytest.approx(left, rel=1e-4)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_posterior_of_the_first_step_is_the_clean_vector(schedule: str) -> None:
    diffusion = Diffusion.build(schedule, 20)
    x0, x_t = torch.randn(2, 3, 4, dtype=torch.float64)
    mean, variance = diffusion.posterior(x0, x_t, torch.zeros(3, dtype=torch.long))
    torch.testing.assert_close(mean, x0)
    assert not variance.any()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_posterior_is_bayes_rule(schedule: str) -> None:
    """Precisions of q(x_{t-1} | x0) and of x_t given x_{t-1} add up."""
    diffusion = Diffusion.build(schedule, 12)
    alphas = 1 - diffusion.betas[1:]
    prior = 1 / (1 - diffusion.alpha_bars_before[1:])
    likelihood = alphas / diffusion.betas[1:]
    torch.testing.assert_close(diffusion.variances[1:], 1 / (prior + likelihood))
    mean_of_x0 = prior * diffusion.alpha_bars_before[1:].sqrt() / (prior + likelihood)
    torch.testing.assert_close(diffusion.clean_weights[1:], mean_of_x0)


def test_noised_keeps_the_variance_of_standard_vectors() -> None:
    diffusion = Diffusion.build("cosine", 10)
    squares = diffusion.signal_scales**2 + diffusion.noise_scales**2
    torch.testing.assert_close(squares, torch.ones_like(squares))
    x0, noise = torch.randn(2, 10, 4)
    noised = diffusion.noised(x0, torch.arange(10), noise)
    assert noised.dtype == torch.float32
    torch.testing.assert_close(
        noised[3], (diffusion.signal_scales[3] * x0[3] + diffusion.noise_scales[3] * noise[3]).float()
    )


@pytest.mark.parametrize(
    ("schedule", "num_steps", "said"),
    [("linear", 1, "at least 2 steps"), ("quadratic", 10, "linear, exp, cosine, sqrt")],
    ids=["one step", "unknown schedule"],
)
def test_refusals(schedule: str, num_steps: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Diffusion.build(schedule, num_steps)


@pytest.mark.parametrize("betas", [[0.1, 1.0], [0.0, 0.5], [[0.1], [0.2]]], ids=["one", "zero", "matrix"])
def test_variances_that_are_no_schedule(betas: list) -> None:
    with pytest.raises(ValueError, match="above 0 and below 1"):
        Diffusion.from_betas(torch.tensor(betas))
