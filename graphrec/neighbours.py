"""Item-to-item recommenders without training: cosine neighbours, ordered co-occurrence, EASE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack

from graphrec.counting import ItemToItem, PopularityScale, Weights, occurrences
from graphrec.histories import Histories

BLOCK = 1024
"""Rows that are mirrored at once."""


@dataclass(frozen=True)
class ItemToItemConfig:
    """How a history is read.

    Attributes:
        decay: weight of an item of the history against that of the next later one.
        popularity: see :data:`graphrec.counting.PopularityScale`.
        seen_last: rank items of the history behind all others, where no fitted sequence repeats an item.
    """

    decay: float = 0.7
    popularity: PopularityScale = "count"
    seen_last: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must lie between 0 and 1, not {self.decay}")
        if self.popularity not in ("count", "share"):
            raise ValueError(f"popularity={self.popularity!r} is not known; choose 'count' or 'share'")


@dataclass(frozen=True)
class ItemKNNConfig(ItemToItemConfig):
    """How similar items are found.

    Attributes:
        shrink: added to the denominator, so that similarities of rare items count less.
        neighbours: most similar items that are kept of each; None: all.
    """

    shrink: float = 0.0
    neighbours: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shrink < 0:
            raise ValueError(f"shrink must not be negative, got {self.shrink}")
        if self.neighbours is not None and self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, not {self.neighbours}; leave it out for all")


class ItemKNN(ItemToItem):
    """Cosine between items as sets of sequences (Sarwar et al. 2001).

    ``W[i, j] = |sequences with i and j| / (sqrt(n_i n_j) + shrink)``, nothing on the diagonal.
    """

    name = "item_knn"
    config_class = ItemKNNConfig
    config: ItemKNNConfig
    grid = {"decay": (1.0, 0.9, 0.7, 0.4, 0.0)}
    scoring_settings = ("decay",)

    def item_weights(self, train: Histories) -> Weights:
        held = occurrences(train, len(self.catalogue))
        together = (held.T @ held).tocoo()
        counts = np.sqrt(held.sum(axis=0))  # [I]
        rows, columns = together.coords
        together.data /= counts[rows] * counts[columns] + self.config.shrink
        together.data[rows == columns] = 0
        similar = together.tocsr()
        similar.eliminate_zeros()
        return similar if self.config.neighbours is None else strongest(similar, self.config.neighbours)


def strongest(matrix: sparse.csr_array, count: int) -> sparse.csr_array:
    """The ``count`` largest entries of each row; equal ones at the border are all kept."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort([-matrix.data, rows])
    place = np.arange(len(order)) - matrix.indptr[rows[order]]
    border = np.full(matrix.shape[0], -np.inf)
    last = place == count - 1
    border[rows[order][last]] = matrix.data[order][last]
    kept = matrix.data >= border[rows]
    return sparse.csr_array((matrix.data[kept], (rows[kept], matrix.indices[kept])), shape=matrix.shape)


@dataclass(frozen=True)
class CooccurrenceConfig(ItemToItemConfig):
    """How followers are counted.

    Attributes:
        gap: largest distance at which one item counts as following another.
        power: divide by popularity of the follower to this power.
    """

    gap: int = 10
    power: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gap < 1:
            raise ValueError(f"gap must be at least 1, not {self.gap}")


class Cooccurrence(ItemToItem):
    """How often one item follows another, nearer followers counting more.

    ``W[i, j] = n_i^(-1/2) n_j^(-power) Σ_g (times j comes g places after i) / g``, nothing on the diagonal.
    """

    name = "cooccurrence"
    config_class = CooccurrenceConfig
    config: CooccurrenceConfig
    grid = {"power": (0.0, 0.5), "decay": (1.0, 0.9, 0.7, 0.4, 0.0)}
    scoring_settings = ("decay",)

    def item_weights(self, train: Histories) -> Weights:
        counts = np.maximum(1, self.popularity(train)).astype(np.float32)
        followed = followers(train, len(self.catalogue), self.config.gap)
        before, after = followed.coords
        followed.data *= counts[before] ** -0.5 * counts[after] ** -self.config.power
        followed.data[before == after] = 0
        weights = followed.tocsr()
        weights.eliminate_zeros()
        return weights


def followers(train: Histories, num_items: int, gap: int) -> sparse.coo_array:
    """``Σ_g (times j comes g places after i) / g`` for g up to ``gap``, float32 ``[I, I]``."""
    items, rows = train.items, train.rows
    found = sparse.csr_array((num_items, num_items), dtype=np.float32)
    for g in range(1, gap + 1):
        same = rows[g:] == rows[:-g]
        pairs = items[:-g][same], items[g:][same]
        weights = np.full(len(pairs[0]), 1 / g, dtype=np.float32)
        found = found + sparse.csr_array((weights, pairs), shape=found.shape)
    return found.tocoo()


@dataclass(frozen=True)
class EASEConfig(ItemToItemConfig):
    """How the regression is regularised.

    Attributes:
        l2: weight of the squared entries, lambda in the paper.
    """

    l2: float = 200.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.l2 <= 0:
            raise ValueError(f"l2 must be above 0, not {self.l2}")


class EASE(ItemToItem):
    """Linear regression of each item on all others, in closed form (Steck 2019, arXiv 1905.03375).

    ``P = (X'X + λ 1)^-1`` and ``W[i, j] = -P[i, j] / P[j, j]``, nothing on the diagonal. Time grows with the
    cube, memory with the square of the catalogue.
    """

    name = "ease"
    config_class = EASEConfig
    config: EASEConfig
    grid = {"l2": (50.0, 200.0, 1000.0), "decay": (1.0, 0.9, 0.7)}
    scoring_settings = ("decay",)

    def item_weights(self, train: Histories) -> Weights:
        held = occurrences(train, len(self.catalogue))
        gram = np.asfortranarray((held.T @ held).toarray())
        gram[np.diag_indices_from(gram)] += self.config.l2
        weights = inverse(gram)
        weights /= -np.diag(weights)
        np.fill_diagonal(weights, 0)
        return weights


def inverse(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inverse of a positive definite matrix through its Cholesky factor; ``matrix`` is overwritten."""
    factor, failed = lapack.spotrf(matrix, lower=True, overwrite_a=True)
    if failed:
        raise ValueError("the item matrix is not positive definite in float32: give a larger l2")
    found, failed = lapack.spotri(factor, lower=True, overwrite_c=True)
    if failed:
        raise ValueError("the item matrix cannot be inverted in float32: give a larger l2")
    for first in range(0, len(found), BLOCK):  # what lies below the diagonal is also what lies above it
        part = slice(first, first + BLOCK)
        found[:first, part] = found[part, :first].T
        found[part, part] = np.tril(found[part, part]) + np.tril(found[part, part], -1).T
    return found.T  # the same numbers, row after row in memory
