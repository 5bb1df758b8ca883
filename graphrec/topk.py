"""The k best items of each row, without what was seen, and without all scores at once.

Items that score alike are ordered by a fixed shuffle of the catalogue: an order by number would favour the
items that a file happens to name first.

Letters: B rows, I items, d width, k length of a list.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphrec.histories import Histories, Integers

Floats = NDArray[np.floating]

ITEMS_AT_ONCE = 16_384
"""Items whose scores are held while vectors are multiplied."""


class Factors(NamedTuple):
    """Vectors whose products are scores: ``queries @ items.T + bias``."""

    queries: Tensor
    """One for each row, float32 ``[B, d]``."""
    items: Tensor
    """One for each item, ``[I, d]``."""
    bias: Tensor | None = None
    """Added to each item's score, ``[I]``."""

    def part(self, first: int, last: int) -> Tensor:
        """Scores of some items, ``[B, last - first]``."""
        if self.bias is None:
            return self.queries @ self.items[first:last].T
        return torch.addmm(self.bias[first:last], self.queries, self.items[first:last].T)

    def scores(self) -> Floats:
        """All scores, ``[B, I]``."""
        return self.part(0, len(self.items)).cpu().numpy()


def best_by_scores(
    scores: Floats, k: int, *, seen: Histories | None = None, allowed: Integers | None = None
) -> tuple[Integers, Floats]:
    """Numbers and scores of the k best items, ``[B, k]`` each, best first; -1 where fewer are on offer.

    Args:
        scores: ``[B, I]``; not changed.
        seen: items of each row that are not offered.
        allowed: the items that may be offered; None: all.
    """
    found = _Best(len(scores), k, scores.shape[1], seen, allowed)
    found.add(torch.as_tensor(scores), 0)
    return found.lists()


def best_by_factors(
    factors: Factors, k: int, *, seen: Histories | None = None, allowed: Integers | None = None
) -> tuple[Integers, Floats]:
    """The same for scores given as vectors; they are multiplied some items at a time."""
    found = _Best(len(factors.queries), k, len(factors.items), seen, allowed)
    with torch.no_grad():
        for first in range(0, len(factors.items), ITEMS_AT_ONCE):
            last = min(first + ITEMS_AT_ONCE, len(factors.items))
            found.add(factors.part(first, last).cpu(), first)
    return found.lists()


class _Best:
    """The best so far of each row, while scores come in some columns at a time."""

    def __init__(
        self, rows: int, k: int, num_items: int, seen: Histories | None, allowed: Integers | None
    ) -> None:
        self.k = k
        self.tie_breaker = np.random.default_rng(num_items).permutation(num_items)
        self.rows = np.empty(0, dtype=np.int64)
        self.items = np.empty(0, dtype=np.int64)
        self.scores: Floats = np.empty(0)
        self.num_rows = rows
        self.bar = torch.full((rows, 1), -torch.inf, dtype=torch.float64)  # the k-th best so far
        self.banned: NDArray[np.bool_] | None = None
        if allowed is not None:
            self.banned = np.ones(num_items, dtype=bool)
            self.banned[allowed] = False
        self.seen = seen
        if seen is not None:
            order = np.argsort(seen.items, kind="stable")
            self.seen_items, self.seen_rows = seen.items[order], seen.rows[order]

    def add(self, scores: Tensor, first: int) -> None:
        """Take in the scores of items from ``first`` on, ``[B, width]``."""
        width = scores.shape[1]
        candidates = scores >= self.bar.to(scores.dtype)  # [B, width]
        if self.banned is not None:
            candidates &= torch.from_numpy(~self.banned[first : first + width])
        if self.seen is not None:
            low, high = np.searchsorted(self.seen_items, [first, first + width])
            rows = torch.from_numpy(self.seen_rows[low:high])
            candidates[rows, torch.from_numpy(self.seen_items[low:high] - first)] = False
        rows, columns = candidates.nonzero(as_tuple=True)
        self._keep(rows.numpy(), columns.numpy() + first, scores[rows, columns].double().numpy())

    def _keep(self, rows: Integers, items: Integers, scores: Floats) -> None:
        rows = np.concatenate([self.rows, rows])
        items = np.concatenate([self.items, items])
        scores = np.concatenate([self.scores, scores])
        order = np.lexsort([self.tie_breaker[items], -scores, rows])
        rows, items, scores = rows[order], items[order], scores[order]
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)
        kept = place < self.k
        self.rows, self.items, self.scores = rows[kept], items[kept], scores[kept]
        full = place[kept] == self.k - 1
        self.bar[self.rows[full], 0] = torch.from_numpy(self.scores[full])

    def lists(self) -> tuple[Integers, Floats]:
        """Numbers and scores, ``[B, k]`` each."""
        place = np.arange(len(self.rows)) - np.searchsorted(self.rows, self.rows)
        numbers = np.full((self.num_rows, self.k), -1, dtype=np.int64)
        scores = np.full((self.num_rows, self.k), -np.inf)
        numbers[self.rows, place], scores[self.rows, place] = self.items, self.scores
        return numbers, scores
