"""Target margins: how far apart chosen and rejected should be, in units of the score.

A loss reads ``u = beta (m - c)``, where m is the score of the chosen less that of the rejected completion
and c, constant with respect to the model, comes from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from align.gap_statistics import Spread

AlphaScale = Literal["code", "paper"]


class Margin(Protocol):
    """A rule for c."""

    @property
    def adaptive(self) -> bool:
        """Whether c depends on the gap to the reference, and on the statistics of the batch."""

    def offset(self, gaps: Tensor, spread: Spread | None, beta: Tensor) -> Tensor:
        """c of each example ``[B]``, without gradient, from detached ``gaps`` ``[B]`` and scalar ``beta``."""


@dataclass(frozen=True)
class NoMargin:
    """c = 0 (DPO, CPO, S-DPO)."""

    adaptive = False

    def offset(self, gaps: Tensor, spread: Spread | None, beta: Tensor) -> Tensor:
        return torch.zeros_like(gaps)


@dataclass(frozen=True)
class ConstantMargin:
    """c = gamma / beta, given as either of the two (SimPO, arXiv 2405.14734, eq. 6)."""

    gamma_beta_ratio: float | None = None
    gamma: float | None = None

    adaptive = False

    def __post_init__(self) -> None:
        _check_once(self.gamma_beta_ratio, self.gamma)

    def offset(self, gaps: Tensor, spread: Spread | None, beta: Tensor) -> Tensor:
        return _constant(self.gamma_beta_ratio, self.gamma, beta).expand_as(gaps)


@dataclass(frozen=True)
class AdaptiveMargin:
    """c = gamma / beta + alpha z, where z is the z-score of the gap (alpha-DPO, arXiv 2410.10148).

    All of c is constant for the gradient. A pair that the policy separates more than the reference does gets
    a larger target.

    Attributes
    ----------
    alpha : weight of the z-score.
    alpha_scale : ``code`` puts alpha inside beta, as all published settings do; ``paper`` outside, so that
        alpha_paper = beta alpha_code.
    gamma_beta_ratio, gamma : exactly one of them.
    """

    alpha: float = 0.1
    alpha_scale: AlphaScale = "code"
    gamma_beta_ratio: float | None = None
    gamma: float | None = None

    adaptive = True

    def __post_init__(self) -> None:
        _check_once(self.gamma_beta_ratio, self.gamma)
        if self.alpha_scale not in ("code", "paper"):
            raise ValueError(f"alpha_scale={self.alpha_scale!r} is not known; choose 'code' or 'paper'")

    def alpha_inside(self, beta: Tensor) -> Tensor:
        """Alpha as it stands inside beta, scalar."""
        return self.alpha / beta if self.alpha_scale == "paper" else torch.full_like(beta, self.alpha)

    def offset(self, gaps: Tensor, spread: Spread | None, beta: Tensor) -> Tensor:
        z = torch.zeros_like(gaps) if spread is None else spread.z_scores(gaps.detach())
        return _constant(self.gamma_beta_ratio, self.gamma, beta) + self.alpha_inside(beta) * z


def _check_once(gamma_beta_ratio: float | None, gamma: float | None) -> None:
    if (gamma_beta_ratio is None) == (gamma is None):
        raise ValueError(
            f"give the target margin once: gamma_beta_ratio or gamma, not {gamma_beta_ratio} and {gamma}"
        )


def _constant(gamma_beta_ratio: float | None, gamma: float | None, beta: Tensor) -> Tensor:
    if gamma is not None:
        return gamma / beta
    return torch.full_like(beta, gamma_beta_ratio or 0.0)
