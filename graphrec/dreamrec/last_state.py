"""The history encoder where DreamRec reads it: the state after the last item, and no other.

DreamRec encodes a history by one SASRec block and takes one of its states. That needs a single query for each
row, and with a single query neither keys nor values need be made: ``q · (W_k s + b_k)`` is ``(W_k^T q) · s``
but for a part that is the same for all places and so changes no weight, and ``Σ a_j (W_v s_j + b_v)`` is
``W_v Σ a_j s_j + b_v Σ a_j``. A row costs a few ``d x d`` products however long it is, and the result is that
of the whole block.

Letters: B rows, L longest history of the batch, H heads, d width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from graphrec.sequential.reference.sasrec import BARRED, SASRecEncoder


def last_states(encoder: SASRecEncoder, vectors: Tensor, real: Tensor) -> Tensor:
    """What ``encoder(rows, lengths)`` gives with masking by padding, ``[B, d]``.

    A row without history gets the bias of the last normalisation.

    Args:
        encoder: in training mode, drops what it drops itself.
        vectors: of the items of each row, padded on the right, ``[B, L, d]``.
        real: where they are items, ``[B, L]``; columns of padding alone can be left out.
    """
    last = (real.sum(1) - 1).clamp(min=0)  # [B]
    places = encoder.drop(vectors + encoder.positional_embeddings.weight[: vectors.shape[1]])
    places = places * real.unsqueeze(-1)  # [B, L, d]
    own = places[torch.arange(len(last), device=last.device), last]  # [B, d]
    attended = _attend(encoder, encoder.ln_1(own), places, real)
    return encoder.ln_3(_feed_forward(encoder, encoder.ln_2(attended)) * real[:, :1])


def _attend(encoder: SASRecEncoder, query: Tensor, places: Tensor, real: Tensor) -> Tensor:
    """Attention of one query ``[B, d]`` to all real places ``[B, L, d]``, and the residual: ``[B, d]``."""
    attention, width = encoder.mh_attn, query.shape[1]
    heads = _head_features(attention.num_heads, width, query)  # [H, d]
    folded = (attention.linear_q(query).unsqueeze(1) * heads) @ attention.linear_k.weight  # [B, H, d]
    scores = folded @ places.transpose(1, 2) / width**0.5  # [B, H, L]
    weights = attention.drop(scores.masked_fill(~real.unsqueeze(1), BARRED).softmax(-1))
    values = (weights @ places) @ attention.linear_v.weight.T  # [B, H, d]
    values = values + weights.sum(-1, keepdim=True) * attention.linear_v.bias
    return (values * heads).sum(1) + query


def _head_features(num_heads: int, width: int, like: Tensor) -> Tensor:
    """Which features belong to each head, as 0 and 1, ``[H, d]``."""
    return torch.eye(num_heads, dtype=like.dtype, device=like.device).repeat_interleave(
        width // num_heads, dim=1
    )


def _feed_forward(encoder: SASRecEncoder, inputs: Tensor) -> Tensor:
    part = encoder.feed_forward
    inner = functional.linear(inputs, part.w_1.weight.squeeze(-1), part.w_1.bias).relu()
    outer = functional.linear(inner, part.w_2.weight.squeeze(-1), part.w_2.bias)
    return part.layer_norm(part.drop(outer) + inputs)
