"""Cross-entropy over the whole catalogue without the table of scores ``[P, I]``.

Letters: P positions, I items, d width.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

POSITIONS = 256
"""Positions whose scores are held at once; what a chunk holds is POSITIONS x I numbers, or less:"""
CELLS = 8_000_000
"""scores held at once at most, 32 MB in float32."""
COLUMNS = 2048
"""Items of one matrix product: POSITIONS x COLUMNS scores stay near the processor."""


def full_softmax(states: Tensor, table: Tensor, targets: Tensor, bias: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of the targets among all items, a scalar.

    The gradient is worked out chunk by chunk together with the value, while a chunk's scores are at hand, so
    that nothing of size ``[P, I]`` is kept and nothing is computed twice. There is no gradient of the
    gradient.

    Args:
        states: ``[P, d]``, at least one.
        table: one vector for each item, ``[I, d]``.
        targets: item numbers, ``[P]``.
        bias: one number for each item, ``[I]``.

    Raises:
        ValueError: for no position at all, or a target outside the table.
    """
    if not len(targets):
        raise ValueError("there is no position to train on: the batch has no target")
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= len(table):
        raise ValueError(f"target {low if low < 0 else high} is not an item from 0 to {len(table) - 1}")
    return _FullSoftmax.apply(states, table, targets, bias)


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, table: Tensor, targets: Tensor, bias: Tensor | None) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        work = _Work(states, table, targets, bias, wanted)
        total = sum(
            (work.chunk(rows) for rows in _slices(len(states), _positions(len(table)))), states.new_zeros(())
        )
        ctx.save_for_backward(*(work.gradients if wanted else ()))
        ctx.has_bias = bias is not None
        return total / len(states)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_states, of_table, *rest = (saved * gradients[0] for saved in ctx.saved_tensors)
        return of_states, of_table, None, rest[0] if ctx.has_bias else None


class _Work:
    """Buffers of one call, and the gradients of the mean that its chunks add up."""

    def __init__(
        self, states: Tensor, table: Tensor, targets: Tensor, bias: Tensor | None, wanted: bool
    ) -> None:
        self.states, self.table, self.targets, self.bias = states.detach(), table.detach(), targets, bias
        self.parts = list(_slices(len(table), COLUMNS))
        rows = min(len(states), _positions(len(table)))
        self.buffers = [states.new_empty(rows, part.stop - part.start) for part in self.parts]
        self.wanted = wanted
        if wanted:
            self.of_states = torch.empty_like(self.states)
            self.of_table = torch.zeros_like(self.table)
            self.of_bias = None if bias is None else torch.zeros_like(bias)

    @property
    def gradients(self) -> list[Tensor]:
        found = [self.of_states, self.of_table]
        return found if self.of_bias is None else [*found, self.of_bias]

    def chunk(self, rows: slice) -> Tensor:
        """Summed cross-entropy of some positions; adds their share of the gradients."""
        states, targets = self.states[rows], self.targets[rows]
        scores = [buffer[: len(states)] for buffer in self.buffers]  # parts of [rows, I]
        for part, block in zip(self.parts, scores, strict=True):
            torch.mm(states, self.table[part].T, out=block)
            if self.bias is not None:
                block += self.bias[part]
        highest = torch.stack([block.amax(1) for block in scores]).amax(0).unsqueeze(1)  # [rows, 1]
        target_vectors = self.table[targets]
        of_target = (states * target_vectors).sum(1)
        if self.bias is not None:
            of_target = of_target + self.bias[targets]
        for block in scores:
            block.sub_(highest).exp_()
        total = torch.stack([block.sum(1) for block in scores]).sum(0).unsqueeze(1)  # [rows, 1]
        if self.wanted:
            self._add_gradients(rows, scores, total, target_vectors)
        return (highest + total.log()).sum() - of_target.sum()

    def _add_gradients(
        self, rows: slice, scores: list[Tensor], total: Tensor, target_vectors: Tensor
    ) -> None:
        """d loss / d scores is softmax minus one-hot, over the number of positions; ``scores`` hold the
        softmax times ``total``."""
        states, targets, share = self.states[rows], self.targets[rows], 1 / len(self.states)
        weights = share / total  # [rows, 1]
        weighted = states * weights
        pulled = torch.zeros_like(states)
        for part, block in zip(self.parts, scores, strict=True):
            pulled.addmm_(block, self.table[part])
            self.of_table[part].addmm_(block.T, weighted)
            if self.of_bias is not None:
                self.of_bias[part].addmv_(block.T, weights.squeeze(1))
        torch.sub(pulled * weights, target_vectors, alpha=share, out=self.of_states[rows])
        self.of_table.index_add_(0, targets, states, alpha=-share)
        if self.of_bias is not None:
            self.of_bias.index_add_(0, targets, torch.full_like(self.of_bias[targets], -share))


def _positions(num_items: int) -> int:
    return max(1, min(POSITIONS, CELLS // num_items))


def _slices(total: int, longest: int) -> list[slice]:
    """``range(total)`` cut into parts of nearly equal size, none above ``longest``."""
    count = -(-total // longest)
    edges = [total * part // count for part in range(count + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]
