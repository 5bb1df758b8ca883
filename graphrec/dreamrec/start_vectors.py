"""Item vectors from a ridge regression between items: a table worth keeping, for DreamRec to generate.

With a table of random vectors DreamRec's squared error says nothing about which items are alike. The leading
factors of EASE (Steck, WWW 2019) do: inner products of generated and item vectors then spread what a history
tells over related items.

Letters: S sequences, I items, d width.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from graphrec.histories import Histories


def ease_weights(histories: Histories, num_items: int, ridge: float) -> np.ndarray:
    """Weight of item i in the score of item j, zero for i = j, float32 ``[I, I]``: EASE, equation 8.

    Items are counted once for each sequence; ``ridge`` is the penalty λ. Takes ``I²`` numbers, ``I³`` steps.
    """
    ones = np.ones(len(histories.items), dtype=np.float32)
    seen = sparse.csr_matrix((ones, (histories.rows, histories.items)), shape=(len(histories), num_items))
    seen.data[:] = 1
    gram = (seen.T @ seen).toarray()
    gram[np.diag_indices(num_items)] += ridge
    inverse = cho_solve(cho_factor(gram, overwrite_a=True), np.eye(num_items, dtype=np.float32))
    weights: np.ndarray = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


def ease_vectors(histories: Histories, num_items: int, width: int, ridge: float) -> Tensor:
    """What items look like to the regression as targets: its leading ``d`` right factors, ``[I, d]``.

    Each factor is scaled by the square root of its singular value. Items that share no sequence with another
    get zero, and so do the last numbers of all where the catalogue is smaller than ``d``.

    Raises:
        ValueError: no two items share a sequence.
    """
    weights = ease_weights(histories, num_items, ridge)
    if not weights.any():
        raise ValueError(
            "no two items share a sequence, so a regression between items says nothing: choose other "
            "start_vectors"
        )
    _, values, right = randomized_svd(weights, min(width, num_items), random_state=0)
    vectors = torch.zeros(num_items, width)
    vectors[:, : len(values)] = torch.from_numpy(right.T * np.sqrt(values))
    return vectors
