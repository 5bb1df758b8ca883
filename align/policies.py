"""How sharp a batch's preferences are taken to be: fixed beta, or one that follows the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from align.gap_statistics import Spread

Discrepancy = Literal["log_ratio", "reward"]


class BetaPolicy(Protocol):
    """A rule for beta; ``beta`` is the one set, which rewards are reported with."""

    @property
    def beta(self) -> float:
        """The beta of the settings, > 0."""

    @property
    def dynamic(self) -> bool:
        """Whether beta depends on the batch."""

    def used(self, gaps: Tensor, kept: Tensor, spread: Spread | None) -> Tensor:
        """Beta of this batch, a scalar without gradient, from the gaps ``[B]`` of the kept (bool ``[B]``)."""


@dataclass(frozen=True)
class FixedBeta:
    """The same beta always."""

    beta: float = 0.1

    dynamic = False

    def __post_init__(self) -> None:
        check_positive("beta", self.beta)

    def used(self, gaps: Tensor, kept: Tensor, spread: Spread | None) -> Tensor:
        return gaps.new_tensor(self.beta)


@dataclass(frozen=True)
class BatchBeta:
    """``beta (1 + beta_slope (mean kept gap - running mean))``, at least ``beta_min``.

    Beta-DPO (arXiv 2407.08639), section 4.1; the lower bound is in its code only.

    Attributes
    ----------
    beta : where the batch is like those before it.
    beta_slope : the paper's alpha.
    beta_min : lower bound.
    discrepancy : ``log_ratio`` measures gaps in nats, as its code does; ``reward`` in rewards, which are beta
        times as large.
    """

    beta: float = 0.1
    beta_slope: float = 0.6
    beta_min: float = 1e-3
    discrepancy: Discrepancy = "log_ratio"

    dynamic = True

    def __post_init__(self) -> None:
        check_positive("beta", self.beta)
        check_positive("beta_min", self.beta_min)
        if self.discrepancy not in ("log_ratio", "reward"):
            raise ValueError(f"discrepancy={self.discrepancy!r} is not known; choose 'log_ratio' or 'reward'")

    def used(self, gaps: Tensor, kept: Tensor, spread: Spread | None) -> Tensor:
        count = kept.sum()
        if spread is None or not count:
            return gaps.new_tensor(self.beta)
        discrepancy = torch.where(kept, gaps.detach(), 0.0).sum() / count - spread.mean
        if self.discrepancy == "reward":
            discrepancy = self.beta * discrepancy
        return (self.beta * (1 + self.beta_slope * discrepancy)).clamp(min=self.beta_min)


def check_positive(name: str, value: float) -> float:
    """The value, if it is a finite number above zero.

    Raises:
        ValueError: otherwise.
    """
    if not 0 < value < float("inf"):
        raise ValueError(f"{name}={value} must be above zero and finite")
    return value
