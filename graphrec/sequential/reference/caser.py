"""Caser (Tang & Wang, WSDM 2018) as DROS and LLaRA (arXiv 2312.02445) use it: no user vector, one vertical
filter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

BIAS = 0.1
"""Biases of the convolutions at the start."""


class Caser(nn.Module):
    """Convolutions over the places of a row, as if it were an image of L by d.

    Args:
        num_items: size I of the catalogue; number I pads.
        hidden: width d.
        length: places L of a row.
        num_filters: horizontal filters of each height.
        heights: how many consecutive places a horizontal filter spans.
        dropout: before the output layer.
        item_std: standard deviation of the item table at the start.
    """

    def __init__(
        self,
        num_items: int,
        hidden: int = 64,
        length: int = 10,
        *,
        num_filters: int = 16,
        heights: Sequence[int] = (2, 3, 4),
        dropout: float = 0.1,
        item_std: float = 0.01,
    ) -> None:
        super().__init__()
        if not heights or max(heights) > length or min(heights) < 1:
            raise ValueError(f"heights={tuple(heights)} must lie between 1 and the length {length}")
        self.num_items, self.hidden, self.length = num_items, hidden, length
        self.item_embeddings = nn.Embedding(num_items + 1, hidden)
        self.horizontal_cnn = nn.ModuleList(nn.Conv2d(1, num_filters, (height, hidden)) for height in heights)
        self.vertical_cnn = nn.Conv2d(1, 1, (length, 1))
        self.drop = nn.Dropout(dropout)
        self.s_fc = nn.Linear(num_filters * len(heights) + hidden, num_items)
        nn.init.normal_(self.item_embeddings.weight, std=item_std)
        for convolution in (*self.horizontal_cnn, self.vertical_cnn):
            nn.init.xavier_normal_(convolution.weight)
            nn.init.constant_(convolution.bias, BIAS)

    def encode(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """Features ``[B, filters * heights + d]``; rows ``[B, L]`` padded on the right. ``lengths`` is not
        needed: padded places are zero."""
        real = (rows != self.num_items).unsqueeze(-1)
        image = (self.item_embeddings(rows) * real).unsqueeze(1)  # [B, 1, L, d]
        horizontal = [
            convolution(image).squeeze(-1).relu().amax(-1) for convolution in self.horizontal_cnn
        ]  # each [B, filters]
        vertical = self.vertical_cnn(image).flatten(1).relu()  # [B, d]
        return torch.cat([*horizontal, vertical], dim=-1)

    def forward(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """Scores ``[B, I]``."""
        return self.s_fc(self.drop(self.encode(rows, lengths)))
