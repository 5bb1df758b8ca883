"""What candidate lists give away without any model: rules that know neither history nor items.

The published lists of S-DPO were drawn from a generator seeded by the target, so that a target's place in its
list, and the company it keeps, are the same wherever it is one. Rules learn from the lists of known rows and
choose in others; on lists that were drawn honestly they are at chance.

Letters: B rows, C candidates, I items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphrec.histories import Integers
from moltc.backbone.bootstrap import Bootstrap, Metric, mean_statistic

Floats = NDArray[np.float64]
RULES = ("place of the target", "company of the target", "usual place", "chance")


@dataclass(frozen=True)
class Lists:
    """Candidates in their order ``[B, C]`` and the true one of each, ``[B]``."""

    candidates: Integers
    targets: Integers

    @property
    def places(self) -> Integers:
        """Where the true one stands, ``[B]``."""
        return (self.candidates == self.targets[:, None]).argmax(axis=1)

    def part(self, rows: slice | Integers) -> Lists:
        """Some of the rows."""
        return Lists(self.candidates[rows], self.targets[rows])


def leakage_probe(known: Lists, asked: Lists, bootstrap: Bootstrap | None = None) -> dict[str, Metric]:
    """HitRatio@1 of rules that learn from the known lists alone, on other lists, with intervals.

    "place of the target" chooses candidates that stand where they stood when they were the target; "company
    of the target" those whose list then shared most with this one; "usual place" the place that held most
    targets. Where a rule favours several alike, or none, its expected hits count.
    """
    columns = {
        RULES[0]: _hits(_same_place(known, asked), asked),
        RULES[1]: _hits(_same_company(known, asked), asked),
        RULES[2]: _hits(_usual_place(known, asked), asked),
    }
    columns[RULES[3]] = np.full(len(asked.targets), 1 / asked.candidates.shape[1])
    return (bootstrap or Bootstrap()).estimate(mean_statistic(columns), len(asked.targets))


def halves(lists: Lists, seed: int = 0) -> tuple[Lists, Lists]:
    """Rows in two drawn halves, for lists that have no others to learn from."""
    order = np.random.default_rng(seed).permutation(len(lists.targets))
    middle = len(order) // 2
    return lists.part(order[:middle]), lists.part(order[middle:])


def told(found: dict[str, Metric]) -> str:
    """The probe in one line."""
    rules = ", ".join(f"{name} {m.value:.3f} ({m.low:.3f} to {m.high:.3f})" for name, m in found.items())
    return f"leakage probe, HitRatio@1 without a model: {rules}"


def _hits(scores: Floats, asked: Lists) -> Floats:
    """Expected hits of choosing among the best scored ``[B, C]`` alike, ``[B]``."""
    best = scores == scores.max(axis=1, keepdims=True)
    own = best[np.arange(len(best)), asked.places]
    return own / best.sum(axis=1)


def _same_place(known: Lists, asked: Lists) -> Floats:
    """How often each candidate was the target of a known row at the place where it stands, ``[B, C]``."""
    size = asked.candidates.shape[1]
    keys, counts = np.unique(known.targets * size + known.places, return_counts=True)
    wanted = asked.candidates * size + np.arange(size)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, counts[at], 0).astype(np.float64)


def _same_company(known: Lists, asked: Lists) -> Floats:
    """Most candidates shared with a known list of which each candidate was the target, ``[B, C]``."""
    order = np.argsort(known.targets, kind="stable")
    targets = known.targets[order]
    scores = np.zeros(asked.candidates.shape)
    for row, candidates in enumerate(asked.candidates):
        low, high = (np.searchsorted(targets, candidates, side=side) for side in ("left", "right"))
        for place in np.flatnonzero(high > low).tolist():
            lists = known.candidates[order[low[place] : high[place]]]
            scores[row, place] = np.isin(lists, candidates).sum(axis=1).max()
    return scores


def _usual_place(known: Lists, asked: Lists) -> Floats:
    """One where most targets of known rows stood, ``[B, C]``."""
    counts = np.bincount(known.places, minlength=asked.candidates.shape[1])
    return np.broadcast_to(counts.astype(np.float64), asked.candidates.shape)
