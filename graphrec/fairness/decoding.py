"""Group-aware decoding: which group each row's answer may come from, so that all answers meet a target.

The first place of a list comes from the language model, and reranking cannot mend what it never wrote.
Answers are therefore steered while they are chosen: among the best item of each group, among the beams of a
row, or by naming the group whose titles a decoder is held to. In each case the rows whose answer costs
least to change are changed (see :mod:`graphrec.fairness.calibration`, with lists of one).

Letters: B rows, I items, G groups, W beams of a row.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from graphrec.fairness.calibration import Calibration, calibrate
from graphrec.fairness.groups import ItemGroups
from graphrec.histories import Histories, Integers

Floats = NDArray[np.floating]


@runtime_checkable
class WritesAnswers(Protocol):
    """A recommender that writes an answer and makes a list of it, so that groups can be chosen before."""

    def group_answers(
        self, histories: Histories, groups: ItemGroups, *, exclude_seen: bool
    ) -> tuple[Integers, Floats]:
        """The answer that it would write if held to each group, and its log-probability, ``[B, G]`` each.

        What is not on offer has a log-probability of -inf.
        """

    def scores_of_answers(self, histories: Histories, answers: Integers) -> Floats:
        """Scores of all items if these items were the answers ``[B]``, ``[B, I]``."""


def best_of_groups(scores: Floats, groups: ItemGroups) -> tuple[Integers, Floats]:
    """The best item of each group in each row, and its score, ``[B, G]`` each.

    Args:
        scores: higher is better, -inf for what is not on offer, ``[B, I]``.
        groups: of items; a group without an item on offer scores -inf.
    """
    shape = (len(scores), len(groups))
    items, best = np.zeros(shape, dtype=np.int64), np.full(shape, -np.inf, dtype=scores.dtype)
    for group in np.flatnonzero(groups.sizes):
        members = groups.members(int(group))
        part = scores[:, members]
        place = part.argmax(axis=1)
        items[:, group], best[:, group] = members[place], part[np.arange(len(part)), place]
    return items, best


def choose_answers(
    items: Integers, scores: Floats, groups: ItemGroups, target: NDArray[np.float64], tolerance: float = 0.005
) -> Calibration:
    """One answer for each row, so that the groups of all answers have the target shares at least loss.

    Args:
        items: answers to choose from, such as the titles of W beams or :func:`best_of_groups`, ``[B, W]``;
            negative ones are no title of the catalogue and are never chosen.
        scores: such as their log-probabilities, ``[B, W]``.
        groups: of items.
        target: share of each group, ``[G]``.
        tolerance: largest gap between share and target.

    Raises:
        ValueError: a row has no answer to choose, or no choice reaches the target.
    """
    costs = np.where(items >= 0, -scores, np.inf)
    items, costs = _once(np.maximum(items, 0), costs)
    return calibrate(costs, groups, target, 1, items=items, tolerance=tolerance)


def _once(items: Integers, costs: Floats) -> tuple[Integers, Floats]:
    """Each item once in a row, at its lowest cost; the others are put out of reach."""
    order = np.lexsort([costs, items], axis=1)
    items, costs = np.take_along_axis(items, order, axis=1), np.take_along_axis(costs, order, axis=1)
    again = np.zeros(items.shape, dtype=bool)
    again[:, 1:] = items[:, 1:] == items[:, :-1]
    return items, np.where(again, np.inf, costs)


def group_logps(logps: Floats, groups: ItemGroups) -> NDArray[np.float64]:
    """Log-probability that an answer is in each group, ``[B, G]``; -inf for a group without items.

    An item of several groups counts for each of them in part, so that groups sum to one.

    Args:
        logps: log-probabilities of items, or scores, which are normalised, ``[B, I]``; -inf is allowed.
        groups: of items.

    Raises:
        ValueError: a row gives no item of a group any probability.
    """
    found = np.full((len(logps), len(groups)), -np.inf)
    for group in np.flatnonzero(groups.sizes):
        members = groups.members(int(group))
        share = -np.log(groups.groups_of_item[members])
        found[:, group] = logsumexp(logps[:, members] + share, axis=1)
    total = logsumexp(found, axis=1, keepdims=True)
    if not np.isfinite(total).all():
        row = int(np.argmin(np.isfinite(total)))
        raise ValueError(f"row {row} offers no item of any group; leave the row out, or offer more items")
    return found - total


def assign_groups(
    logps: NDArray[np.float64], target: NDArray[np.float64], tolerance: float = 0.005
) -> Integers:
    """A group for each row, ``[B]``, to which a decoder is then held.

    The groups' shares of rows meet the target, at the largest total log-probability.

    Args:
        logps: from :func:`group_logps`, ``[B, G]``.
        target: share of each group, ``[G]``.
        tolerance: largest gap between share and target.
    """
    size = logps.shape[1]
    alone = ItemGroups.from_lists([[group] for group in range(size)], [str(group) for group in range(size)])
    return calibrate(-logps, alone, target, 1, tolerance=tolerance).lists[:, 0]


def held_to_groups(scores: Floats, groups: ItemGroups, assigned: Integers) -> Floats:
    """Scores ``[B, I]`` with -inf for every item outside the group of its row, ``[B]``.

    For a decoder over titles, the trie of a row is that of ``groups.members(assigned[row])``.
    """
    inside = (groups.membership != 0).T.tocsr()[assigned].toarray()
    return np.where(inside, scores, np.asarray(-np.inf, dtype=scores.dtype))
