"""Recommenders that look at no other item: popularity, the last item, the history again.

They need no training and are the least that another model has to beat; on data with repeated or short-lived
items they are hard to beat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphrec.counting import CountingRecommender, decayed_items
from graphrec.histories import Histories
from graphrec.recommender import Floats


@dataclass(frozen=True)
class PopularityConfig:
    """What is counted.

    Attributes:
        last_items: count the last so many items of each sequence only; None: all.
        latest_share: count the latest share of the sequences only, in the order of the file; None: all.
    """

    last_items: int | None = None
    latest_share: float | None = None

    def __post_init__(self) -> None:
        if self.last_items is not None and self.last_items < 1:
            raise ValueError(f"last_items must be at least 1, not {self.last_items}; leave it out for all")
        if self.latest_share is not None and not 0 < self.latest_share <= 1:
            raise ValueError(f"latest_share must lie above 0 and up to 1, not {self.latest_share}")


class _Popular(CountingRecommender):
    """Counts of items, ``[I]``."""

    counts: NDArray[np.int64]

    def count(self, train: Histories) -> None:
        self.counts = self.popularity(train)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"counts": self.counts}

    def set_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.counts = arrays["counts"]

    def below_one(self) -> NDArray[np.float32]:
        """Counts scaled to below one, ``[I]``."""
        return (self.counts / (self.counts.max() + 1)).astype(np.float32)


class Popularity(_Popular):
    """Items by how often they occur, the same list for everyone."""

    name = "popularity"
    config_class = PopularityConfig
    config: PopularityConfig

    def count(self, train: Histories) -> None:
        if self.config.latest_share is not None:
            train = train[len(train) - max(1, round(self.config.latest_share * len(train))) :]
        if self.config.last_items is not None:
            train = train.last(self.config.last_items)
        super().count(train)

    def scores(self, histories: Histories) -> Floats:
        return np.tile(self.counts.astype(np.float32), (len(histories), 1))


@dataclass(frozen=True)
class NoConfig:
    """A model without settings."""


class LastItem(_Popular):
    """The last item again, then all others by popularity; to be read without the filter of seen items."""

    name = "last_item"
    config_class = NoConfig

    def scores(self, histories: Histories) -> Floats:
        return self.below_one() + decayed_items(histories, len(self.catalogue), 0.0).toarray()


class RepeatHistory(_Popular):
    """The items of the history, latest first, then all others by popularity."""

    name = "repeat_history"
    config_class = NoConfig

    def scores(self, histories: Histories) -> Floats:
        scores = np.tile(self.below_one(), (len(histories), 1))
        rows, items = histories.rows, histories.items
        latest = histories.latest_of_each()
        places = histories.places_from_end[latest]
        scores[rows[latest], items[latest]] = 1 + 1 / (1 + places)
        return scores
