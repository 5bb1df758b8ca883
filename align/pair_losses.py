"""One loss per example from the scores of its completions: the outermost function of every method.

With margins ``m`` of the chosen over a rejected completion, target ``c`` and ``u = beta (m - c)``. All forms
are exact for any finite u: no logarithm of a sigmoid, no bare exponential.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional


class Compared(NamedTuple):
    """What a pair loss reads.

    Attributes
    ----------
    scores : [B, 1 + K], the chosen in column 0, without beta.
    scored : bool [B, 1 + K], completions that exist.
    usable : bool [B], rows with something to compare.
    offset : [B] target c, without gradient.
    beta : scalar.
    """

    scores: Tensor
    scored: Tensor
    usable: Tensor
    offset: Tensor
    beta: Tensor

    def margins(self) -> Tensor:
        """m - c, ``[B, K]``; a completion that does not exist is infinitely far behind."""
        margins = self.scores[:, :1] - self.scores[:, 1:] - self.offset[:, None]
        return margins.masked_fill(~self.scored[:, 1:], torch.inf)

    def margin(self) -> Tensor:
        """m - c, ``[B]``, of rows with one rejected completion each."""
        return (self.scores[:, 0] - self.scores[:, 1]) - self.offset


class PairLoss(Protocol):
    """A loss per example; one that is not ``listwise`` sees a row with K rejected as K pairs."""

    @property
    def listwise(self) -> bool:
        """Whether it compares the chosen with all rejected completions at once."""

    @property
    def coupled(self) -> bool:
        """Whether one example's loss depends on the others."""

    def __call__(self, compared: Compared) -> Tensor:
        """Losses, ``[B]``."""


@dataclass(frozen=True)
class Logistic:
    """``-(1 - eps) log sigmoid(u) - eps log sigmoid(-u)``: DPO, cDPO with eps > 0, SimPO, CPO."""

    label_smoothing: float = 0.0

    listwise = coupled = False

    def __post_init__(self) -> None:
        check_smoothing(self.label_smoothing)

    def __call__(self, compared: Compared) -> Tensor:
        return logistic(compared.beta * compared.margin(), label_smoothing=self.label_smoothing)


@dataclass(frozen=True)
class RobustLogistic:
    """Unbiased under flips of a known rate eps (robust DPO, arXiv 2403.00409, eq. 12)."""

    label_smoothing: float = 0.1

    listwise = coupled = False

    def __post_init__(self) -> None:
        check_smoothing(self.label_smoothing, half_allowed=False)

    def __call__(self, compared: Compared) -> Tensor:
        return robust_logistic(compared.beta * compared.margin(), label_smoothing=self.label_smoothing)


@dataclass(frozen=True)
class ScaledLogistic:
    """``-beta log sigmoid(m - c)``: beta weighs the loss and does not sharpen it (ORPO, arXiv 2403.07691)."""

    listwise = coupled = False

    def __call__(self, compared: Compared) -> Tensor:
        return compared.beta * logistic(compared.margin())


@dataclass(frozen=True)
class Hinge:
    """``max(0, 1 - u)``."""

    listwise = coupled = False

    def __call__(self, compared: Compared) -> Tensor:
        return functional.relu(1 - compared.beta * compared.margin())


@dataclass(frozen=True)
class Square:
    """``(m - c - 1 / (2 beta))^2`` (IPO, arXiv 2310.12036, eq. 17)."""

    listwise = coupled = False

    def __call__(self, compared: Compared) -> Tensor:
        return (compared.margin() - 0.5 / compared.beta).square()


@dataclass(frozen=True)
class Softmax:
    """``log(1 + sum_k exp(-u_k))`` over all rejected completions (S-DPO, arXiv 2406.09215, eq. 8)."""

    listwise, coupled = True, False

    def __call__(self, compared: Compared) -> Tensor:
        return softmax(compared.beta * compared.margins())


@dataclass(frozen=True)
class PairedKto:
    """KTO on pairs: both halves of :func:`paired_kto`, averaged."""

    listwise, coupled = False, True

    def __call__(self, compared: Compared) -> Tensor:
        return paired_kto(compared.scores, compared.beta, compared.usable).mean(1)


def logistic(argument: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """``-(1 - eps) log sigmoid(u) - eps log sigmoid(-u)``, elementwise, exact for any finite u.

    Raises:
        ValueError: when ``label_smoothing`` is outside 0 to 0.5.
    """
    check_smoothing(label_smoothing)
    loss = -functional.logsigmoid(argument)
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * functional.logsigmoid(-argument)
    return loss


def robust_logistic(argument: Tensor, *, label_smoothing: float) -> Tensor:
    """``[-(1 - eps) log sigmoid(u) + eps log sigmoid(-u)] / (1 - 2 eps)``, elementwise.

    Raises:
        ValueError: when ``label_smoothing`` is not below 0.5.
    """
    check_smoothing(label_smoothing, half_allowed=False)
    right, flipped = -functional.logsigmoid(argument), -functional.logsigmoid(-argument)
    return ((1 - label_smoothing) * right - label_smoothing * flipped) / (1 - 2 * label_smoothing)


def softmax(arguments: Tensor) -> Tensor:
    """``log(1 + sum_k exp(-u_k))``, ``[B]``, of ``[B, K]``; an infinite u takes no part."""
    return torch.logsumexp(functional.pad(-arguments, (1, 0)), dim=1)


def paired_kto(log_ratios: Tensor, beta: Tensor | float, usable: Tensor | None = None) -> Tensor:
    """``1 - sigmoid(beta (r_w - k_l))`` and ``1 - sigmoid(beta (k_w - r_l))``, ``[B, 2]``.

    The paired form found in preference libraries. k_w and k_l are the mean log-ratios of the batch, at least
    zero, and here, unlike in :func:`align.kto.kto`, the gradient flows through them.

    Args:
        log_ratios: chosen and rejected, ``[B, 2]``.
        beta: > 0.
        usable: rows that count in the means, bool ``[B]``; default all.
    """
    if usable is None:
        usable = torch.ones_like(log_ratios[:, 0], dtype=torch.bool)
    means = torch.where(usable[:, None], log_ratios, 0.0).sum(0) / usable.sum().clamp(min=1)
    k_chosen, k_rejected = means.clamp(min=0)
    chosen, rejected = log_ratios[:, 0], log_ratios[:, 1]
    # 1 - sigmoid(x) = sigmoid(-x)
    return torch.stack(
        [torch.sigmoid(beta * (k_rejected - chosen)), torch.sigmoid(beta * (rejected - k_chosen))], 1
    )


def check_smoothing(label_smoothing: float, *, half_allowed: bool = True) -> None:
    """Raise a ValueError unless the flip probability is from 0 to 0.5 (0.5 only where it is allowed)."""
    if not 0 <= label_smoothing <= 0.5:
        raise ValueError(
            f"label_smoothing={label_smoothing} is a flip probability; give a number from 0 to 0.5"
        )
    if label_smoothing == 0.5 and not half_allowed:
        raise ValueError("robust DPO divides by 1 - 2 label_smoothing; give a label_smoothing below 0.5")
