"""The gradient of one optimiser step, micro-batch by micro-batch, exact for every loss.

A loss whose examples share no more than a denominator is summed over micro-batches under the step's totals.
A loss that couples them is planned first (:mod:`align.two_pass`): log-probabilities of all micro-batches
without gradient, then a second pass through the examples that were kept. One micro-batch needs no plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from align.batch import PreferenceBatch
from align.gap_statistics import GapState
from align.objective import LossOutput, PreferenceLoss, Step, Totals
from align.policy import Policy
from align.preferences import Preferences, concatenate
from align.reference import Reference
from align.two_pass import plan
from moltc.backbone.processes import sum_over_processes


@dataclass(frozen=True)
class Gradients:
    """What computes gradients: a loss, a model and its reference.

    Attributes
    ----------
    loss, policy : what is minimised, and what is trained.
    reference : None for losses without.
    backward : back-propagates a scalar; a trainer's may scale it.
    noise : called with a micro-batch's number before each of its forward passes, so that dropout repeats;
        None without dropout. With it, pass two computes whole micro-batches.
    """

    loss: PreferenceLoss
    policy: Policy
    reference: Reference | None = None
    backward: Callable[[Tensor], None] = Tensor.backward
    noise: Callable[[int], None] | None = None

    def accumulate(self, parts: Sequence[PreferenceBatch], state: GapState, step: Step) -> LossOutput:
        """Add the gradient of the loss of all parts, and of all processes, to that of the weights.

        It is scaled for averaging over processes, which is left to the caller; processes may have different
        numbers of parts.

        Args:
            parts: this process's micro-batches, at least one.
            state: of the running statistics.
            step: without totals.

        Returns:
            The loss of the whole optimiser batch, evaluated at once; without gradient.
        """
        if not self.loss.couples_batch:
            return self._one_pass(parts, state, step)
        if len(parts) == 1:
            output = self.loss(self._scored(0, parts[0]), state, step)
            self.backward(output.loss)
            return replace(output, loss=output.loss.detach())
        return self._two_passes(parts, state, step)

    def _one_pass(self, parts: Sequence[PreferenceBatch], state: GapState, step: Step) -> LossOutput:
        share, seen = replace(step, totals=self._totals(parts)), []
        for number, part in enumerate(parts):
            scored = self._scored(number, part)
            self.backward(self.loss(scored, state, share).loss)
            seen.append(scored.detached())
        return self.loss(concatenate(seen), state, step)

    def _two_passes(self, parts: Sequence[PreferenceBatch], state: GapState, step: Step) -> LossOutput:
        with torch.no_grad():
            seen = [self._scored(number, part) for number, part in enumerate(parts)]
        planned = plan(self.loss, concatenate(seen), state, step)
        start = 0
        for number, part in enumerate(parts):
            rows = torch.arange(start, start + len(part), device=planned.active.device)
            start += len(part)
            kept = planned.active[rows]
            if not kept.any():
                continue
            if self.noise is None and not kept.all():
                part = part.take(kept.nonzero().squeeze(1).cpu().numpy(), self.policy.pack)
                rows = rows[kept]
            self._mark(number)
            self.backward(planned.surrogate(self.policy.preferences(part), rows))
        return planned.output

    def _scored(self, number: int, part: PreferenceBatch) -> Preferences:
        ref_logps = None if self.reference is None else self.reference(part)
        self._mark(number)
        return self.policy.preferences(part, ref_logps)

    def _mark(self, number: int) -> None:
        if self.noise is not None:
            self.noise(number)

    def _totals(self, parts: Sequence[PreferenceBatch]) -> Totals:
        """Counts of the optimiser batch over all processes, known before anything is scored."""
        own = Totals(0, 0)
        for part in parts:
            own += self.loss.count(self._unscored(part))
        device = parts[0].packed.lengths.device
        examples, tokens = sum_over_processes(
            torch.tensor([own.examples, own.tokens], device=device)
        ).tolist()
        return Totals(examples, tokens)

    def _unscored(self, part: PreferenceBatch) -> Preferences:
        """The lengths of a part."""
        lengths = part.packed.lengths
        return Preferences.from_flat(
            torch.zeros_like(lengths, dtype=torch.float32),
            lengths,
            part.num_completions,
            desirable=part.desirable,
            prompt_lengths=self.policy.prompt_lengths(part.packed) if self.policy.on_prompt else None,
        )
