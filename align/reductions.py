"""From one loss per example to one number: the mean, or the soft minimum of Dr. DPO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from align.policies import check_positive

Scope = Literal["global", "local"]


class Reduction(Protocol):
    """A rule that joins the kept examples' losses.

    ``scope`` says over which examples: ``global``, those of all processes (and of all micro-batches, where
    the optimiser batch is planned as one), or ``local``, the part of this process, to be averaged over
    processes afterwards.
    """

    @property
    def scope(self) -> Scope:
        """Over which examples."""

    @property
    def coupled(self) -> bool:
        """Whether an example's weight depends on the other examples' losses."""

    def __call__(self, losses: Tensor, kept: Tensor, total: int | None = None) -> Tensor:
        """The joint loss, scalar, of ``losses`` ``[B]`` where ``kept`` (bool ``[B]``).

        Zero, and still attached to the graph, where nothing is kept. ``total`` stands for the number of
        examples where these are only a part of them; see :class:`MeanReduction`.
        """

    def weights(self, losses: Tensor, kept: Tensor, total: int | None = None) -> Tensor:
        """Derivative of the joint loss with respect to each example's, ``[B]``, detached."""


@dataclass(frozen=True)
class MeanReduction:
    """The mean over the kept examples; with ``total``, their sum divided by it."""

    scope: Scope = "global"

    coupled = False

    def __post_init__(self) -> None:
        _check_scope(self.scope)

    def __call__(self, losses: Tensor, kept: Tensor, total: int | None = None) -> Tensor:
        return (losses * kept).sum() / self._count(kept, total)

    def weights(self, losses: Tensor, kept: Tensor, total: int | None = None) -> Tensor:
        return kept.to(losses.dtype) / self._count(kept, total)

    @staticmethod
    def _count(kept: Tensor, total: int | None) -> Tensor:
        return (kept.sum() if total is None else kept.new_tensor(total, dtype=torch.long)).clamp(min=1)


@dataclass(frozen=True)
class SoftMinimum:
    """``-beta' log mean exp(-l / beta')`` (Dr. DPO, arXiv 2407.07880), on top of any loss per example.

    Small losses get the large weights, so that pairs which look flipped count less. It tends to the mean for
    large ``beta_prime`` and to the minimum for small.
    """

    beta_prime: float = 1.0
    scope: Scope = "global"

    coupled = True

    def __post_init__(self) -> None:
        _check_scope(self.scope)
        check_positive("beta_prime", self.beta_prime)

    def __call__(self, losses: Tensor, kept: Tensor, total: int | None = None) -> Tensor:
        self._refuse(total)
        return soft_minimum(losses, self.beta_prime, kept)

    def weights(self, losses: Tensor, kept: Tensor, total: int | None = None) -> Tensor:
        self._refuse(total)
        if not kept.any():
            return torch.zeros_like(losses)
        return (-losses.detach() / self.beta_prime).masked_fill(~kept, -torch.inf).softmax(0)

    def _refuse(self, total: int | None) -> None:
        if total is not None:
            raise ValueError(
                "reduction 'dr' weighs examples against each other: give it all of them at once "
                "(two passes), not a part and a total"
            )


def soft_minimum(losses: Tensor, beta_prime: float, kept: Tensor | None = None) -> Tensor:
    """``-beta' log mean exp(-l / beta')`` of the kept losses ``[B]``, a scalar.

    Written as ``c - beta' log1p(mean expm1(-(l - c) / beta'))`` with c the least loss: nothing overflows, and
    no digit is lost when beta' is large. The derivative with respect to l is softmax(-l / beta').
    """
    kept = torch.ones_like(losses, dtype=torch.bool) if kept is None else kept
    if not kept.any():
        return (losses * 0.0).sum()
    least = losses.detach().masked_fill(~kept, torch.inf).min()
    above = torch.where(kept, losses - least, 0.0)
    return least - beta_prime * torch.log1p(torch.expm1(-above / beta_prime).sum() / kept.sum())


def _check_scope(scope: str) -> None:
    if scope not in ("global", "local"):
        raise ValueError(f"scope={scope!r} is not known; choose 'global' or 'local'")
