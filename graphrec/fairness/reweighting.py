"""Weights of training samples that make the groups of targets count as those of histories (IFairLRS).

A group that targets show more often than histories gets a weight below one. Weights are computed once, before
training, from the samples that are trained on (Jiang et al., WWW 2024, arXiv 2402.15215, section 4.1).

Letters: N samples, G groups, B samples of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from graphrec.fairness.groups import ItemGroups
from graphrec.fairness.unfairness import shares
from graphrec.histories import Histories, Integers

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]

LEAST = 0.01
"""Share that is added to every group where a model's lists decide, so that no weight is out of bounds."""


@dataclass(frozen=True)
class Reweighting:
    """Weights of samples, and how much they change.

    Attributes:
        weights: of each sample, ``[N]``; 1 where its target is in no group.
        item_weights: of each item as a target, ``[I]``; 1 where it is in no group.
        group_weights: of each group, ``[G]``; 1 where no target is in it.
        history_shares, target_shares: of each group, ``[G]``; of what is shown where that was given.
        unseen: names of the groups that no target is in.
        without_group: samples whose target is in no group.
    """

    weights: Floats
    item_weights: Floats
    group_weights: Floats
    history_shares: Floats
    target_shares: Floats
    unseen: tuple[str, ...]
    without_group: int

    @property
    def effective_samples(self) -> float:
        """Samples of equal weight that would be as informative, ``(sum w)^2 / sum w^2`` (Kish, 1965)."""
        return effective_samples(self.weights)

    @property
    def effective_share(self) -> float:
        """The same as a share of the samples: 1 where reweighting changes nothing."""
        return self.effective_samples / len(self.weights)


def effective_samples(weights: Floats) -> float:
    """``(sum w)^2 / sum w^2`` of weights ``[N]``."""
    return float(weights.sum() ** 2 / np.square(weights).sum())


def group_weights(history_counts: Floats, target_counts: Floats) -> Floats:
    """Share in histories divided by share in targets, ``[G]``; 1 for a group without targets."""
    aimed, shown = shares(history_counts), shares(target_counts)
    return np.divide(aimed, shown, out=np.ones(len(shown)), where=shown > 0)


def reweight(
    groups: ItemGroups,
    histories: Histories,
    targets: Integers,
    *,
    shown: Integers | None = None,
    power: float = 1.0,
) -> Reweighting:
    """Weights of training samples.

    Args:
        groups: of items; the paper counts them fully.
        histories: of N samples, as far as the model is shown them.
        targets: what each sample teaches, ``[N]``.
        shown: items that a model recommends after such histories. They take the place of the targets, so that
            weights oppose what training adds; no part of the paper.
        power: of the weights of groups, below 1 where they would overshoot; the paper's is 1. With another
            one, and with ``shown``, weights are scaled to a mean of 1.

    Raises:
        ValueError: there is no sample, or no history or no target has a group.
    """
    if not len(targets) or len(targets) != len(histories):
        raise ValueError(
            f"{len(histories)} histories and {len(targets)} targets: give one each, at least one"
        )
    before, after = groups.counts(histories.items), groups.counts(targets if shown is None else shown)
    for counts, what in ((before, "history"), (after, "target" if shown is None else "list")):
        if not counts.sum():
            raise ValueError(f"no {what} of these samples is in a group: there is nothing to weigh by")
    if shown is None:
        by_group = group_weights(before, after)
    else:
        by_group = (shares(before) + LEAST) / (shares(after) + LEAST)
    grouped = groups.groups_of_item > 0
    by_group = by_group**power
    of_items = np.where(grouped, groups.share_of_item @ by_group, 1.0)
    if shown is not None or power != 1:
        of_items /= of_items[targets].mean()
    return Reweighting(
        weights=of_items[targets],
        item_weights=of_items,
        group_weights=by_group,
        history_shares=shares(before),
        target_shares=shares(after),
        unseen=tuple(groups.names[group] for group in np.flatnonzero(groups.counts(targets) == 0)),
        without_group=int((~grouped[targets]).sum()),
    )


def weighted_loss(logps: Tensor, lengths: Tensor, weights: Tensor | None) -> Tensor:
    """Mean over samples of weight times mean token cross-entropy.

    The mean over tokens is taken within each sample, before its weight is applied: averaging over the batch
    first would leave the mean weight times the mean loss, which weighs nothing.

    Args:
        logps: summed log-probability of each sample's scored tokens, ``[B]``.
        lengths: how many they are, at least 1, ``[B]``.
        weights: ``[B]``; None: every sample counts alike.
    """
    losses = -logps / lengths
    return (losses if weights is None else weights * losses).mean()
