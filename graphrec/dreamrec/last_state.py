"""The history encoder where DreamRec reads it: the state after the last item, from real places only.

DreamRec encodes a history by one SASRec block and takes one of its states. That needs a single query for each
row, and with a single query neither keys nor values need be made: ``q · (W_k s + b_k)`` is ``(W_k^T q) · s``
but for a part that is the same for all places and so changes no weight, and ``Σ a_j (W_v s_j + b_v)`` is
``W_v Σ a_j s_j + b_v Σ a_j``. A row costs a few ``d x d`` products however long it is, and the result is that
of the whole block.

Letters: B rows, L longest history of the batch, P real places of all rows, H heads, d width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from graphrec.sequential.reference.sasrec import BARRED, SASRecEncoder


@dataclass(frozen=True)
class Places:
    """Where the items of B histories stand in rows padded on the right.

    Attributes:
        real: which cells of the rows hold an item, ``[B, L]``; L may be less than the encoder's length.
    """

    real: Tensor

    @cached_property
    def cells(self) -> Tensor:
        """Number of each real cell, row after row, ``[P]``."""
        return self.real.flatten().nonzero().squeeze(1)

    @cached_property
    def columns(self) -> Tensor:
        """Place of each item in its row, from 0, ``[P]``."""
        return self.cells % self.real.shape[1]

    @cached_property
    def last(self) -> Tensor:
        """Which of the P places is the last of each row, ``[B]``; any for a row without history."""
        return (self.real.sum(1).cumsum(0) - 1).clamp(min=0)

    def rectangle(self, flat: Tensor) -> Tensor:
        """Vectors of the places ``[P, d]`` as rows ``[B, L, d]``, zero where there is no item."""
        rows, length = self.real.shape
        block = flat.new_zeros(rows * length, flat.shape[1]).index_copy(0, self.cells, flat)
        return block.view(rows, length, -1)


def last_states(encoder: SASRecEncoder, vectors: Tensor, places: Places) -> Tensor:
    """What ``encoder(rows, lengths)`` gives with masking by padding, ``[B, d]``.

    A row without history gets the bias of the last normalisation.

    Args:
        encoder: in training mode, drops what it drops itself.
        vectors: of the items, ``[P, d]``.
        places: where they stand.
    """
    rows = len(places.real)
    if not len(vectors):
        return encoder.ln_3.bias.expand(rows, -1)
    positions = functional.embedding(places.columns, encoder.positional_embeddings.weight)
    states = encoder.drop(vectors + positions)  # [P, d]
    queries = encoder.ln_1(states.index_select(0, places.last))  # [B, d]
    attended = _attend(encoder, queries, places.rectangle(states), places.real)
    return encoder.ln_3(_feed_forward(encoder, encoder.ln_2(attended)) * places.real[:, :1])


def _attend(encoder: SASRecEncoder, query: Tensor, states: Tensor, real: Tensor) -> Tensor:
    """Attention of one query ``[B, d]`` to all real places of ``[B, L, d]``, and the residual: ``[B, d]``."""
    attention, width = encoder.mh_attn, query.shape[1]
    heads = _head_features(attention.num_heads, width, query)  # [H, d]
    folded = (attention.linear_q(query).unsqueeze(1) * heads) @ attention.linear_k.weight  # [B, H, d]
    scores = folded @ states.transpose(1, 2) / width**0.5  # [B, H, L]
    weights = attention.drop(scores.masked_fill(~real.unsqueeze(1), BARRED).softmax(-1))
    values = (weights @ states) @ attention.linear_v.weight.T  # [B, H, d]
    values = values + weights.sum(-1, keepdim=True) * attention.linear_v.bias
    return (values * heads).sum(1) + query


def _head_features(num_heads: int, width: int, like: Tensor) -> Tensor:
    """Which features belong to each head, as 0 and 1, ``[H, d]``."""
    each = torch.eye(num_heads, dtype=like.dtype, device=like.device)
    return each.repeat_interleave(width // num_heads, dim=1)


def _feed_forward(encoder: SASRecEncoder, inputs: Tensor) -> Tensor:
    part = encoder.feed_forward
    inner = functional.linear(inputs, part.w_1.weight.squeeze(-1), part.w_1.bias).relu()
    outer = functional.linear(inner, part.w_2.weight.squeeze(-1), part.w_2.bias)
    return part.layer_norm(part.drop(outer) + inputs)
