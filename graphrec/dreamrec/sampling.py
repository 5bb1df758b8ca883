"""Generates item vectors step by step, with guidance.

The conditional and the null prediction of a step are made in one stacked pass, or in a single row where the
denoiser is linear: ``(1+w) f(x, h, t) - w f(x, ∅, t) = f(x, (1+w) h - w ∅, t)`` there.

Letters: B rows, S steps of a plan, d width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from graphrec.dreamrec.denoiser import Denoiser
from graphrec.dreamrec.plans import Plan

Predict = Callable[[Tensor, int], Tensor]
"""``(x [B, d], position in the plan) -> x̂0 [B, d]``."""
Draw = Callable[[], Tensor]
"""Standard normal noise that broadcasts to ``[B, d]``, another at each call."""


def guided(conditional: Tensor, unconditional: Tensor, guidance: float) -> Tensor:
    """``(1+w) f(x, h, t) - w f(x, ∅, t)``: DreamRec, equation 10; w = 0 leaves the conditional prediction."""
    return (1 + guidance) * conditional - guidance * unconditional


def walk(plan: Plan, predict: Predict, start: Tensor, draw: Draw) -> Tensor:
    """Follow a plan from ``start``, noise ``[B, d]``, to item vectors ``[B, d]``."""
    x = start
    for position, (a, b, sigma) in enumerate(
        zip(plan.clean_weights.tolist(), plan.state_weights.tolist(), plan.noise_scales.tolist(), strict=True)
    ):
        x = a * predict(x, position) + b * x
        if sigma:
            x = x + sigma * draw()
    return x


def guided_prediction(
    denoiser: Denoiser, plan: Plan, condition: Tensor, null: Tensor, guidance: float
) -> Predict:
    """The guided prediction of a denoiser along a plan; what depends on no state is computed here, once.

    Args:
        condition: h of each row, ``[B, d]``.
        null: the null condition ∅, ``[d]``.
        guidance: w.
    """
    step_parts = denoiser.step_part(plan.steps.to(condition.device))  # [S, d or 2d]
    if denoiser.is_linear or guidance == 0:
        mixed = guided(condition, null, guidance) if guidance else condition
        part = denoiser.condition_part(mixed)
        return lambda x, position: denoiser.from_parts(x, part, step_parts[position])
    rows = len(condition)
    part = denoiser.condition_part(torch.cat([condition, null.expand_as(condition)]))  # [2B, 2d]

    def predict(x: Tensor, position: int) -> Tensor:
        both = denoiser.from_parts(x.repeat(2, 1), part, step_parts[position])
        return guided(both[:rows], both[rows:], guidance)

    return predict


def generate(
    denoiser: Denoiser,
    plan: Plan,
    condition: Tensor,
    null: Tensor,
    *,
    guidance: float,
    seed: int = 0,
    shared_noise: bool = True,
) -> Tensor:
    """Item vectors ``[B, d]`` for conditions ``[B, d]``.

    Args:
        seed: of all noise.
        shared_noise: every row gets the same noise, so that neither the order nor the number of rows changes
            what is generated for one of them; otherwise each row has its own.
    """
    generator = torch.Generator(device=condition.device).manual_seed(seed)
    rows = 1 if shared_noise else len(condition)

    def draw() -> Tensor:
        return torch.randn(
            rows, condition.shape[1], generator=generator, dtype=condition.dtype, device=condition.device
        )

    predict = guided_prediction(denoiser, plan, condition, null, guidance)
    return walk(plan, predict, draw().expand_as(condition), draw)
