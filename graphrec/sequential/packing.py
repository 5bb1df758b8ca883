"""Sequences of different lengths side by side, without padding: flat tokens and where each sequence lies.

Linear layers, normalisations and losses work on the flat tokens. Only attention needs a rectangle: it takes
sequences of nearly equal length together, each group in a rectangle of its own.

Letters: B sequences, P tokens of all sequences, d width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphrec.histories import Histories

Integers = NDArray[np.int64]

NARROWEST = 0.75
"""A group ends where a sequence has less than this share of the places of the group's longest..."""
SLACK = 2
"""... and this many places less besides, so that short sequences do not make a group each."""


@dataclass(frozen=True)
class Packing:
    """Where B sequences lie in P flat tokens: one after the other, the longest first.

    Attributes:
        lengths: tokens of each sequence, falling, at least one each, ``[B]``.
        order: row of the caller that each sequence came from, ``[B]``.
    """

    lengths: Integers
    order: Integers

    @classmethod
    def of(cls, lengths: Integers) -> Packing:
        """The packing of rows with these lengths ``[B]``, in any order.

        Raises:
            ValueError: for a row without a token.
        """
        empty = np.flatnonzero(lengths < 1)
        if empty.size:
            raise ValueError(f"row {empty[0]} has no token to encode; give each row at least one")
        order = np.argsort(-lengths, kind="stable")
        return cls(lengths[order], order)

    @property
    def num_tokens(self) -> int:
        """Tokens of all sequences, P."""
        return int(self.lengths.sum())

    @cached_property
    def ends(self) -> Integers:
        """Where each sequence ends, ``[B]``."""
        return np.cumsum(self.lengths)

    @cached_property
    def starts(self) -> Integers:
        """Where each sequence starts, ``[B]``."""
        return self.ends - self.lengths

    @cached_property
    def positions(self) -> Tensor:
        """Place of each token in its sequence, from 0, ``[P]``."""
        return torch.from_numpy(np.arange(self.num_tokens) - np.repeat(self.starts, self.lengths))

    @cached_property
    def place(self) -> Tensor:
        """Which sequence each row of the caller became, ``[B]``."""
        place = np.empty(len(self.order), dtype=np.int64)
        place[self.order] = np.arange(len(self.order))
        return torch.from_numpy(place)

    @cached_property
    def last(self) -> Tensor:
        """Flat place of the last token of each row, in the caller's order, ``[B]``."""
        return torch.from_numpy(self.ends[self.place.numpy()] - 1)

    @cached_property
    def rectangles(self) -> tuple[Rectangle, ...]:
        """Groups of sequences of nearly equal length that together hold every token once."""
        found = []
        first = 0
        while first < len(self.lengths):
            longest = int(self.lengths[first])
            shortest = NARROWEST * longest - SLACK
            last = int(np.searchsorted(-self.lengths, -shortest, side="right"))
            found.append(Rectangle.around(self.starts[first:last], self.lengths[first:last]))
            first = last
        return tuple(found)


@dataclass(frozen=True)
class Rectangle:
    """Consecutive sequences as rows of one length T; what a row lacks is filled with its last token.

    Causal attention cannot see the filling, since it lies behind everything real.

    Attributes:
        tokens: the flat places that the sequences take.
        shape: number of sequences and T.
        filled: flat place of each cell, counted from ``tokens.start``, ``[rows * T]``; None when all
            sequences have length T and the cells are the tokens as they lie.
        cells: cell of each token, ``[tokens]``; None likewise.
    """

    tokens: slice
    shape: tuple[int, int]
    filled: Tensor | None
    cells: Tensor | None

    @classmethod
    def around(cls, starts: Integers, lengths: Integers) -> Rectangle:
        """The rectangle of consecutive sequences that start and last as given, the longest first."""
        longest = int(lengths[0])
        tokens = slice(int(starts[0]), int(starts[-1] + lengths[-1]))
        shape = (len(lengths), longest)
        if lengths[-1] == longest:
            return cls(tokens, shape, None, None)
        columns = np.arange(longest)
        filled = (starts - starts[0])[:, None] + np.minimum(columns, lengths[:, None] - 1)  # [rows, T]
        cells = np.flatnonzero(columns < lengths[:, None])
        return cls(tokens, shape, torch.from_numpy(filled.reshape(-1)), torch.from_numpy(cells))

    def fill(self, flat: Tensor) -> Tensor:
        """Flat tokens ``[P, d]`` to the rectangle ``[rows, T, d]``."""
        part = flat[self.tokens]
        if self.filled is not None and self.cells is not None:
            part = _Fill.apply(part, self.filled.to(flat.device), self.cells.to(flat.device))
        return part.view(*self.shape, flat.shape[-1])

    def empty(self, block: Tensor) -> Tensor:
        """The rectangle ``[rows, T, d]`` to its flat tokens ``[tokens, d]``."""
        flat = block.reshape(-1, block.shape[-1])
        return flat if self.cells is None else _Empty.apply(flat, self.cells.to(flat.device))


class _Fill(torch.autograd.Function):
    """Tokens to cells by a gather; back by another, since no gradient reaches the filling."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, filled: Tensor, cells: Tensor) -> Tensor:
        ctx.save_for_backward(cells)
        return part.index_select(0, filled)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (cells,) = ctx.saved_tensors
        return gradients[0].index_select(0, cells), None, None


class _Empty(torch.autograd.Function):
    """Cells to tokens by a gather; back by a scatter to distinct places."""

    @staticmethod
    def forward(ctx: Any, block: Tensor, cells: Tensor) -> Tensor:
        ctx.save_for_backward(cells)
        ctx.num_cells = len(block)
        return block.index_select(0, cells)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (cells,) = ctx.saved_tensors
        gradient = gradients[0]
        block = gradient.new_zeros(ctx.num_cells, gradient.shape[-1])
        return block.index_copy_(0, cells, gradient), None


def pack(histories: Histories) -> tuple[Tensor, Packing]:
    """Item numbers of all rows as flat tokens ``[P]``, and how they lie."""
    packing = Packing.of(histories.lengths)
    return torch.from_numpy(histories.select(packing.order).items), packing


def permuted(flat: Tensor, order: Tensor, *, back: bool = False) -> Tensor:
    """Rows of ``flat`` ``[P, d]`` in another order, or, with ``back``, put back from it."""
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    return _Fill.apply(flat, inverse, order) if back else _Fill.apply(flat, order, inverse)
