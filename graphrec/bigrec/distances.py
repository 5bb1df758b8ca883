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


class TitleDistances:
    """Distances to the titles of one catalogue; what depends on these alone is computed once.

    Args:
        titles: embeddings, ``[I, d]``; they are kept at no less than float32.
    """

    def __init__(self, titles: Tensor) -> None:
        if titles.ndim != 2 or not len(titles):
            raise ValueError(f"titles are [I, d] with at least one row, not {list(titles.shape)}")
        self.titles = titles.to(torch.promote_types(titles.dtype, torch.float32))
        self.centre = self.titles.mean(dim=0)
        self.centred = self.titles - self.centre
        self.lengths = self.centred.square().sum(dim=1)

    def __len__(self) -> int:
        return len(self.titles)

    @torch.no_grad()
    def __call__(self, texts: Tensor) -> Tensor:
        """Euclidean distances in the titles' type, ``[B, I]``, for texts ``[B, d]``."""
        if texts.ndim != 2 or texts.shape[1] != self.titles.shape[1]:
            raise ValueError(
                f"texts are [B, {self.titles.shape[1]}], as wide as the titles, not {list(texts.shape)}"
            )
        texts = texts.to(self.titles)
        centred = texts - self.centre
        lengths = centred.square().sum(dim=1)[:, None]
        squares = torch.addmm(self.lengths, centred, self.centred.T, alpha=-2).add_(lengths)
        near = (squares < NEAR * (lengths + self.lengths)).nonzero()
        for pairs in near.split(max(1, VALUES_AT_ONCE // texts.shape[1])):
            rows, columns = pairs.unbind(1)
            squares[rows, columns] = (texts[rows] - self.titles[columns]).square().sum(dim=1)
        return squares.clamp_(min=0).sqrt_()
