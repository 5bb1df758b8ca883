"""Distances between embeddings of generated texts and of titles, exact where it matters and quick elsewhere.

The product form ``|a|^2 + |b|^2 - 2 ab`` loses its digits where two vectors nearly agree, so that an exact
title would not be at distance zero and near ties would flip. Vectors are centred on the catalogue first, and
every distance that is small beside its vectors is computed directly instead.

Letters: B texts, I titles, d width.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEAR = 0.01
"""Squared distances below this share of ``|a|^2 + |b|^2`` are computed directly: what is left has a relative
error of about 1e-5 in float32."""
VALUES_AT_ONCE = 1 << 24
"""Differences that are held while distances are computed directly: 64 MB."""


@torch.no_grad()
def distances(texts: Tensor, titles: Tensor) -> Tensor:
    """Euclidean distances, in the wider type of the two and at least float32, ``[B, I]``.

    Args:
        texts: embeddings of generated texts, ``[B, d]``.
        titles: embeddings of the catalogue, ``[I, d]``.
    """
    if texts.ndim != 2 or titles.ndim != 2 or texts.shape[1] != titles.shape[1]:
        raise ValueError(
            f"embeddings are [B, d] and [I, d] of one width, not {list(texts.shape)} and {list(titles.shape)}"
        )
    dtype = torch.promote_types(torch.promote_types(texts.dtype, titles.dtype), torch.float32)
    texts, titles = texts.to(dtype), titles.to(dtype)
    centre = titles.mean(dim=0)
    lengths = [(part - centre).square().sum(dim=1) for part in (texts, titles)]
    squares = torch.addmm(lengths[1], texts - centre, (titles - centre).T, alpha=-2).add_(lengths[0][:, None])
    scale = lengths[0][:, None] + lengths[1]
    near = (squares < NEAR * scale).nonzero()
    for pairs in near.split(max(1, VALUES_AT_ONCE // texts.shape[1])):
        rows, columns = pairs.unbind(1)
        squares[rows, columns] = (texts[rows] - titles[columns]).square().sum(dim=1)
    return squares.clamp_(min=0).sqrt_()
