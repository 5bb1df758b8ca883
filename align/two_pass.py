"""Batch-coupled losses under accumulation and data parallelism, exact however the batch is cut.

Pass one collects the log-probabilities of a whole optimiser batch without gradient; the loss of all of them
gives its derivative with respect to each. Pass two computes the completions again, micro-batch by
micro-batch, and back-propagates these fixed derivatives. Rows that were not selected have none and need no
second pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from align.gap_statistics import FRESH, GapState
from align.objective import ALONE, LossOutput, PreferenceLoss, Step
from align.preferences import Preferences, full_precision


@dataclass(frozen=True)
class Plan:
    """What pass two needs.

    Attributes
    ----------
    gradients : [B, 1 + K], of the loss with respect to each policy sum; scaled for averaging over processes.
    prompt_gradients : [B], the same for ``prompt_logps``, or None.
    output : of the loss on the whole batch; its ``loss`` is the one to report.
    """

    gradients: Tensor
    prompt_gradients: Tensor | None
    output: LossOutput

    @property
    def active(self) -> Tensor:
        """Rows that pass two must compute, bool ``[B]``; the others have no gradient."""
        active = (self.gradients != 0).any(1)
        return active if self.prompt_gradients is None else active | (self.prompt_gradients != 0)

    def surrogate(self, part: Preferences, rows: slice | Tensor) -> Tensor:
        """A scalar with the gradient of the whole loss through ``part``, which is ``rows`` of the plan.

        The part may be narrower than the plan where its rows have fewer completions.
        """
        sums = part.sums()
        loss = (self.gradients[rows][:, : sums.shape[1]] * sums).sum()
        if self.prompt_gradients is not None and part.prompt_logps is not None:
            loss = loss + (self.prompt_gradients[rows] * part.prompt_logps).sum()
        return loss


def plan(loss: PreferenceLoss, batch: Preferences, state: GapState = FRESH, step: Step = ALONE) -> Plan:
    """Evaluate a loss on all rows that this process holds of an optimiser batch.

    Args:
        loss: any preference loss.
        batch: the rows of all micro-batches (:func:`align.preferences.concatenate`).
        state: of the running statistics; the next one is ``plan.output.state``.
        step: without totals; its ranks bring in the other processes' rows.
    """
    if step.totals is not None:
        raise ValueError("a plan holds the whole optimiser batch; leave totals out of its step")
    policy = full_precision(batch.policy.detach()).requires_grad_()
    leaves = [policy]
    batch = replace(batch, policy=policy)
    if batch.prompt_logps is not None:
        leaves.append(full_precision(batch.prompt_logps.detach()).requires_grad_())
        batch = replace(batch, prompt_logps=leaves[1])
    with torch.enable_grad():
        output = loss(batch, state, step)
        gradients = torch.autograd.grad(output.loss, leaves, allow_unused=True)
    policy_gradients, *others = (
        torch.zeros_like(leaf) if gradient is None else gradient
        for leaf, gradient in zip(leaves, gradients, strict=True)
    )
    output = replace(output, loss=output.loss.detach())
    return Plan(policy_gradients, others[0] if others else None, output)
