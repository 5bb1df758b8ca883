"""What every preference loss takes and returns, so that one trainer serves them all.

A loss keeps nothing: rows and state go in, a :class:`LossOutput` with the next state comes out. Whatever
couples the examples of a batch is computed on the whole unit: the rows of all processes, and of all
micro-batches where the optimiser batch is planned as one (:mod:`align.two_pass`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from torch import Tensor

from align.gap_statistics import FRESH, GapState
from align.preferences import Preferences
from align.ranks import ONE_PROCESS, Joined, Ranks
from align.reductions import Scope


@dataclass(frozen=True)
class Totals:
    """Counts of a whole optimiser batch: with them the losses of its parts add up to that of the whole.

    They are known before any forward pass; ``loss.count(part)`` counts one part.
    """

    examples: int
    tokens: int

    def __add__(self, other: Totals) -> Totals:
        return Totals(self.examples + other.examples, self.tokens + other.tokens)


@dataclass(frozen=True)
class Step:
    """What a loss may know beyond its rows.

    Attributes
    ----------
    training : False freezes the running statistics, selects nothing and takes the beta of the settings.
    ranks : the processes that share the step.
    key : whole numbers that name the step's random draw, such as (run seed, step, micro-step); the same on
        all processes. Needed where examples are drawn.
    totals : counts of the optimiser batch over all processes, where the rows are only a part of it; the loss
        is then the part's share.
    selected : bool, examples of the whole unit to keep, in place of a draw.
    """

    training: bool = True
    ranks: Ranks = ONE_PROCESS
    key: Sequence[int] | None = None
    totals: Totals | None = None
    selected: Tensor | None = None


ALONE = Step()  # a training step of one process that is one batch


@dataclass(frozen=True)
class LossOutput:
    """One evaluation of a loss. N counts the rows of ``batch``.

    Attributes
    ----------
    loss : scalar to back-propagate. Its value is that of the unit (or of this part's share); its gradient is
        scaled so that averaging over processes, as DDP does, gives the exact one.
    batch : this process's rows, as pairs where rows of several rejected completions were split.
    state : of the running statistics after this unit. Adopt it when the step is taken, drop it otherwise.
    per_example : [N] before selection and reduction, detached; zero weight where not ``kept``.
    weights : [N] derivative of the reduced loss with respect to ``per_example``.
    kept : bool [N], rows that count.
    chosen_rewards, rejected_rewards : detached, [N] and [N, K], zero where nothing is scored; of unpaired
        data the rewards of the desirable and of the undesirable completions; None for losses without.
    gap, offset, sampling_weights : [N], what statistics, margin and selector worked with, or None.
    beta : the beta used, scalar, or None.
    gauges : further numbers for logs, by name; scalars.
    """

    loss: Tensor
    batch: Preferences
    state: GapState
    per_example: Tensor
    weights: Tensor
    kept: Tensor
    chosen_rewards: Tensor | None = None
    rejected_rewards: Tensor | None = None
    gap: Tensor | None = None
    offset: Tensor | None = None
    sampling_weights: Tensor | None = None
    beta: Tensor | None = None
    gauges: dict[str, Tensor] = field(default_factory=dict)


class PreferenceLoss(Protocol):
    """What a trainer needs of a loss."""

    @property
    def needs_reference(self) -> bool:
        """Whether batches must carry reference log-probabilities."""

    @property
    def couples_batch(self) -> bool:
        """Whether examples interact beyond a common denominator.

        Such a loss depends on how an optimiser batch is cut unless it is planned as one; the parts of any
        other add up exactly when they are given the batch's :class:`Totals`.
        """

    def count(self, batch: Preferences) -> Totals:
        """What a part adds to the optimiser batch's totals."""

    def rewards(self, batch: Preferences) -> Tensor | None:
        """What the loss takes each completion to be worth, ``[N, 1 + K]``, at the beta of the settings; zero
        where nothing is scored, None for a loss that compares nothing."""

    def __call__(self, batch: Preferences, state: GapState = FRESH, step: Step = ALONE) -> LossOutput:
        """The loss of this process's rows.

        Raises:
            ValueError: when the batch lacks what the loss reads, or the step what it draws or divides by.
        """


def scaled_gradient(loss: Tensor, scale: int) -> Tensor:
    """The same value, with ``scale`` times its gradient."""
    return loss if scale == 1 else loss.detach() + scale * (loss - loss.detach())


def refuse_selection(step: Step, method: str) -> None:
    """Raise a ValueError when the step names examples to keep, for a loss that selects nothing."""
    if step.selected is not None:
        raise ValueError(f"{method} selects no examples; leave selected out of the step")


def gathered(batch: Preferences, step: Step, *, alone: bool) -> Joined:
    """The rows of all processes; only one's own where totals already say what the others hold."""
    if alone and step.totals is not None:
        return Joined(batch, slice(0, len(batch)))
    return step.ranks.join(batch)


class Unit(NamedTuple):
    """What is reduced together: rows of the whole, one's own among them, and the gradient's scale.

    ``examples`` and ``tokens`` replace the unit's own counts where it is a part of something larger.
    """

    rows: slice
    own: slice
    scale: int
    examples: int | None
    tokens: int | None


def unit_of(own: slice, scope: Scope, step: Step) -> Unit:
    """The unit of a reduction: all processes' rows, or one's own with a local scope or given totals."""
    if step.totals is not None:
        return Unit(own, slice(None), step.ranks.world_size, step.totals.examples, step.totals.tokens)
    if scope == "local":
        return Unit(own, slice(None), 1, None, None)
    return Unit(slice(None), own, step.ranks.world_size, None, None)


def token_mean_nll(batch: Preferences, rows: Tensor, total: int | None, *, on_prompt: bool = False) -> Tensor:
    """Negative log-likelihood of the chosen completions of ``rows`` (bool ``[N]``) per token, a scalar."""
    sums = batch.sums()[:, 0]
    if on_prompt:
        if batch.prompt_logps is None or batch.prompt_lengths is None:
            raise ValueError(
                "nll_on_prompt counts the prompt: give prompt_logps and prompt_lengths, or turn it off"
            )
        sums = sums + batch.prompt_logps.to(sums.dtype)
    tokens = (
        chosen_tokens(batch, rows, on_prompt=on_prompt) if total is None else rows.sum().new_tensor(total)
    )
    return -(sums * rows).sum() / tokens.clamp(min=1)


def chosen_tokens(batch: Preferences, rows: Tensor, *, on_prompt: bool = False) -> Tensor:
    """Tokens of the chosen completions of ``rows``, a scalar."""
    lengths = batch.lengths[:, 0]
    if on_prompt and batch.prompt_lengths is not None:
        lengths = lengths + batch.prompt_lengths
    return (lengths * rows).sum()
