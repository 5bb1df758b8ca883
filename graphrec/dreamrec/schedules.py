"""The forward process: how fast an item vector turns into noise, and the coefficients that follow from it.

``x_t = sqrt(ᾱ_t) x0 + sqrt(1 - ᾱ_t) z`` with ``z ~ N(0, I)`` and ``ᾱ_t = Π_{s<=t} (1 - β_s)``: Ho et al.
(arXiv 2006.11239), eq. 4 and 7. All coefficients are float64: in float32 ``1 - ᾱ_t`` loses its digits where
``t`` is small and posterior means are off by a thousandth. They are cast once, where used.

Letters: B rows, T steps, d width. Steps are numbered 0..T-1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

Schedule = Literal["linear", "exp", "cosine", "sqrt"]


@dataclass(frozen=True, eq=False)
class Diffusion:
    """A noise schedule of T steps, and all that samplers and the loss read from it; float64 ``[T]``."""

    betas: Tensor
    """Variance added in each step."""
    alpha_bars: Tensor
    """ᾱ_t: share of the signal's variance that is left after step t."""
    alpha_bars_before: Tensor
    """ᾱ_{t-1}, with ᾱ_{-1} = 1."""
    clean_weights: Tensor
    """c1_t, what ``x0`` weighs in the mean of the posterior ``q(x_{t-1} | x_t, x0)``; 1 at t = 0."""
    noisy_weights: Tensor
    """c2_t, what ``x_t`` weighs in that mean; 0 at t = 0."""
    variances: Tensor
    """v_t, variance of the posterior; 0 at t = 0."""

    @classmethod
    def build(cls, schedule: Schedule, num_steps: int, **shape: float) -> Diffusion:
        """The coefficients of a named schedule; ``shape`` are options of its function."""
        if num_steps < 2:
            raise ValueError(f"num_steps is {num_steps}; a diffusion has at least 2 steps")
        if schedule not in SCHEDULES:
            raise ValueError(f"schedule={schedule!r} is not known; choose one of {', '.join(SCHEDULES)}")
        return cls.from_betas(SCHEDULES[schedule](num_steps, **shape))

    @classmethod
    def from_betas(cls, betas: Tensor) -> Diffusion:
        """The coefficients of any variances ``[T]`` in (0, 1)."""
        betas = betas.double()
        if betas.ndim != 1 or not bool(((betas > 0) & (betas < 1)).all()):
            raise ValueError("a noise schedule is a list of variances, each above 0 and below 1")
        alphas = 1 - betas
        after = alphas.cumprod(0)
        before = torch.cat([after.new_ones(1), after[:-1]])
        return cls(
            betas=betas,
            alpha_bars=after,
            alpha_bars_before=before,
            clean_weights=betas * before.sqrt() / (1 - after),
            noisy_weights=(1 - before) * alphas.sqrt() / (1 - after),
            variances=betas * (1 - before) / (1 - after),
        )

    def __len__(self) -> int:
        return len(self.betas)

    @cached_property
    def signal_scales(self) -> Tensor:
        """sqrt(ᾱ_t), ``[T]``."""
        return self.alpha_bars.sqrt()

    @cached_property
    def noise_scales(self) -> Tensor:
        """sqrt(1 - ᾱ_t), ``[T]``."""
        return (1 - self.alpha_bars).sqrt()

    @cached_property
    def _scales(self) -> Tensor:
        return torch.stack([self.signal_scales, self.noise_scales], dim=1)  # [T, 2]

    def noised(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Draw of ``q(x_t | x0)``, ``[B, d]``, for ``x0`` and standard noise ``[B, d]`` and steps ``[B]``."""
        signal, scale = self._scales.to(x0)[t].unbind(1)
        return signal[:, None] * x0 + scale[:, None] * noise

    def posterior(self, x0: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean ``[B, d]`` and variance ``[B]`` of ``q(x_{t-1} | x_t, x0)``; ``t`` is ``[B]``."""
        clean, noisy, variance = (
            values.to(x0.device)[t].to(x0.dtype)
            for values in (self.clean_weights, self.noisy_weights, self.variances)
        )
        return clean[:, None] * x0 + noisy[:, None] * x_t, variance


def linear(num_steps: int, *, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """β_t from ``first`` to ``last`` in even steps, the same ends for any T, ``[T]`` (Ho et al. 2020)."""
    return torch.linspace(first, last, num_steps, dtype=torch.float64)


def exponential(num_steps: int, *, low: float = 0.1, high: float = 10.0) -> Tensor:
    """β_t = 1 - exp(-low / T - x_t (high - low) / 2T²), ``[T]``: variance preserving (Song et al. 2021).

    The grid x_t runs evenly from 1 to 2T + 1, as in DreamRec's code, and not over 1, 3, ..., 2T - 1.
    """
    grid = torch.linspace(1, 2 * num_steps + 1, num_steps, dtype=torch.float64)
    return 1 - torch.exp(-low / num_steps - grid * 0.5 * (high - low) / num_steps**2)


def cosine(num_steps: int, *, offset: float = 0.008, least: float = 1e-4, most: float = 0.9999) -> Tensor:
    """ᾱ falls as a squared cosine, ``[T]`` (Nichol and Dhariwal 2021), with β_t within bounds."""

    def alpha_bar(u: float) -> float:
        return math.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2

    return _from_alpha_bar(alpha_bar, num_steps).clamp(least, most)


def square_root(num_steps: int, *, offset: float = 1e-4, most: float = 0.999) -> Tensor:
    """ᾱ falls as 1 - sqrt(u + offset), ``[T]`` (Li et al. 2022, Diffusion-LM); β_t is at most ``most``."""
    return _from_alpha_bar(lambda u: 1 - math.sqrt(u + offset), num_steps).clamp(max=most)


def _from_alpha_bar(alpha_bar: Callable[[float], float], num_steps: int) -> Tensor:
    """β_t = 1 - ᾱ((t+1)/T) / ᾱ(t/T)."""
    values = [alpha_bar(t / num_steps) for t in range(num_steps + 1)]
    return torch.tensor([1 - after / before for before, after in pairwise(values)], dtype=torch.float64)


SCHEDULES: dict[str, Callable[..., Tensor]] = {
    "linear": linear,
    "exp": exponential,
    "cosine": cosine,
    "sqrt": square_root,
}
"""Name of a schedule to the function of T (and options of its shape) that gives its variances."""
