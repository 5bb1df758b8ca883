"""KTO: single completions, each marked good or bad, measured against a batch's own reference point."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from align.gap_statistics import FRESH, GapState
from align.objective import (
    ALONE,
    LossOutput,
    Step,
    Totals,
    chosen_tokens,
    gathered,
    refuse_selection,
    scaled_gradient,
    unit_of,
)
from align.policies import check_positive
from align.preferences import Preferences, full_precision
from align.reductions import Reduction


def kto(
    log_ratios: Tensor,
    desirable: Tensor,
    reference_point: Tensor,
    *,
    beta: Tensor | float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """``lambda (1 - sigmoid(beta s (r - k)))`` for each completion ``[B]``, s = 1 if good and -1 if bad.

    Ethayarajh et al. 2024 (arXiv 2402.01306), eq. 7.

    Args:
        log_ratios: policy less reference sum of each completion, ``[B]``.
        desirable: bool ``[B]``.
        reference_point: k, a scalar, taken without gradient; see :func:`kto_reference_point`.
        beta: > 0.
        desirable_weight, undesirable_weight: lambda of good and of bad completions.
    """
    log_ratios = full_precision(log_ratios)
    sign = torch.where(desirable, 1.0, -1.0).to(log_ratios.dtype)
    weight = log_ratios.new_tensor([undesirable_weight, desirable_weight])[desirable.long()]
    # 1 - sigmoid(x) = sigmoid(-x)
    return weight * torch.sigmoid(-beta * sign * (log_ratios - reference_point.detach()))


def kto_reference_point(mismatched_log_ratios: Tensor, counted: Tensor | None = None) -> Tensor:
    """``max(0, mean of r(x, y'))`` over completions y' of other prompts, a scalar without gradient.

    Args:
        mismatched_log_ratios: ``[B]``.
        counted: bool ``[B]``, which of them exist; default all. Where none does, k is zero.
    """
    ratios = full_precision(mismatched_log_ratios.detach())
    if counted is None:
        counted = torch.ones_like(ratios, dtype=torch.bool)
    return (torch.where(counted, ratios, 0.0).sum() / counted.sum().clamp(min=1)).clamp(min=0)


@dataclass(frozen=True)
class KtoLoss:
    """KTO on a batch whose rows hold a completion and a mismatched one, with ``desirable`` marks.

    The reference point is that of all processes. Rows without a scored completion have weight zero.
    """

    reduction: Reduction
    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0

    needs_reference = couples_batch = True

    def __post_init__(self) -> None:
        check_positive("beta", self.beta)
        for name in ("desirable_weight", "undesirable_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)} must be a finite number, at least zero")

    def count(self, batch: Preferences) -> Totals:
        kept = batch.scored[:, 0]
        return Totals(int(kept.sum()), int(chosen_tokens(batch, kept)))

    def rewards(self, batch: Preferences) -> Tensor:
        """Beta times the log-ratio of each completion, ``[N, 1 + K]``."""
        return self.beta * batch.log_ratios()

    def __call__(self, batch: Preferences, state: GapState = FRESH, step: Step = ALONE) -> LossOutput:
        refuse_selection(step, "kto")
        whole, own = gathered(batch, step, alone=False)
        if whole.desirable is None or whole.policy.shape[1] != 2:
            raise ValueError(
                "KTO reads rows of a completion and a mismatched one (that of another prompt), marked by "
                f"desirable; this batch has {whole.policy.shape[1]} columns and "
                f"{'no marks' if whole.desirable is None else 'marks'}"
            )
        ratios = whole.log_ratios()  # [N, 2]
        point = kto_reference_point(ratios[:, 1], whole.scored[:, 1])
        unit = unit_of(own, self.reduction.scope, step)
        rows, ratios, desirable = whole.rows(unit.rows), ratios[unit.rows, 0], whole.desirable[unit.rows]
        losses = kto(
            ratios,
            desirable,
            point,
            beta=self.beta,
            desirable_weight=self.desirable_weight,
            undesirable_weight=self.undesirable_weight,
        )
        kept = rows.scored[:, 0]
        loss = self.reduction(losses, kept, unit.examples)
        rewards, good = self.beta * ratios[unit.own].detach(), desirable[unit.own]
        counted = kept[unit.own]
        return LossOutput(
            loss=scaled_gradient(loss, unit.scale),
            batch=rows.rows(unit.own).detached(),
            state=state,
            per_example=losses[unit.own].detach(),
            weights=self.reduction.weights(losses, kept, unit.examples)[unit.own],
            kept=counted,
            chosen_rewards=rewards[good & counted],
            rejected_rewards=rewards[~good & counted],
            beta=losses.new_tensor(self.beta),
            gauges={"kl/reference_point": point},
        )
