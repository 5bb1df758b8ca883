"""SASRec (Kang & McAuley, ICDM 2018) in its stronger form: norms before each part, plain residuals."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from graphrec.sequential.packing import Packing

STD = 0.02
"""Standard deviation of all weights at the start."""


class Transformer(nn.Module):
    """Causal attention blocks over packed sequences: item vectors to states, ``[P, d]`` to ``[P, d]``.

    Args:
        width: d.
        length: longest sequence, L.
        num_blocks: attention and feed-forward, this many times.
        num_heads: heads, which split the width.
        inner: width of the feed-forward part; default: d.
        dropout: on the embedded tokens and on what each part adds. Attention weights are not dropped.
    """

    def __init__(
        self,
        width: int,
        length: int,
        *,
        num_blocks: int = 2,
        num_heads: int = 1,
        inner: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width={width} does not divide into num_heads={num_heads}")
        self.length = length
        self.positions = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(
            _Block(width, num_heads, inner or width, dropout) for _ in range(num_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)
        nn.init.normal_(self.positions.weight, std=STD)
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, std=STD)
                nn.init.zeros_(part.bias)

    def forward(self, vectors: Tensor, packing: Packing) -> Tensor:
        states = self._embedded(vectors, packing)
        for block in self.blocks:
            states = block(states, packing)
        return self.norm(states)

    def last(self, vectors: Tensor, packing: Packing) -> Tensor:
        """States after each sequence alone, the longest first, ``[B, d]``: the last block makes no others."""
        states = self._embedded(vectors, packing)
        for block in self.blocks[:-1]:
            states = block(states, packing)
        return self.norm(cast(_Block, self.blocks[-1]).last(states, packing))

    def _embedded(self, vectors: Tensor, packing: Packing) -> Tensor:
        if packing.lengths[0] > self.length:
            raise ValueError(
                f"a sequence of {packing.lengths[0]} tokens is longer than length={self.length}; cut it first"
            )
        return self.drop(vectors + self.positions(packing.positions.to(vectors.device)))


class _Block(nn.Module):
    def __init__(self, width: int, num_heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = CausalAttention(width, num_heads)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, states: Tensor, packing: Packing) -> Tensor:
        states = states + self.drop(self.attention(self.attention_norm(states), packing))
        return states + self.drop(self.feed_forward(self.feed_forward_norm(states)))

    def last(self, states: Tensor, packing: Packing) -> Tensor:
        """As ``forward``, for the last token of each sequence, ``[P, d]`` to ``[B, d]``."""
        ends = torch.from_numpy(packing.ends - 1).to(states.device)
        own = states[ends] + self.drop(self.attention.last(self.attention_norm(states), ends, packing))
        return own + self.drop(self.feed_forward(self.feed_forward_norm(own)))


class CausalAttention(nn.Module):
    """Each token attends to itself and to the tokens before it in its own sequence."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.inputs = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, states: Tensor, packing: Packing) -> Tensor:
        projected = self.inputs(states)  # [P, 3d]
        attended = [
            rectangle.empty(self._attend(rectangle.fill(projected))) for rectangle in packing.rectangles
        ]
        return self.output(torch.cat(attended))

    def last(self, states: Tensor, ends: Tensor, packing: Packing) -> Tensor:
        """What the tokens at ``ends`` ``[B]`` attend to, ``[P, d]`` to ``[B, d]``."""
        width = states.shape[1]
        weight, bias = self.inputs.weight, self.inputs.bias
        queries = linear(states[ends], weight[:width], bias[:width])
        others = linear(states, weight[width:], bias[width:])  # [P, 2d]
        lengths = torch.from_numpy(packing.lengths).to(states.device)
        sizes = [rectangle.shape[0] for rectangle in packing.rectangles]
        parts = zip(queries.split(sizes), lengths.split(sizes), packing.rectangles, strict=True)
        return self.output(torch.cat([self._attend_once(q, r.fill(others), n) for q, n, r in parts]))

    def _attend_once(self, queries: Tensor, others: Tensor, lengths: Tensor) -> Tensor:
        """One query a row, ``[rows, d]``, over its first ``lengths`` places of ``[rows, T, 2d]``."""
        rows, length, _ = others.shape
        key, value = others.view(rows, length, 2, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        real = torch.arange(length, device=lengths.device) < lengths.unsqueeze(1)
        query = queries.view(rows, self.num_heads, 1, -1)
        return scaled_dot_product_attention(query, key, value, real[:, None, None]).reshape(rows, -1)

    def _attend(self, projected: Tensor) -> Tensor:
        """``[rows, T, 3d]`` to ``[rows, T, d]``."""
        rows, length, _ = projected.shape
        query, key, value = projected.view(rows, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        heads = scaled_dot_product_attention(query, key, value, is_causal=True)  # [rows, heads, T, d / heads]
        return heads.transpose(1, 2).reshape(rows, length, -1)
