"""What is trained on: sequences cut into windows whose every place is a target, or one row for each prefix.

The number I stands for "nothing": before the first item of a sequence, so that the first item is a target
too, and in place of an empty history.

Letters: B rows of a batch, P tokens, S trained places, L longest row, I items.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphrec.histories import Histories
from graphrec.sequential.packing import Packing, pack

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class SequenceBatch:
    """Rows to encode and what came next.

    Attributes:
        tokens: item numbers, I for nothing, ``[P]``.
        packing: how the B rows lie in them.
        places: flat places that are trained, ``[S]``; None: all of them, S = P.
        targets: item after each trained place, ``[S]``.
    """

    tokens: Tensor
    packing: Packing
    places: Tensor | None
    targets: Tensor

    def to(self, device: torch.device) -> SequenceBatch:
        """The same on a device."""
        places = None if self.places is None else self.places.to(device)
        return SequenceBatch(self.tokens.to(device), self.packing, places, self.targets.to(device))


def with_start(histories: Histories, start: int) -> Histories:
    """Each row with the number ``start`` before its first item."""
    items = np.insert(histories.items, histories.starts, start)
    return Histories.from_lengths(items, histories.lengths + 1)


def encoder_rows(histories: Histories, length: int, start: int, *, always: bool = True) -> Histories:
    """What an encoder of ``length`` places reads of each row, never nothing: the latest items.

    Args:
        start: number that stands for nothing.
        always: it comes before the first item of any row that leaves it a place, else in empty rows only.
    """
    latest = histories.last(length)
    if always:
        return with_start(latest, start).last(length)
    empty = latest.lengths == 0
    items = np.insert(latest.items, latest.starts[empty], start)
    return Histories.from_lengths(items, np.maximum(latest.lengths, 1))


def windows(sequences: Histories, length: int, rng: np.random.Generator | None = None) -> Histories:
    """Sequences cut into rows of at most ``length + 1`` tokens; each shares one token with the next.

    Every token but the first of its sequence is thereby the target of one place. Sequences that fit are kept
    whole. Others are cut at places that ``rng`` draws for each, or, without it, from the end backwards.

    Args:
        sequences: those of fewer than two tokens have no target and give no row.
        length: places of a row, L.
    """
    targets = np.maximum(sequences.lengths - 1, 0)  # [sequences]
    latest = np.minimum(targets, length)  # targets of the last row of each
    if rng is not None:
        drawn = rng.integers(1, length, size=len(targets), endpoint=True)
        latest = np.where(targets > length, drawn, latest)
    count = np.where(targets > 0, 1 + -(-(targets - latest) // length), 0)
    of = np.repeat(np.arange(len(targets)), count)
    back = np.repeat(np.cumsum(count), count) - 1 - np.arange(int(count.sum()))  # rows that follow
    ends = sequences.ends[of] - np.where(back > 0, latest[of] + (back - 1) * length, 0)
    begins = np.maximum(sequences.starts[of], ends - 1 - np.where(back > 0, length, latest[of]))
    return spans(sequences, begins, ends)


def expected_windows(sequences: Histories, length: int) -> float:
    """How many rows :func:`windows` with drawn cuts gives on average."""
    targets = sequences.lengths - 1
    long = targets > length
    return float(((targets > 0) & ~long).sum() + (1 + (targets[long] - 1) / length).sum())


def spans(sequences: Histories, begins: Integers, ends: Integers) -> Histories:
    """Rows cut out of the flat items, each from a begin to an end."""
    lengths = ends - begins
    shift = np.repeat(begins - (np.cumsum(lengths) - lengths), lengths)
    return Histories.from_lengths(sequences.items[np.arange(int(lengths.sum())) + shift], lengths)


def window_batch(rows: Histories) -> SequenceBatch:
    """Windows side by side: every place of a row is trained to give the next token."""
    packing = Packing.of(rows.lengths - 1)
    laid = rows.select(packing.order)
    inputs, targets = laid.without_last().items, laid.items[laid.positions > 0]
    return SequenceBatch(torch.from_numpy(inputs), packing, None, torch.from_numpy(targets))


def window_batches(rows: Histories, num_batches: int, rng: np.random.Generator) -> Iterator[SequenceBatch]:
    """Windows in a drawn order, in batches of equal size but for one row."""
    for chosen in np.array_split(rng.permutation(len(rows)), num_batches):
        yield window_batch(rows.select(chosen))


@dataclass(frozen=True)
class Prefixes:
    """Every item of every sequence as the target of one row: what came before it.

    Attributes:
        sequences: what is cut; no start stands before the first item.
        targets: where each row's target lies in the flat items.
    """

    sequences: Histories
    targets: Integers

    @classmethod
    def of(cls, sequences: Histories, *, first_items: bool) -> Prefixes:
        """All prefixes, those before the first item of a sequence only where ``first_items``."""
        return cls(sequences, np.flatnonzero(sequences.positions >= (0 if first_items else 1)))

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, chosen: Integers, length: int, start: int, *, always: bool) -> SequenceBatch:
        """Some prefixes, as :func:`encoder_rows` shows them; the last place of each is trained."""
        ends = self.targets[chosen]
        begins = np.maximum(ends - self.sequences.positions[ends], ends - length)
        rows = encoder_rows(spans(self.sequences, begins, ends), length, start, always=always)
        tokens, packing = pack(rows)
        targets = torch.from_numpy(self.sequences.items[ends])
        return SequenceBatch(tokens, packing, packing.last, targets)
