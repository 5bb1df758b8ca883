"""SASRec (Kang & McAuley, ICDM 2018) with one block, as DreamRec (arXiv 2310.20453) and LLaRA compute it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Masking = Literal["padding", "zero_sum"]

BARRED = float(-(2**32) + 1)
"""Attention score of a key that must not be read. A row where no key may be read attends to all alike."""


class SASRecEncoder(nn.Module):
    """Histories to states: attention over the places of a row, then a feed-forward part.

    Keys and values are made from the vectors as they are, queries from the normalised ones, and both
    residuals add what was normalised. An all-padding row gets the bias of the last normalisation.

    Args:
        num_items: size I of the catalogue; number I pads.
        hidden: width d.
        length: places L of a row.
        num_heads: heads, which split the width into consecutive parts.
        dropout: on the embedded places, the attention and the feed-forward part.
        masking: "padding" masks by the padding number. "zero_sum" masks as the published code does, a place
            whose features sum to exactly zero; rounding makes that true of real queries too, about one in
            eleven before training, and these lose what they attend to.
        item_std: standard deviation of the item table at the start.
    """

    def __init__(
        self,
        num_items: int,
        hidden: int,
        length: int,
        *,
        num_heads: int = 1,
        dropout: float = 0.1,
        masking: Masking = "padding",
        item_std: float = 1.0,
    ) -> None:
        super().__init__()
        if masking not in ("padding", "zero_sum"):
            raise ValueError(f"masking={masking!r} is not known; choose 'padding' or 'zero_sum'")
        self.num_items, self.hidden, self.length = num_items, hidden, length
        self.masking = masking
        self.item_embeddings = nn.Embedding(num_items + 1, hidden)
        self.positional_embeddings = nn.Embedding(length, hidden)
        self.drop = nn.Dropout(dropout)
        self.ln_1, self.ln_2, self.ln_3 = (nn.LayerNorm(hidden) for _ in range(3))
        self.mh_attn = _Attention(hidden, num_heads, dropout)
        self.feed_forward = _FeedForward(hidden, dropout)
        nn.init.normal_(self.item_embeddings.weight, std=item_std)

    def forward(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """What :meth:`encode` gives."""
        return self.encode(rows, lengths)

    def encode(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """States of the last real place, ``[B, d]``.

        Args:
            rows: item numbers padded on the right, ``[B, L]``.
            lengths: places to read, ``[B]``, from 1; an empty history counts as one place.
        """
        states = self.all_states(rows)  # [B, L, d]
        return states[torch.arange(len(rows), device=rows.device), lengths - 1]

    def all_states(self, rows: Tensor) -> Tensor:
        """States of all places, ``[B, L, d]``; those of padded places mean nothing."""
        real = (rows != self.num_items).unsqueeze(-1)  # [B, L, 1]
        places = self.drop(self.item_embeddings(rows) + self.positional_embeddings.weight) * real
        queries = self.ln_1(places)
        if self.masking == "padding":
            attends, readable = real, real
        else:
            attends, readable = (part.sum(-1, keepdim=True) != 0 for part in (queries, places))
        attended = self.mh_attn(queries, places, attends=attends, readable=readable)
        return self.ln_3(self.feed_forward(self.ln_2(attended)) * real)


class _Attention(nn.Module):
    """Causal attention without output projection, scaled by the full width however many heads there are."""

    def __init__(self, hidden: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        if hidden % num_heads:
            raise ValueError(f"hidden={hidden} does not divide into num_heads={num_heads}")
        self.num_heads = num_heads
        self.linear_q, self.linear_k, self.linear_v = (nn.Linear(hidden, hidden) for _ in range(3))
        self.drop = nn.Dropout(dropout)

    def forward(self, queries: Tensor, places: Tensor, *, attends: Tensor, readable: Tensor) -> Tensor:
        """``[B, L, d]`` from queries and places ``[B, L, d]``; both masks are ``[B, L, 1]``."""
        length, hidden = queries.shape[1:]
        query, key, value = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, heads, L, d / heads]
            for part in (self.linear_q(queries), self.linear_k(places), self.linear_v(places))
        )
        scores = query @ key.transpose(-1, -2) / hidden**0.5  # [B, heads, L, L]
        later = torch.ones(length, length, dtype=torch.bool, device=scores.device).triu(1)
        barred = later | ~readable.transpose(-1, -2).unsqueeze(1)
        weights = scores.masked_fill(barred, BARRED).softmax(-1) * attends.unsqueeze(1)
        heads = self.drop(weights) @ value
        return heads.transpose(1, 2).flatten(-2) + queries


class _FeedForward(nn.Module):
    """Two pointwise layers of the same width with a residual, normalised. Weights are those of width-1
    convolutions, ``[out, in, 1]``, as published."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.w_1 = nn.Conv1d(hidden, hidden, 1)
        self.w_2 = nn.Conv1d(hidden, hidden, 1)
        self.layer_norm = nn.LayerNorm(hidden)
        self.drop = nn.Dropout(dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        inner = _pointwise(self.w_1, inputs).relu()
        return self.layer_norm(self.drop(_pointwise(self.w_2, inner)) + inputs)


def _pointwise(layer: nn.Conv1d, inputs: Tensor) -> Tensor:
    return nn.functional.linear(inputs, layer.weight.squeeze(-1), layer.bias)


class SASRec(SASRecEncoder):
    """The encoder with an output layer of its own: histories to scores ``[B, I]``."""

    def __init__(
        self,
        num_items: int,
        hidden: int = 64,
        length: int = 10,
        *,
        num_heads: int = 1,
        dropout: float = 0.1,
        masking: Masking = "padding",
        item_std: float = 1.0,
    ) -> None:
        super().__init__(
            num_items,
            hidden,
            length,
            num_heads=num_heads,
            dropout=dropout,
            masking=masking,
            item_std=item_std,
        )
        self.s_fc = nn.Linear(hidden, num_items)

    def forward(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """Scores ``[B, I]``; arguments as for :meth:`encode`."""
        return self.s_fc(self.encode(rows, lengths))
