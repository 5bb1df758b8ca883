"""Vector multiplication session-based k nearest neighbours (VSKNN).

Ludewig & Jannach 2018, "Evaluation of session-based recommendation algorithms" (arXiv 1803.09587), with the
weights of their public code: an item k places before the end counts 1 / (k + 1), in the similarity of two
sessions as in the score of an item.

Letters: B rows, I items, S stored sessions, T triples of row, stored session and shared item.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphrec.counting import CountingRecommender, occurrences, restored, stored
from graphrec.histories import Histories, Integers
from graphrec.recommender import Floats

TRIPLES_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class VSKNNConfig:
    """Which stored sessions are asked.

    Attributes:
        neighbours: most similar sessions that vote.
        sample: latest sessions (in the order of the file) among those that share an item; the most similar
            are sought among these.
        last_items: items of a history that are looked at, the latest ones.
    """

    neighbours: int = 100
    sample: int = 1000
    last_items: int = 20

    def __post_init__(self) -> None:
        for name in ("neighbours", "sample", "last_items"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")


class VSKNN(CountingRecommender):
    """Sessions that share items with the history vote for their items.

    ``sim(h, s) = Σ_{i in h and s} 1 / (k_i + 1)``, with ``k_i`` the places of i before the end of the
    history; ``score(j) = Σ_s sim(h, s) / (min_i k_i + 1)`` over the neighbours that hold j. Popularity, times
    a ten-millionth, is added.

    Attributes:
        sessions: which stored session holds which item, ``[S, I]``.
        prior: popularity of each item, scaled, ``[I]``.
    """

    name = "vsknn"
    config_class = VSKNNConfig
    config: VSKNNConfig
    grid = {"neighbours": (50, 100, 500), "sample": (500, 1000, 5000)}
    scoring_settings = ("neighbours", "sample", "last_items")

    sessions: sparse.csr_array
    prior: NDArray[np.float32]

    def count(self, train: Histories) -> None:
        self.prior = self.prior_of(train, "count")
        self._store(occurrences(train, len(self.catalogue)))

    def _store(self, sessions: sparse.csr_array) -> None:
        self.sessions = sessions
        self._holders = sessions.tocsc()
        self._holders.sort_indices()

    def scores(self, histories: Histories) -> Floats:
        recent = histories.last(self.config.last_items)
        parts = [self._votes(recent[part]) for part in self._bounded(recent)]
        votes = sparse.vstack(parts) if parts else sparse.csr_array((0, self.sessions.shape[0]))
        scores = (votes @ self.sessions).toarray()
        scores += self.prior
        return scores

    def _bounded(self, histories: Histories) -> Iterator[slice]:
        """Slices of rows that share few enough triples with the stored sessions."""
        holders = np.diff(self._holders.indptr)
        triples = np.bincount(histories.rows, holders[histories.items], minlength=len(histories))
        piece = (np.cumsum(triples) // TRIPLES_AT_ONCE).astype(np.int64)
        starts = np.flatnonzero(np.diff(piece, prepend=-1))
        for first, last in itertools.pairwise([*starts, len(histories)]):
            yield slice(int(first), int(last))

    def _votes(self, histories: Histories) -> sparse.csr_array:
        """What each stored session's vote counts in each row, ``[B, S]``."""
        rows, sessions, similarity, nearest = self._similar(histories)
        kept = _first_of_each(rows, -sessions, self.config.sample)
        rows, sessions, similarity, nearest = rows[kept], sessions[kept], similarity[kept], nearest[kept]
        kept = _first_of_each(rows, -similarity, self.config.neighbours)
        place = rows[kept], sessions[kept]
        return sparse.csr_array(
            (similarity[kept] * nearest[kept], place), shape=(len(histories), self.sessions.shape[0])
        )

    def _similar(self, histories: Histories) -> tuple[Integers, Integers, Floats, Floats]:
        """Pairs of row and stored session that share an item, their similarity, and the greatest weight."""
        latest = histories.latest_of_each()
        rows, items = histories.rows[latest], histories.items[latest]
        weights = (1 / (1 + histories.places_from_end[latest])).astype(np.float32)
        starts, ends = self._holders.indptr[items], self._holders.indptr[items + 1]
        counts = (ends - starts).astype(np.int64)
        begins = np.cumsum(counts) - counts
        inside = np.arange(int(counts.sum())) - np.repeat(begins, counts)
        sessions = self._holders.indices[np.repeat(starts, counts) + inside].astype(np.int64)  # [T]
        pair = np.repeat(rows, counts) * self.sessions.shape[0] + sessions
        order = np.argsort(pair, kind="stable")
        pair, shared = pair[order], np.repeat(weights, counts)[order]
        first = np.flatnonzero(np.diff(pair, prepend=-1))
        if not len(first):
            none = np.empty(0, dtype=np.float32)
            return pair, pair, none, none
        pairs_rows, pairs_sessions = np.divmod(pair[first], self.sessions.shape[0])
        return pairs_rows, pairs_sessions, np.add.reduceat(shared, first), np.maximum.reduceat(shared, first)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"prior": self.prior, **stored("sessions", self.sessions)}

    def set_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.prior = arrays["prior"]
        self._store(restored("sessions", arrays, len(self.catalogue)))


def _first_of_each(rows: Integers, keys: NDArray[Any], count: int) -> Integers:
    """The entries with the ``count`` smallest keys of each row; equal keys at the border are all kept."""
    order = np.lexsort([keys, rows])
    sorted_rows, sorted_keys = rows[order], keys[order]
    starts = np.searchsorted(sorted_rows, sorted_rows)
    border = np.minimum(starts + count, np.searchsorted(sorted_rows, sorted_rows, side="right")) - 1
    return order[sorted_keys <= sorted_keys[border]]
