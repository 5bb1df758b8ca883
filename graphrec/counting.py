"""What recommenders that only count share: how they are fitted, and how a history is read.

Letters: B rows, I items, S sequences, H interactions of all rows.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphrec.histories import Histories, Integers
from graphrec.recommender import FitReport, Floats, Recommender
from graphrec.repeats import check_no_repeats, seen_behind

if TYPE_CHECKING:
    from graphrec.data import RecommendationData
    from graphrec.trainer import TrainerConfig

DENSE_FROM = 0.1
"""Share of filled cells from which a matrix is multiplied as a dense one."""
POPULARITY_WEIGHT = 1e-7
"""How little popularity counts beside co-occurrence: it orders ties and answers empty histories."""
PopularityScale = Literal["count", "share"]
"""What is weighted so: the number of occurrences, or its share of the most popular item's. In float32 the
share is lost beside most scores, so that it answers empty histories and leaves ties tied."""

Weights: TypeAlias = sparse.csr_array | NDArray[np.float32]


class CountingRecommender(Recommender):
    """A recommender that is fitted in one pass over counts, the same for every seed."""

    def fit(
        self,
        data: RecommendationData,
        *,
        refit_on_trainval: bool = False,
        trainer: TrainerConfig | None = None,
        seed: int = 0,
    ) -> FitReport:
        if trainer is not None:
            raise ValueError(f"{self.name} is counted, not trained: leave the trainer out")
        fitted = data.fitted(refit_on_trainval=refit_on_trainval).histories
        start = time.perf_counter()
        self.catalogue = data.catalogue
        self.count(fitted)
        return FitReport(time.perf_counter() - start)

    @abstractmethod
    def count(self, train: Histories) -> None:
        """Fit on sequences; ``catalogue`` is there already."""

    def prior_of(self, train: Histories, scale: PopularityScale) -> NDArray[np.float32]:
        """Popularity as it is added to other scores, ``[I]``."""
        counts = self.popularity(train)
        return (POPULARITY_WEIGHT * (counts / counts.max() if scale == "share" else counts)).astype(
            np.float32
        )

    def popularity(self, train: Histories) -> Integers:
        """How often each item occurs, ``[I]``."""
        return np.bincount(train.items, minlength=len(self.catalogue))


class ItemToItem(CountingRecommender):
    """A recommender that adds up what each item of the history says about every other.

    ``score[b, j] = Σ_k decay^k W[item k places before the end, j]``; an item that repeats counts once, where
    it is latest. Popularity, times a ten-millionth, is added.

    Attributes:
        weights: ``W``, ``[I, I]``.
        prior: popularity of each item, scaled, ``[I]``.
    """

    weights: Weights
    prior: NDArray[np.float32]

    @abstractmethod
    def item_weights(self, train: Histories) -> Weights:
        """``W`` from the fitted sequences."""

    def count(self, train: Histories) -> None:
        if self.config.seen_last:
            check_no_repeats(train, self.catalogue)
        self.prior = self.prior_of(train, self.config.popularity)
        self.weights = compact(self.item_weights(train))

    def scores(self, histories: Histories) -> Floats:
        decayed = decayed_items(histories, len(self.catalogue), self.config.decay)
        product = decayed @ self.weights
        dense = product.toarray() if sparse.issparse(product) else product
        dense += self.prior
        return seen_behind(dense, histories) if self.config.seen_last else dense

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"prior": self.prior, **stored("weights", self.weights)}

    def set_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.prior = arrays["prior"]
        self.weights = restored("weights", arrays, len(self.catalogue))


def occurrences(histories: Histories, num_items: int) -> sparse.csr_array:
    """Which row holds which item, ones however often it does, float32 ``[B, I]``."""
    found = sparse.csr_array(
        (np.ones(len(histories.items), dtype=np.float32), (histories.rows, histories.items)),
        shape=(len(histories), num_items),
    )
    found.sum_duplicates()
    found.data[:] = 1
    return found


def decayed_items(histories: Histories, num_items: int, decay: float) -> sparse.csr_array:
    """``decay^k`` for the item k places before the end of each row, its latest one, float32 ``[B, I]``."""
    latest = histories.latest_of_each()
    weights = np.power(decay, histories.places_from_end[latest], dtype=np.float32)
    place = histories.rows[latest], histories.items[latest]
    return sparse.csr_array((weights, place), shape=(len(histories), num_items))


def compact(weights: Weights) -> Weights:
    """Float32, sparse where most cells are empty."""
    if isinstance(weights, np.ndarray):
        return weights.astype(np.float32, copy=False)
    weights = weights.astype(np.float32)
    filled = weights.nnz / max(1, weights.shape[0] * weights.shape[1])
    return weights.toarray() if filled > DENSE_FROM else weights


def stored(name: str, weights: Weights) -> dict[str, NDArray[Any]]:
    """A matrix as plain arrays."""
    if isinstance(weights, np.ndarray):
        return {name: weights}
    return {
        f"{name}.values": weights.data,
        f"{name}.columns": weights.indices,
        f"{name}.starts": weights.indptr,
    }


def restored(name: str, arrays: Mapping[str, NDArray[Any]], columns: int) -> Weights:
    """The matrix that :func:`stored` took apart."""
    if name in arrays:
        return arrays[name]
    values, places, starts = (arrays[f"{name}.{part}"] for part in ("values", "columns", "starts"))
    return sparse.csr_array((values, places, starts), shape=(len(starts) - 1, columns))
