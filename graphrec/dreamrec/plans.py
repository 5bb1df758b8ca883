"""Samplers as data: which steps are visited and what each step mixes.

Every sampler of DreamRec's kind goes from noise to an item vector by steps of one form,

    ``x <- a x̂0(x, t) + b x + σ z``,

so a sampler is a list of ``(t, a, b, σ)``. :mod:`graphrec.dreamrec.sampling` walks it with any denoiser,
:mod:`graphrec.dreamrec.closed_form` works it out for linear ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graphrec.dreamrec.schedules import Diffusion


@dataclass(frozen=True, eq=False)
class Plan:
    """The S steps of a sampler, first to last; float64."""

    steps: Tensor
    """Numbers t of the steps, falling, ``[S]``, int64."""
    clean_weights: Tensor
    """a: weight of the predicted ``x0``, ``[S]``."""
    state_weights: Tensor
    """b: weight of the state before the step, ``[S]``."""
    noise_scales: Tensor
    """σ: standard deviation of the noise added, ``[S]``; 0 in the last step."""

    def __len__(self) -> int:
        return len(self.steps)


def ancestral(diffusion: Diffusion) -> Plan:
    """All T steps of Ho et al. 2020, algorithm 2: draws of the posterior ``q(x_{t-1} | x_t, x̂0)``."""
    noise = diffusion.variances.sqrt()
    return Plan(
        torch.arange(len(diffusion)).flip(0),
        diffusion.clean_weights.flip(0),
        diffusion.noisy_weights.flip(0),
        noise.flip(0),
    )


def ddim(diffusion: Diffusion, num_steps: int, eta: float = 0.0) -> Plan:
    """A few evenly spaced steps of Song et al. 2021 (https://arxiv.org/abs/2010.02502), equations 12 and 16.

    Args:
        num_steps: S, from 1 (which is :func:`one_step`) to T.
        eta: 0 adds no noise; 1 with S = T is the ancestral sampler.
    """
    if not 1 <= num_steps <= len(diffusion):
        raise ValueError(f"ddim takes 1 to {len(diffusion)} steps of this diffusion, not {num_steps}")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta={eta} lies outside 0 (no noise) to 1 (as much as the ancestral sampler)")
    steps = torch.linspace(len(diffusion) - 1, 0, num_steps, dtype=torch.float64).round().long()
    here = diffusion.alpha_bars[steps]
    there = torch.cat([here[1:], here.new_ones(1)])  # after the last step x is x̂0 itself
    variances = eta**2 * (1 - there) / (1 - here) * (1 - here / there)
    state = ((1 - there - variances).clamp(min=0) / (1 - here)).sqrt()
    return Plan(steps, there.sqrt() - state * here.sqrt(), state, variances.sqrt())


def one_step(diffusion: Diffusion) -> Plan:
    """``x̂0`` as predicted from pure noise, as in TA-Rec (NeurIPS 2025)."""
    return ddim(diffusion, 1)
