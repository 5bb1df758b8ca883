"""From a generated vector to scores of items. Letters: B rows, I items, d width."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn.functional import normalize

from graphrec.topk import Factors

Retrieval = Literal["inner", "cosine", "distance"]


def retrieval_factors(vectors: Tensor, table: Tensor, retrieval: Retrieval) -> Factors:
    """Vectors whose products are the scores, for generated vectors ``[B, d]`` and item vectors ``[I, d]``.

    "inner" is the product that DreamRec ranks by; it is no search for the nearest unless all rows are equally
    long. "cosine" compares directions. "distance" is ``-|x - E_i|² / 2`` but for what all items share.
    """
    if retrieval == "inner":
        return Factors(vectors, table)
    if retrieval == "cosine":
        return Factors(normalize(vectors, dim=1), normalize(table, dim=1))
    return Factors(vectors, table, table.square().sum(1) * -0.5)
