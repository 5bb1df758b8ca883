"""Other views of sequences, for contrastive training (CL4SRec, arXiv 2010.14395, section 3.3).

All rows are changed at once. Letters: B rows, H items of all rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graphrec.histories import Histories
from graphrec.sequential.examples import spans

Floats = NDArray[np.float64]


def cropped(histories: Histories, share: float, rng: np.random.Generator) -> Histories:
    """A run of consecutive items of each row: this share of them, at least one of a row that has any."""
    begins, kept = _runs(histories, share, rng)
    return spans(histories, histories.starts + begins, histories.starts + begins + kept)


def masked(histories: Histories, share: float, mask: int, rng: np.random.Generator) -> Histories:
    """Each row with this share of its items, rounded down, replaced by the number ``mask``."""
    ranks = _ranks_within_rows(histories, rng.random(len(histories.items)))
    hidden = ranks < np.repeat(np.floor(share * histories.lengths), histories.lengths)
    return Histories(np.where(hidden, mask, histories.items), histories.ends)


def reordered(histories: Histories, share: float, rng: np.random.Generator) -> Histories:
    """Each row with a run of consecutive items, this share of them, shuffled."""
    begins, taken = (np.repeat(part, histories.lengths) for part in _runs(histories, share, rng))
    positions = histories.positions
    inside = (positions >= begins) & (positions < begins + taken)
    keys = np.where(inside, begins + rng.random(len(positions)) * taken, positions)
    order = np.lexsort([keys, histories.rows])
    return Histories(histories.items[order], histories.ends)


def random_view(
    histories: Histories,
    rng: np.random.Generator,
    *,
    mask: int,
    crop_share: float,
    mask_share: float,
    reorder_share: float,
) -> Histories:
    """Each row changed in one of the three ways, drawn for each."""
    ways = rng.integers(3, size=len(histories))
    views = (
        cropped(histories.select(ways == 0), crop_share, rng),
        masked(histories.select(ways == 1), mask_share, mask, rng),
        reordered(histories.select(ways == 2), reorder_share, rng),
    )
    together = Histories.from_lengths(
        np.concatenate([view.items for view in views]), np.concatenate([view.lengths for view in views])
    )
    place = np.argsort(ways, kind="stable")  # row that each of them came from
    return together.select(np.argsort(place))


def _runs(histories: Histories, share: float, rng: np.random.Generator) -> tuple[NDArray[np.int64], ...]:
    """Where a run of a share of each row begins, from its start, and how long it is, ``[B]`` each."""
    lengths = histories.lengths
    taken = np.minimum(lengths, np.maximum(1, np.floor(share * lengths).astype(np.int64)))
    return rng.integers(0, lengths - taken, endpoint=True), taken


def _ranks_within_rows(histories: Histories, values: Floats) -> NDArray[np.int64]:
    """Rank of each value among those of its row, from 0, ``[H]``."""
    order = np.lexsort([values, histories.rows])
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = histories.positions
    return ranks
