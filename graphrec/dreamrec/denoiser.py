"""The network that guesses an item vector from its noisy form, the history and the step.

``f(x_t, h, t)`` reads the three side by side (DreamRec, arXiv 2310.20453). Its first layer comes apart as
``A x + B h + C τ_t + b``: what depends on the history or the step alone is computed once for all steps of a
sampler, and with one layer the whole sampler has a closed form.

Letters: B rows, T steps, d width.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


def step_waves(t: Tensor, width: int) -> Tensor:
    """Sines and cosines of the steps' numbers ``[B]``, ``[B, d]`` (Vaswani et al. 2017).

    ``[sin(t f_0..), cos(t f_0..)]`` with ``f_i = exp(-i ln(10^4) / (d/2 - 1))``, in float64.
    """
    if width % 2 or width < 4:
        raise ValueError(f"the width of a step embedding is even and at least 4, not {width}")
    half = width // 2
    decay = torch.arange(half, dtype=torch.float64, device=t.device) * (-math.log(1e4) / (half - 1))
    angles = t.double()[:, None] * decay.exp()
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class StepEmbedding(nn.Module):
    """τ_t: waves of the step's number through ``Linear(d -> 2d) -> GELU -> Linear(2d -> d)``."""

    waves: Tensor

    def __init__(self, width: int, num_steps: int) -> None:
        super().__init__()
        self.widen = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)
        waves = step_waves(torch.arange(num_steps), width).float()
        self.register_buffer("waves", waves, persistent=False)  # [T, d]

    def forward(self, t: Tensor) -> Tensor:
        """``[B, d]`` for steps ``[B]``."""
        return self.narrow(functional.gelu(self.widen(self.waves[t])))


class LinearParts(NamedTuple):
    """A denoiser of one layer, ``f = A x + B h + u_t``, in float64."""

    state: Tensor
    """A, ``[d, d]``."""
    condition: Tensor
    """B, ``[d, d]``."""
    offsets: Tensor
    """u_t = C τ_t + b, ``[T, d]``."""


class Denoiser(nn.Module):
    """Predicts ``x0`` from ``x_t``, the condition (a history, or the null condition) and the step.

    Args:
        width: d, of item vectors and conditions.
        num_steps: T of the diffusion.
        num_layers: 1 is DreamRec's ``mlp1``, a single linear map; 2 its ``mlp2``, ``3d -> 2d -> GELU -> d``;
            more put further ``2d -> 2d`` layers between.
    """

    def __init__(self, width: int, num_steps: int, num_layers: int = 1) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers is {num_layers}; a denoiser has at least one layer")
        self.width = width
        self.num_steps = num_steps
        sizes = [3 * width, *[2 * width] * (num_layers - 1), width]
        self.first = nn.Linear(sizes[0], sizes[1])
        self.rest = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes[1:]))
        self.steps = StepEmbedding(width, num_steps)

    @property
    def is_linear(self) -> bool:
        """Whether there is one layer only, so that sampling has a closed form."""
        return not len(self.rest)

    def forward(self, x_t: Tensor, condition: Tensor, t: Tensor) -> Tensor:
        """Predicted ``x0`` ``[B, d]`` for ``x_t`` and condition ``[B, d]`` and steps ``[B]``."""
        return self._finish(self.first(torch.cat([x_t, condition, self.steps(t)], dim=1)))

    def condition_part(self, condition: Tensor) -> Tensor:
        """What a condition ``[B, d]`` adds to the first layer, at any step."""
        return condition @ self._first()[1].T

    def step_part(self, t: Tensor) -> Tensor:
        """What the steps ``[S]`` add to the first layer, bias included: ``[S, d or 2d]``."""
        return functional.linear(self.steps(t), self._first()[2], self.first.bias)

    def from_parts(self, x_t: Tensor, condition_part: Tensor, step_part: Tensor) -> Tensor:
        """The same as :meth:`forward`, from parts that were computed once."""
        return self._finish(x_t @ self._first()[0].T + condition_part + step_part)

    def linear_parts(self) -> LinearParts:
        """A, B and all u_t.

        Raises:
            ValueError: when there is more than one layer.
        """
        if not self.is_linear:
            raise ValueError(
                f"a denoiser of {1 + len(self.rest)} layers is not linear and has no closed form; "
                "choose the sampler 'ancestral', 'ddim' or 'one_step', or a denoiser of one layer"
            )
        state, condition, _ = self._first()
        steps = torch.arange(self.num_steps, device=state.device)
        return LinearParts(state.double(), condition.double(), self.step_part(steps).double())

    def _first(self) -> tuple[Tensor, Tensor, Tensor]:
        """The weight of the first layer for the state, the condition and the step, ``[d or 2d, d]`` each."""
        state, condition, step = self.first.weight.split(self.width, dim=1)
        return state, condition, step

    def _finish(self, hidden: Tensor) -> Tensor:
        for layer in self.rest:
            hidden = layer(functional.gelu(hidden))
        return hidden
