"""Training rows of DreamRec: every interaction is a target once, what came before it the history.

The first interaction of a sequence is a target too, with an empty history. Rows are cut out of the flat
interactions batch by batch, so that nothing is copied once for every prefix.

Letters: B rows, L longest history of the batch, N interactions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from graphrec.histories import Histories, Integers

Order = Literal["pass", "draws"]


class PrefixBatch(NamedTuple):
    """B histories and what came next."""

    rows: Tensor
    """Item numbers padded on the right, ``[B, L]``; no column but the first is padding alone."""
    targets: Tensor
    """``[B]``."""

    def to(self, device: torch.device) -> PrefixBatch:
        """The same on a device."""
        return PrefixBatch(self.rows.to(device), self.targets.to(device))


def prefix_batch(
    sequences: Histories, starts: Integers, targets: Integers, length: int, pad: int
) -> PrefixBatch:
    """Rows for interactions of flat places ``targets`` ``[B]``.

    Args:
        starts: flat place where the sequence of each interaction begins, ``[B]``.
        length: most items of a history.
        pad: number that fills the rows.
    """
    begins = np.maximum(starts, targets - length)
    longest = max(1, int((targets - begins).max(initial=0)))
    places = begins[:, None] + np.arange(longest)  # [B, L]
    real = places < targets[:, None]
    rows = np.where(real, sequences.items[np.where(real, places, 0)], pad)
    return PrefixBatch(torch.from_numpy(rows), torch.from_numpy(sequences.items[targets]))


def padded_rows(histories: Histories, length: int, pad: int) -> Tensor:
    """The latest items of each history as :attr:`PrefixBatch.rows`, ``[B, L]``."""
    latest = histories.last(length)
    longest = max(1, int(latest.lengths.max(initial=0)))
    return torch.from_numpy(latest.padded(longest, pad))


def prefix_batches(
    sequences: Histories, batch_size: int, length: int, pad: int, *, order: Order, rng: np.random.Generator
) -> Iterator[PrefixBatch]:
    """The batches of an epoch.

    Args:
        order: "pass" takes every interaction once, in a drawn order; "draws" makes N // batch_size batches,
            drawn independently, without repetition within each, as DreamRec's code does.
    """
    count = len(sequences.items)
    starts = np.repeat(sequences.starts, sequences.lengths)
    shuffled = rng.permutation(count) if order == "pass" else None
    for number in range(num_batches(count, batch_size, order)):
        if shuffled is None:
            targets = rng.choice(count, size=batch_size, replace=False, shuffle=False)
        else:
            targets = shuffled[number * batch_size : (number + 1) * batch_size]
        yield prefix_batch(sequences, starts[targets], targets, length, pad)


def num_batches(count: int, batch_size: int, order: Order) -> int:
    """Batches of an epoch over ``count`` interactions."""
    return -(-count // batch_size) if order == "pass" else count // batch_size
