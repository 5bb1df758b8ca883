"""A loss of chosen against rejected completions, put together from parts that are chosen independently.

score -> margin -> pair loss -> selection -> reduction        (+ a likelihood term)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from align.gap_statistics import FRESH, GapState, GapStatistics, Spread, resolution_of
from align.margins import AdaptiveMargin, Margin
from align.objective import (
    ALONE,
    LossOutput,
    Step,
    Totals,
    chosen_tokens,
    gathered,
    scaled_gradient,
    token_mean_nll,
    unit_of,
)
from align.pair_losses import Compared, PairLoss
from align.policies import BetaPolicy
from align.preferences import Preferences
from align.reductions import Reduction
from align.scores import Score, completion_scores, example_gap
from align.selectors import Selector


class _Common(NamedTuple):
    """What the rows of all processes [N] say together."""

    state: GapState
    spread: Spread | None
    gaps: Tensor
    kept: Tensor
    batch_beta: Tensor


@dataclass(frozen=True)
class PairwiseLoss:
    """The loss of rows with a chosen and one or more rejected completions.

    A pair loss that compares two completions sees a row with K rejected as K pairs.

    Attributes
    ----------
    pair_loss, margin, selector, beta_policy, reduction, statistics : the parts.
    score, length_normalize : what is compared; see :func:`align.scores.completion_scores`.
    sft_weight : weight of the token-mean negative log-likelihood of the kept rows' chosen completions.
    nll_on_prompt : count the prompt's tokens in that term too.
    """

    pair_loss: PairLoss
    margin: Margin
    selector: Selector
    beta_policy: BetaPolicy
    reduction: Reduction
    statistics: GapStatistics
    score: Score = "log_ratio"
    length_normalize: bool = False
    sft_weight: float = 0.0
    nll_on_prompt: bool = False

    @property
    def needs_reference(self) -> bool:
        return self.score == "log_ratio" or self.margin.adaptive

    @property
    def reads_statistics(self) -> bool:
        """Whether the spread of the gaps matters."""
        return self.margin.adaptive or self.selector.selective or self.beta_policy.dynamic

    @property
    def couples_batch(self) -> bool:
        return self.reads_statistics or self.reduction.coupled or self.pair_loss.coupled

    def count(self, batch: Preferences) -> Totals:
        batch = self._rows(batch)
        tokens = chosen_tokens(batch, batch.usable, on_prompt=self.nll_on_prompt)
        return Totals(int(batch.usable.sum()), int(tokens))

    def _rows(self, batch: Preferences) -> Preferences:
        return batch if self.pair_loss.listwise else batch.pairs()

    def __call__(self, batch: Preferences, state: GapState = FRESH, step: Step = ALONE) -> LossOutput:
        self._refuse_totals(step)
        whole, own = gathered(self._rows(batch), step, alone=not self.couples_batch)
        common = self._common(whole, state, step)
        unit = unit_of(own, self.reduction.scope, step)
        rows, gaps, kept = whole.rows(unit.rows), common.gaps[unit.rows], common.kept[unit.rows]

        scores = completion_scores(rows, self.score, length_normalize=self.length_normalize)
        beta = common.batch_beta if step.training else gaps.new_tensor(self.beta_policy.beta)
        offset = self.margin.offset(gaps, common.spread, beta)
        losses = self.pair_loss(Compared(scores, rows.scored, rows.usable, offset, beta))
        loss = self.reduction(losses, kept, unit.examples)
        weights = self.reduction.weights(losses, kept, unit.examples)
        gauges = self._gauges(rows, gaps, kept, common.spread, offset, beta, weights)
        if self.sft_weight:
            nll = token_mean_nll(rows, kept, unit.tokens, on_prompt=self.nll_on_prompt)
            loss = loss + self.sft_weight * nll
            gauges["loss/nll"] = nll.detach()
        if self.beta_policy.dynamic and not step.training:
            adapted = self.margin.offset(gaps, common.spread, common.batch_beta)
            compared = Compared(scores, rows.scored, rows.usable, adapted, common.batch_beta)
            gauges["loss/at_batch_beta"] = self.reduction(self.pair_loss(compared), kept).detach()

        mine = rows.rows(unit.own).detached()
        rewards = self.rewards(mine)
        return LossOutput(
            loss=scaled_gradient(loss, unit.scale),
            batch=mine,
            state=common.state,
            per_example=losses[unit.own].detach(),
            weights=weights[unit.own],
            kept=kept[unit.own],
            chosen_rewards=rewards[:, 0],
            rejected_rewards=rewards[:, 1:],
            gap=gaps[unit.own],
            offset=offset[unit.own],
            sampling_weights=self.selector.log_weights(gaps[unit.own], common.spread).exp(),
            beta=beta,
            gauges=gauges,
        )

    def _refuse_totals(self, step: Step) -> None:
        weighed = self.selector.selective or self.reduction.coupled or step.selected is not None
        if weighed and step.totals is not None:
            raise ValueError(
                "this loss weighs examples against each other, so its parts do not add up to the whole: "
                "leave totals out, or plan the optimiser batch at once (align.two_pass)"
            )

    def _common(self, whole: Preferences, state: GapState, step: Step) -> _Common:
        gaps = example_gap(
            whole, against_reference=self.needs_reference, length_normalize=self.length_normalize
        )
        spread = None
        if self.reads_statistics:
            state, spread = self.statistics.observe(
                state,
                gaps[whole.usable],
                training=step.training,
                resolution=resolution_of(whole.sums(length_normalize=self.length_normalize)),
            )
        kept = self._kept(whole, gaps, spread, step)
        return _Common(state, spread, gaps, kept, self.beta_policy.used(gaps, kept, spread))

    def _kept(self, whole: Preferences, gaps: Tensor, spread: Spread | None, step: Step) -> Tensor:
        """Examples of the whole that are trained on, bool ``[N]``."""
        usable = whole.usable
        if step.selected is not None:
            if step.selected.shape != usable.shape:
                raise ValueError(
                    f"selected has shape {list(step.selected.shape)}; it names the {len(usable)} examples of "
                    "the whole unit"
                )
            return usable & step.selected.to(device=usable.device, dtype=torch.bool)
        if not (self.selector.selective and step.training):
            return usable
        if step.key is None:
            raise ValueError("the selector draws examples: give the step a key, (run seed, step) say")
        ids = torch.arange(len(whole), device=usable.device) if whole.ids is None else whole.ids
        return self.selector.select(gaps, usable, spread, ids, step.key)

    def rewards(self, batch: Preferences) -> Tensor:
        """Rewards ``[N, 1 + K]`` at the beta of the settings; zero where nothing is scored.

        Beta times the score, but for log-odds the log-probability, with which alpha-DPO mixes the log-ratio.
        """
        beta = batch.sums().new_tensor(self.beta_policy.beta)
        if self.score == "log_ratio":
            values = batch.log_ratios(length_normalize=self.length_normalize)
        else:
            values = batch.sums(length_normalize=self.length_normalize)
            if isinstance(self.margin, AdaptiveMargin):
                ratios = batch.log_ratios(length_normalize=self.length_normalize)
                values = values - self.margin.alpha_inside(beta) * ratios
        return torch.where(batch.scored, beta * values, 0.0)

    def _gauges(
        self,
        rows: Preferences,
        gaps: Tensor,
        kept: Tensor,
        spread: Spread | None,
        offset: Tensor,
        beta: Tensor,
        weights: Tensor,
    ) -> dict[str, Tensor]:
        """Numbers that describe the unit as a whole."""
        gauges: dict[str, Tensor] = {}
        usable = rows.usable
        if spread is not None:
            gauges |= {"gap/mean": gaps.new_tensor(spread.mean), "gap/std": gaps.new_tensor(spread.std)}
        if self.margin.adaptive and usable.any():
            counted = offset[usable]
            gauges |= {
                "offset/mean": counted.mean(),
                "offset/min": counted.min(),
                "offset/max": counted.max(),
                "offset/var": counted.var(correction=0),
            }
        if self.beta_policy.dynamic:
            gauges["beta/used"] = beta
        if self.selector.selective or self.beta_policy.dynamic:
            log_weights = self.selector.log_weights(gaps, spread)[usable].log_softmax(0)
            gauges |= {
                "selection/kept": kept.sum(),
                "selection/gap": (gaps * kept).sum() / kept.sum().clamp(min=1),
                "selection/weight_entropy": -(log_weights.exp() * log_weights).nansum(),
            }
        if self.reduction.coupled:
            gauges |= {
                "weights/effective_size": 1 / weights.square().sum(),
                "weights/largest": weights.max(),
            }
        return gauges
