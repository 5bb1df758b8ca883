"""SASRec (Kang & McAuley, ICDM 2018) in its stronger form: norms before each part, plain residuals."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

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
        if packing.lengths[0] > self.length:
            raise ValueError(
                f"a sequence of {packing.lengths[0]} tokens is longer than length={self.length}; cut it first"
            )
        states = self.drop(vectors + self.positions(packing.positions.to(vectors.device)))
        for block in self.blocks:
            states = block(states, packing)
        return self.norm(states)


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

    def _attend(self, projected: Tensor) -> Tensor:
        """``[rows, T, 3d]`` to ``[rows, T, d]``."""
        rows, length, _ = projected.shape
        query, key, value = projected.view(rows, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        heads = scaled_dot_product_attention(query, key, value, is_causal=True)  # [rows, heads, T, d / heads]
        return heads.transpose(1, 2).reshape(rows, length, -1)
