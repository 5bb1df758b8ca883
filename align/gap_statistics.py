"""Mean and spread of the gaps of a batch, and their running averages.

Alpha-DPO measures its margins in these units, beta-DPO its selection and its beta. What enters is the gap of
every usable example of the whole unit (all processes; all micro-batches where the optimiser batch is planned
as one), so the numbers do not depend on how the unit was cut.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

SMALLEST_STD = 1e-8
ROUNDING = 16  # units in the last place by which a sum of log-probabilities may be off

Stats = Literal["running", "batch"]
Ema = Literal["debiased", "authors"]


class GapState(NamedTuple):
    """Exponential averages as they are stored, before any correction; plain numbers for checkpoints.

    ``updates`` and ``std_updates`` count how often mean and std took a new value: a unit of one example has
    a mean but no spread.
    """

    mean: float = 0.0
    std: float = 0.0
    updates: int = 0
    std_updates: int = 0

    def state_dict(self) -> dict[str, float | int]:
        """The numbers by name."""
        return self._asdict()

    @classmethod
    def from_state_dict(cls, values: Mapping[str, float | int]) -> GapState:
        """The state that :meth:`state_dict` wrote.

        Raises:
            ValueError: when a number is missing or unknown.
        """
        if set(values) != set(cls._fields):
            raise ValueError(
                f"the stored loss state has {sorted(values)}, but {sorted(cls._fields)} are needed; "
                "it was written by another version"
            )
        return cls(
            float(values["mean"]), float(values["std"]), int(values["updates"]), int(values["std_updates"])
        )


FRESH = GapState()


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation that gaps are compared with.

    ``guarded`` says that a spread below ``resolution`` counts as none: z-scores are then 0 and Gaussian
    weights 1.
    """

    mean: float
    std: float
    guarded: bool = True
    resolution: float = SMALLEST_STD

    @property
    def is_flat(self) -> bool:
        return self.guarded and not self.std >= self.resolution

    def z_scores(self, gaps: Tensor) -> Tensor:
        """``(g - mean) / std``, ``[B]``."""
        return torch.zeros_like(gaps) if self.is_flat else (gaps - self.mean) / self.std

    def log_weights(self, gaps: Tensor) -> Tensor:
        """``-(g - mean)^2 / (2 std^2)``, ``[B]``: logarithm of a Gaussian weight, never underflowing."""
        return -self.z_scores(gaps).square() / 2


@dataclass(frozen=True)
class GapStatistics:
    """Where the spread comes from.

    Attributes
    ----------
    stats : ``running`` averages over units, or this ``batch`` alone.
    ema : ``debiased`` divides by 1 - momentum^updates, knows no spread of fewer than two examples, leaves
        out gaps that are not finite and rests in evaluation. ``authors`` is the published code of alpha-DPO
        (arXiv 2410.10148) and beta-DPO (2407.08639): averages start at zero uncorrected, also evaluation
        updates them, and 0 / 0 stays what it is.
    momentum : weight of the past.
    """

    stats: Stats = "running"
    ema: Ema = "debiased"
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if self.stats not in ("running", "batch"):
            raise ValueError(f"stats={self.stats!r} is not known; choose 'running' or 'batch'")
        if self.ema not in ("debiased", "authors"):
            raise ValueError(f"ema={self.ema!r} is not known; choose 'debiased' or 'authors'")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum} must be at least 0 and below 1")

    def observe(
        self, state: GapState, gaps: Tensor, *, training: bool, resolution: float = SMALLEST_STD
    ) -> tuple[GapState, Spread | None]:
        """The next state and the spread to use, the present unit included.

        Args:
            state: what earlier units left behind.
            gaps: of the usable examples of the whole unit, ``[N]``.
            training: False freezes the averages.
            resolution: spread below which gaps are rounding errors, see :func:`resolution_of`.

        Returns:
            The new state (the old one where nothing was updated), and None while there is no estimate.
        """
        values = gaps.detach().cpu().double()
        if self.stats == "batch":
            values = values[values.isfinite()]
            if not len(values):
                return state, None
            return state, Spread(float(values.mean()), _std(values) or 0.0, resolution=resolution)
        if self.ema == "authors":
            if not len(values):
                return state, Spread(state.mean, state.std, guarded=False)
            mean = self._mixed(state.mean, float(values.mean()))
            std = self._mixed(state.std, math.nan if len(values) < 2 else _std(values) or 0.0)
            state = GapState(mean, std, state.updates + 1, state.std_updates + 1)
            return state, Spread(mean, std, guarded=False)
        if training:
            state = self._updated(state, values[values.isfinite()])
        return state, self._debiased(state, resolution)

    def _updated(self, state: GapState, values: Tensor) -> GapState:
        if len(values):
            state = state._replace(
                mean=self._mixed(state.mean, float(values.mean())), updates=state.updates + 1
            )
        std = _std(values)
        if std is not None:
            state = state._replace(std=self._mixed(state.std, std), std_updates=state.std_updates + 1)
        return state

    def _debiased(self, state: GapState, resolution: float) -> Spread | None:
        if not state.updates:
            return None
        std = state.std / (1 - self.momentum**state.std_updates) if state.std_updates else 0.0
        return Spread(state.mean / (1 - self.momentum**state.updates), std, resolution=resolution)

    def _mixed(self, old: float, new: float) -> float:
        return self.momentum * old + (1 - self.momentum) * new


def resolution_of(sums: Tensor) -> float:
    """Spread of gaps that rounding alone can make, from the log-probabilities that they are differences of.

    A policy that is its own reference has gaps of this size at its first step, which say nothing: they change
    with how rows are packed.
    """
    largest = float(sums.detach().abs().nan_to_num(0.0, 0.0, 0.0).max()) if sums.numel() else 0.0
    return max(SMALLEST_STD, ROUNDING * torch.finfo(sums.dtype).eps * largest)


def _std(values: Tensor) -> float | None:
    """Unbiased standard deviation (N - 1), or None of fewer than two values."""
    return float(values.std()) if len(values) > 1 else None
