"""The k best items of each row, without what was seen, and without all scores at once.

Items that score alike are ordered by a fixed shuffle of the catalogue: an order by number would favour the
items that a file happens to name first. An item that scores -inf is not on offer.

Letters: B rows, I items, d width, k length of a list.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from graphrec.histories import Histories, Integers

Floats = NDArray[np.floating]

CELLS_AT_ONCE = 1 << 20
"""Scores that are held while vectors are multiplied: 4 MB, which stay in the cache."""
ROWS_AT_ONCE = 128
"""Rows that are multiplied together."""


class Factors(NamedTuple):
    """Vectors whose products are scores: ``queries @ items.T + bias``."""

    queries: Tensor
    """One for each row, float32 ``[B, d]``."""
    items: Tensor
    """One for each item, ``[I, d]``."""
    bias: Tensor | None = None
    """Added to each item's score, ``[I]``."""

    def rows(self, part: slice) -> Factors:
        """The same for some rows."""
        return self._replace(queries=self.queries[part])

    def part(self, first: int, last: int) -> Tensor:
        """Scores of some items, ``[B, last - first]``."""
        if self.bias is None:
            return self.queries @ self.items[first:last].T
        return torch.addmm(self.bias[first:last], self.queries, self.items[first:last].T)

    def scores(self) -> Floats:
        """All scores, ``[B, I]``."""
        return self.part(0, len(self.items)).detach().cpu().numpy()

    def candidate_scores(self, candidates: Integers) -> Floats:
        """Scores of given items, ``[B, C]`` for candidates ``[B, C]``."""
        numbers = torch.from_numpy(candidates).to(self.items.device)
        scores = torch.einsum("bd,bcd->bc", self.queries, self.items[numbers])
        scores = scores if self.bias is None else scores + self.bias[numbers]
        return scores.detach().cpu().numpy()


def best_by_scores(
    scores: Floats, k: int, *, seen: Histories | None = None, allowed: Integers | None = None
) -> tuple[Integers, Floats]:
    """Numbers and scores of the k best items, ``[B, k]`` each, best first; -1 where fewer are on offer.

    Args:
        scores: ``[B, I]``; not changed.
        seen: items of each row that are not offered.
        allowed: the items that may be offered; None: all.
    """
    found = _Best(len(scores), k, _Offer(scores.shape[1], seen, allowed), scores.dtype)
    found.add(torch.tensor(scores), 0)
    return found.lists()


@torch.no_grad()
def best_by_factors(
    factors: Factors, k: int, *, seen: Histories | None = None, allowed: Integers | None = None
) -> tuple[Integers, Floats]:
    """The same for scores given as vectors; tiles of rows and items are multiplied one after the other."""
    num_items = len(factors.items)
    lists = []
    for start in range(0, len(factors.queries), ROWS_AT_ONCE):
        rows = slice(start, min(start + ROWS_AT_ONCE, len(factors.queries)))
        some = factors.rows(rows)
        offer = _Offer(num_items, None if seen is None else seen[rows], allowed)
        found = _Best(len(some.queries), k, offer)
        width = max(k, CELLS_AT_ONCE // len(some.queries))
        for first in range(0, num_items, width):
            found.add(some.part(first, min(first + width, num_items)).cpu(), first)
        lists.append(found.lists())
    if not lists:
        return np.empty((0, k), dtype=np.int64), np.empty((0, k))
    numbers, scores = zip(*lists, strict=True)
    return np.concatenate(numbers), np.concatenate(scores)


class _Offer:
    """Which items may stand in the list of which row."""

    def __init__(self, num_items: int, seen: Histories | None, allowed: Integers | None) -> None:
        self.num_items = num_items
        self.seen_items = self.seen_rows = np.empty(0, dtype=np.int64)
        if seen is not None:
            order = np.argsort(seen.items, kind="stable")
            self.seen_items, self.seen_rows = seen.items[order], seen.rows[order]
        self.banned: Tensor | None = None
        if allowed is not None:
            self.banned = torch.ones(num_items, dtype=torch.bool)
            self.banned[torch.from_numpy(allowed)] = False

    def withhold(self, scores: Tensor, first: int) -> None:
        """Set what is not on offer to -inf, among the scores of items from ``first`` on."""
        last = first + scores.shape[1]
        if self.banned is not None:
            scores.masked_fill_(self.banned[first:last], -torch.inf)
        low, high = np.searchsorted(self.seen_items, [first, last])
        if high > low:
            columns = torch.from_numpy(self.seen_items[low:high] - first)
            scores[torch.from_numpy(self.seen_rows[low:high]), columns] = -torch.inf


class _Best:
    """The best so far of each row, while scores come in some columns at a time."""

    def __init__(self, num_rows: int, k: int, offer: _Offer, dtype: DTypeLike = np.float32) -> None:
        self.num_rows, self.k, self.offer = num_rows, k, offer
        self.bar = np.full(
            (num_rows, 1), np.finfo(dtype).min, dtype=dtype
        )  # nothing below it can enter a list
        self.kept: list[tuple[Integers, Integers, Floats]] = []

    def add(self, scores: Tensor, first: int) -> None:
        """Take in the scores of items from ``first`` on, ``[B, width]``, which are changed."""
        self.offer.withhold(scores, first)
        if not self.kept:
            self._first_bar(scores)
        values = scores.numpy()
        rows, columns = _places(values >= self.bar)
        self.kept.append((rows, columns + first, values[rows, columns]))
        if sum(len(entry[0]) for entry in self.kept) > 4 * self.k * self.num_rows:
            self._merge()

    def _first_bar(self, scores: Tensor) -> None:
        if scores.shape[1] >= self.k:
            best = torch.topk(scores, self.k, sorted=False).values
            np.maximum(self.bar, best.amin(dim=1, keepdim=True).numpy(), out=self.bar)

    def _merge(self) -> None:
        """Keep the k best of each row, ties by the shuffle, and raise the bar to the last of them."""
        rows, items, scores = (np.concatenate(parts) for parts in zip(*self.kept, strict=True))
        order = np.lexsort([_shuffled(items, self.offer.num_items), -scores, rows])
        rows, items, scores = rows[order], items[order], scores[order]
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)
        short = place < self.k
        rows, items, scores, place = rows[short], items[short], scores[short], place[short]
        self.kept = [(rows, items, scores)]
        last = place == self.k - 1
        self.bar[rows[last], 0] = scores[last]

    def lists(self) -> tuple[Integers, Floats]:
        """Numbers and scores, ``[B, k]`` each."""
        numbers = np.full((self.num_rows, self.k), -1, dtype=np.int64)
        best = np.full((self.num_rows, self.k), -np.inf)
        if self.kept:
            self._merge()
            rows, items, scores = self.kept[0]
            place = np.arange(len(rows)) - np.searchsorted(rows, rows)
            numbers[rows, place], best[rows, place] = items, scores
        return numbers, best


def _places(mask: NDArray[np.bool_]) -> tuple[Integers, Integers]:
    """Rows and columns of the few true cells of ``[B, width]``; 64 cells are looked at together."""
    packed = np.packbits(mask.reshape(-1))
    packed = np.pad(packed, (0, -len(packed) % 8))
    words = np.flatnonzero(packed.view(np.uint64))
    entry, bit = np.nonzero(np.unpackbits(packed.reshape(-1, 8)[words], axis=1))
    rows, columns = np.divmod(words[entry] * 64 + bit, mask.shape[1])
    return rows, columns


def _shuffled(items: Integers, num_items: int) -> Integers:
    """A number for each item that has nothing to do with its own: the mixer of SplitMix64."""
    mixed = items.astype(np.uint64) + np.uint64(num_items)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return (mixed ^ (mixed >> np.uint64(31))).view(np.int64)
