"""Item vectors from what occurs near what: a start for tables that are trained further.

Positive pointwise mutual information, factorised (Levy & Goldberg, NeurIPS 2014). Only the fitted part is
counted.

Letters: I items, d width.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from graphrec.histories import Histories
from graphrec.neighbours import followers

REACH = 10
"""Places between two items that still occur near each other; n places apart count 1 / n."""
SMOOTHING = 0.75
"""Power on the counts of the context: rare contexts are held down."""


def positive_information(counts: sparse.csr_array) -> sparse.csr_array:
    """Log of how much more often a pair occurs than its items would by chance; zero where less often."""
    pairs = counts.tocoo()
    of_item = np.asarray(pairs.sum(axis=1)).ravel()
    of_context = np.asarray(pairs.sum(axis=0)).ravel() ** SMOOTHING
    of_context = of_context / of_context.sum()
    information = np.log(pairs.data / (of_item[pairs.row] * of_context[pairs.col]))
    kept = information > 0
    return sparse.csr_array((information[kept], (pairs.row[kept], pairs.col[kept])), shape=pairs.shape)


def cooccurrence_vectors(histories: Histories, num_items: int, width: int, seed: int) -> Tensor:
    """Vectors whose products approach the information of pairs, both orders alike, float32 ``[I, d]``.

    Items that never occur near another get zero.

    Raises:
        ValueError: the catalogue has no more items than the vectors have numbers.
    """
    if width >= num_items:
        raise ValueError(f"{num_items} items cannot be factorised into {width} numbers each; lower the width")
    follows = followers(histories, num_items, REACH).tocsr()
    information = positive_information(follows + follows.T)
    left, values, _ = randomized_svd(information, width, random_state=seed)
    return torch.from_numpy(left * np.sqrt(values)).float()


def saved_vectors(folder: str | Path, num_items: int, width: int) -> Tensor:
    """Item vectors of a saved recommender, ``[I, d]``.

    Raises:
        ValueError: they are of another catalogue's size or of another width.
    """
    from graphrec.recommender import Recommender

    vectors = Recommender.from_pretrained(folder).item_vectors()
    if vectors.shape != (num_items, width):
        raise ValueError(
            f"the vectors of {folder} are {vectors.shape[0]} x {vectors.shape[1]}, the table is "
            f"{num_items} x {width}; set width to {vectors.shape[1]} and use the same data"
        )
    return torch.from_numpy(np.array(vectors, dtype=np.float32))


def scaled(vectors: Tensor, std: float) -> Tensor:
    """Vectors with a standard deviation over all their numbers; all zero ones stay so."""
    spread = vectors.std()
    return vectors * (std / spread) if spread > 0 else vectors
