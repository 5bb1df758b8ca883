"""Supervised fine-tuning on the chosen completions, under the interface of the preference losses."""

from __future__ import annotations

from dataclasses import dataclass

from align.gap_statistics import FRESH, GapState
from align.losses import SftReduction
from align.objective import (
    ALONE,
    LossOutput,
    Step,
    Totals,
    chosen_tokens,
    gathered,
    refuse_selection,
    scaled_gradient,
)
from align.preferences import Preferences


@dataclass(frozen=True)
class SftLoss:
    """Negative log-likelihood of the chosen completions; others in the batch are not read.

    Attributes
    ----------
    sft_reduction : ``token_mean`` over all scored tokens of the optimiser batch, or ``sequence_sum``, the
        mean over completions of the sum over tokens.
    """

    sft_reduction: SftReduction = "token_mean"

    needs_reference = couples_batch = False

    def __post_init__(self) -> None:
        if self.sft_reduction not in ("token_mean", "sequence_sum"):
            raise ValueError(
                f"sft_reduction={self.sft_reduction!r} is not known; choose 'token_mean' or 'sequence_sum'"
            )

    def count(self, batch: Preferences) -> Totals:
        kept = batch.scored[:, 0]
        return Totals(int(kept.sum()), int(chosen_tokens(batch, kept)))

    def rewards(self, batch: Preferences) -> None:
        """None: nothing is compared."""

    def __call__(self, batch: Preferences, state: GapState = FRESH, step: Step = ALONE) -> LossOutput:
        refuse_selection(step, "sft")
        whole, own = gathered(batch, step, alone=True)
        kept = whole.scored[:, 0]
        if self.sft_reduction == "token_mean":
            count = chosen_tokens(whole, kept) if step.totals is None else step.totals.tokens
        else:
            count = kept.sum() if step.totals is None else step.totals.examples
        losses = -whole.sums()[:, 0]
        weights = kept.to(losses.dtype) / max(int(count), 1)
        return LossOutput(
            loss=scaled_gradient((weights * losses).sum(), step.ranks.world_size),
            batch=whole.rows(own).detached(),
            state=state,
            per_example=losses[own].detach(),
            weights=weights[own],
            kept=kept[own],
        )
