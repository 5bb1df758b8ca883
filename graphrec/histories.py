"""Many histories as one flat array: what every recommender reads, however long each of them is.

Letters: B rows, H interactions of all rows, L a padded length, I items.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Histories:
    """The items of B rows, oldest first.

    Attributes:
        items: item numbers of all rows, one row after the other, ``[H]``.
        ends: where each row ends in ``items``, ``[B]``; row b is ``items[ends[b - 1]:ends[b]]``.
    """

    items: Integers
    ends: Integers

    def __post_init__(self) -> None:
        ends = self.ends
        if self.items.ndim != 1 or ends.ndim != 1:
            raise ValueError(f"items and ends are flat, not {self.items.shape} and {ends.shape}")
        if (len(ends) and (ends[0] < 0 or (np.diff(ends) < 0).any())) or self._total() != len(self.items):
            raise ValueError(
                f"ends must rise to the number of items, {len(self.items)}; they rise to {self._total()}"
            )

    def _total(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    @classmethod
    def from_lists(cls, rows: Iterable[Sequence[int] | Integers]) -> Histories:
        """Histories from one list of item numbers for each row."""
        parts = [np.asarray(row, dtype=np.int64).reshape(-1) for row in rows]
        return cls.from_lengths(
            np.concatenate(parts) if parts else np.empty(0, dtype=np.int64), [len(part) for part in parts]
        )

    @classmethod
    def from_lengths(cls, items: Integers, lengths: Sequence[int] | Integers) -> Histories:
        """Histories from flat items ``[H]`` and the length of each row ``[B]``."""
        ends = np.cumsum(np.asarray(lengths, dtype=np.int64), dtype=np.int64)
        return cls(np.ascontiguousarray(items, dtype=np.int64), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, part: slice) -> Histories:
        """Consecutive rows; their items are a view of these."""
        first, last, step = part.indices(len(self))
        if step != 1:
            return self.select(np.arange(first, last, step))
        starts = self.starts
        begin = int(starts[first]) if first < len(self) else self._total()
        end = int(self.ends[last - 1]) if last > first else begin
        return Histories(self.items[begin:end], self.ends[first : max(first, last)] - begin)

    @property
    def starts(self) -> Integers:
        """Where each row starts in ``items``, ``[B]``."""
        return np.concatenate([np.zeros(1, dtype=np.int64), self.ends[:-1]])[: len(self)]

    @property
    def lengths(self) -> Integers:
        """Items of each row, ``[B]``."""
        return self.ends - self.starts

    @property
    def rows(self) -> Integers:
        """Row of each item, ``[H]``."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def positions(self) -> Integers:
        """Place of each item in its row, from 0, ``[H]``."""
        return np.arange(len(self.items)) - np.repeat(self.starts, self.lengths)

    @property
    def places_from_end(self) -> Integers:
        """How many items of its row follow each item, ``[H]``; 0 is the latest."""
        return np.repeat(self.ends, self.lengths) - 1 - np.arange(len(self.items))

    def select(self, rows: Integers | Mask) -> Histories:
        """Rows by number, in the given order, or by a mask ``[B]``."""
        return self._spans(self.starts[rows], self.ends[rows])

    def last(self, n: int) -> Histories:
        """The latest ``n`` items of each row, or all of a shorter one."""
        if n < 0:
            raise ValueError(f"n={n} is no number of items; give 0 or more")
        return self._spans(np.maximum(self.starts, self.ends - n), self.ends)

    def without_last(self, n: int = 1) -> Histories:
        """Each row without its latest ``n`` items."""
        return self._spans(self.starts, np.maximum(self.starts, self.ends - n))

    def _spans(self, begins: Integers, ends: Integers) -> Histories:
        lengths = ends - begins
        new_ends = np.cumsum(lengths, dtype=np.int64)
        shift = np.repeat(begins - (new_ends - lengths), lengths)
        return Histories(self.items[np.arange(int(lengths.sum())) + shift], new_ends)

    def padded(self, length: int, pad: int, side: Literal["left", "right"] = "right") -> Integers:
        """The latest ``length`` items of each row as ``[B, length]``, with ``pad`` on the given side."""
        if length < 1:
            raise ValueError(f"length={length} is no length of a row; give a whole number from 1")
        if side not in ("left", "right"):
            raise ValueError(f"side={side!r} is not known; choose 'left' or 'right'")
        latest = self.last(length)
        columns = latest.positions if side == "right" else length - 1 - latest.places_from_end
        block = np.full((len(self), length), pad, dtype=np.int64)
        block[latest.rows, columns] = latest.items
        return block

    def seen_mask(self, num_items: int) -> Mask:
        """Which items each row holds, ``[B, I]``."""
        mask = np.zeros((len(self), num_items), dtype=bool)
        mask[self.rows, self.items] = True
        return mask

    def latest_of_each(self) -> Mask:
        """Which interactions are the latest of their item within their row, ``[H]``."""
        backwards = slice(None, None, -1)
        pairs = np.stack([self.rows, self.items])[:, backwards]  # the first of a pair is its latest
        order = np.lexsort(pairs[backwards])
        fresh = np.ones(len(order), dtype=bool)
        fresh[1:] = (np.diff(pairs[:, order], axis=1) != 0).any(axis=0)
        latest = np.zeros(len(order), dtype=bool)
        latest[order[fresh]] = True
        return latest[backwards]

    def lists(self) -> list[list[int]]:
        """One list of item numbers for each row."""
        flat, starts = self.items.tolist(), self.starts.tolist()
        return [flat[start:end] for start, end in zip(starts, self.ends.tolist(), strict=True)]


def pad_history(items: Sequence[int], length: int, pad: int) -> tuple[list[int], int]:
    """One history as published rows store it: padded on the right, and how many places an encoder reads.

    The second value is ``min(length, max(1, len(items)))``: an empty history counts as one place (DreamRec,
    arXiv 2310.20453, and LLaRA, arXiv 2312.02445).
    """
    row = Histories.from_lists([items]).padded(length, pad)[0]
    return row.tolist(), min(length, max(1, len(items)))
