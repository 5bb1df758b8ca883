"""The closed form against the step-by-step samplers that it takes the place of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graphrec.dreamrec.closed_form import compose
from graphrec.dreamrec.denoiser import Denoiser
from graphrec.dreamrec.plans import Plan, ancestral, ddim, one_step
from graphrec.dreamrec.sampling import generate
from graphrec.dreamrec.schedules import SCHEDULES, Diffusion

WIDTH, STEPS, SAMPLES = 4, 12, 40_000


def denoiser() -> Denoiser:
    torch.manual_seed(1)
    return Denoiser(WIDTH, STEPS).double()


def conditions(rows: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    return torch.randn(rows, WIDTH, dtype=torch.float64), torch.randn(WIDTH, dtype=torch.float64)


@pytest.mark.parametrize("guidance", [0.0, 2.0, 5.0], ids=["no guidance", "guidance two", "guidance five"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_mean_and_covariance_of_the_ancestral_sampler(schedule: str, guidance: float) -> None:
    """Within three standard errors of the samples' own mean and covariance (four for the largest of ten)."""
    network, plan = denoiser(), ancestral(Diffusion.build(schedule, STEPS))
    history, null = conditions(1)
    with torch.no_grad():
        sampler = compose(plan, network.linear_parts())
        drawn = generate(
            network, plan, history.expand(SAMPLES, -1), null, guidance=guidance, seed=3, shared_noise=False
        )
    errors = (sampler.covariance.diagonal() / SAMPLES).sqrt()
    gap = (drawn.mean(0) - sampler.mean(history, null, guidance)[0]).abs() / errors
    assert gap.max() < 4
    assert gap.square().mean().sqrt() < 3
    spread = sampler.covariance
    deviations = ((spread.diagonal()[:, None] * spread.diagonal() + spread**2) / SAMPLES).sqrt()
    off = (torch.cov(drawn.T) - spread).abs() / deviations
    assert off.max() < 4.5
    assert off.square().mean().sqrt() < 3


@pytest.mark.parametrize(
    "steps", [lambda d: ddim(d, 5), lambda d: ddim(d, STEPS), one_step], ids=["five", "all", "one"]
)
def test_noiseless_samplers_exactly(steps: object) -> None:
    assert callable(steps)
    plan: Plan = steps(Diffusion.build("cosine", STEPS))
    network, (history, null) = denoiser(), conditions(3)
    with torch.no_grad():
        sampler = compose(plan, network.linear_parts())
        walked = generate(network, plan, history, null, guidance=2.0, seed=5)
    start = torch.randn(1, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(sampler.mean(history, null, 2.0) + start @ sampler.carry.T, walked)
    torch.testing.assert_close(sampler.covariance, sampler.carry @ sampler.carry.T)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ddim_with_all_steps_and_all_noise_is_ancestral(schedule: str) -> None:
    diffusion = Diffusion.build(schedule, STEPS)
    one, two = ancestral(diffusion), ddim(diffusion, STEPS, eta=1.0)
    assert one.steps.tolist() == two.steps.tolist()
    for name in ("clean_weights", "state_weights", "noise_scales"):
        torch.testing.assert_close(getattr(one, name), getattr(two, name), rtol=1e-7, atol=1e-9)


def test_no_guidance_is_the_conditional_model() -> None:
    network, (history, null) = denoiser(), conditions(3)
    with torch.no_grad():
        sampler = compose(ancestral(Diffusion.build("exp", STEPS)), network.linear_parts())
    torch.testing.assert_close(
        sampler.mean(history, null, 0.0), history @ sampler.gain.T + sampler.offset, rtol=0, atol=1e-12
    )
    assert torch.equal(sampler.mean(history, null, 0.0), sampler.mean(history, null * 9, 0.0))


def test_closed_form_needs_a_linear_denoiser() -> None:
    with pytest.raises(ValueError, match="2 layers.*'ancestral', 'ddim' or 'one_step'"):
        Denoiser(WIDTH, STEPS, num_layers=2).linear_parts()


@pytest.mark.parametrize(("steps", "eta"), [(0, 0.0), (13, 0.0), (5, 1.5)], ids=["none", "too many", "eta"])
def test_ddim_refuses(steps: int, eta: float) -> None:
    with pytest.raises(ValueError, match="ddim takes 1 to 12 steps|eta=1.5"):
        ddim(Diffusion.build("linear", STEPS), steps, eta)
