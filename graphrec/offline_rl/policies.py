"""A recommender as a policy: how likely it is to show each item, from its scores.

Letters: B rows, I items, d width.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphrec.data import Rows
from graphrec.evaluation import Ties, target_ranks
from graphrec.histories import Integers
from graphrec.offline_rl.values import check_temperature
from graphrec.recommender import Recommender

Floats = NDArray[np.float64]


class Shown(NamedTuple):
    """What a policy does in the states of B rows.

    Attributes
    ----------
    ranks : of the logged items, ``[B]``.
    probabilities : of the logged items, ``[B]``.
    mean_vectors : mean item vector of what it shows, ``[B, d]``; None where no vectors were given.
    """

    ranks: Floats
    probabilities: Floats
    mean_vectors: Floats | None


def show(
    model: Recommender,
    rows: Rows,
    *,
    temperature: float = 1.0,
    vectors: Floats | None = None,
    ties: Ties = "average",
) -> Shown:
    """The policy ``softmax(scores / temperature)`` on logged rows; nothing is filtered.

    Args:
        model: any recommender; its scores are read as logits.
        rows: logged states and items.
        temperature: > 0; towards 0 the policy shows its first item only.
        vectors: of the items, ``[I, d]``.
        ties: see :func:`graphrec.evaluation.target_ranks`.
    """
    check_temperature("temperature", temperature)
    parts = []
    for part in model.parts(len(rows)):
        scores, targets = model.scores(rows.histories[part]), rows.targets[part]
        policy = _softmax(scores / temperature)
        parts.append(
            (
                target_ranks(scores, targets, ties=ties),
                np.take_along_axis(policy, targets[:, None], axis=1)[:, 0],
                None if vectors is None else policy @ vectors,
            )
        )
    ranks, probabilities, means = zip(*parts, strict=True)
    joined = None if vectors is None else np.concatenate([mean for mean in means if mean is not None])
    return Shown(np.concatenate(ranks), np.concatenate(probabilities), joined)


def _softmax(logits: NDArray[np.floating]) -> Floats:
    raised = np.exp(np.asarray(logits, dtype=np.float64) - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def popularity(items: Integers, num_items: int) -> Floats:
    """Share of each item among logged events ``[H]``, each counted once more than it occurred: ``[I]``.

    An item that was never logged keeps a share above zero.
    """
    counts = np.bincount(items, minlength=num_items) + 1.0
    return counts / counts.sum()


def following(rows: Rows) -> Integers:
    """For each row the next one, where that goes on from it with its item; -1 where its session ends.

    Raises:
        ValueError: no row is followed by another: these rows are not the events of sessions.
    """
    histories, count = rows.histories, len(rows)
    lengths = histories.lengths
    longer = np.flatnonzero(lengths[1:] == lengths[:-1] + 1)  # rows that may be followed by the next
    later, earlier = histories.select(longer + 1), histories.select(longer)
    different = later.without_last().items != earlier.items
    wrong = np.bincount(earlier.rows, weights=different, minlength=len(longer)) > 0
    wrong |= later.items[later.ends - 1] != rows.targets[longer]
    found = np.full(count, -1, dtype=np.int64)
    found[longer[~wrong]] = longer[~wrong] + 1
    if not (found >= 0).any():
        raise ValueError(
            "no row goes on from the row before it: off-policy estimates need one row for each event"
        )
    return found


def sessions(followers: Integers) -> Integers:
    """Session of each row, ``[B]``, from :func:`following`."""
    begins = np.ones(len(followers), dtype=bool)
    begins[followers[followers >= 0]] = False
    return np.cumsum(begins) - 1
