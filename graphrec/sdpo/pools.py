"""What a row can be told to reject: a pool of items, of which K are rejected at a time.

A pool is drawn once for each row, so that a reference scores it once; which K of it are rejected may change
with every epoch. Draws know the row, never the target: equal targets have unlike pools.

Letters: B rows, M items of a pool, K negatives, I items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from graphrec.histories import Histories, Integers
from graphrec.llara.matching import plain_title

ROWS_AT_ONCE = 8_192
_POOL, _CHOICE = 0x5D90, 0x5D91
"""Keep these draws apart from others of the same seed."""


def title_numbers(titles: Sequence[str]) -> Integers:
    """A number for each item's title, ``[I]``: items that are called the same share one."""
    names = [plain_title(title) for title in titles]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def drawn_pools(
    targets: Integers,
    seen: Histories,
    titles: Integers,
    size: int,
    *,
    seed: int,
    weights: NDArray[np.floating] | None = None,
) -> Integers:
    """Distinct items for each row, ``[B, M]``: none seen, none called like the target.

    Args:
        targets: ``[B]``.
        seen: everything that came before each target, B rows.
        titles: see :func:`title_numbers`, ``[I]``.
        size: M.
        weights: how likely an item is drawn, ``[I]``, above zero; None: all alike.

    Raises:
        ValueError: a row leaves too few items.
    """
    edges = None if weights is None else np.cumsum(weights / weights.sum())
    pools = np.empty((len(targets), size), dtype=np.int64)
    for number, first in enumerate(range(0, len(targets), ROWS_AT_ONCE)):
        part = slice(first, first + ROWS_AT_ONCE)
        rng = np.random.default_rng([_POOL, seed, number])
        draw = _drawer(rng, len(titles), edges)
        pools[part] = _distinct(draw, _barred(targets[part], seen[part], titles), titles, size, first)
    return pools


def _drawer(
    rng: np.random.Generator, num_items: int, edges: NDArray[np.floating] | None
) -> Callable[..., Integers]:
    if edges is None:
        return lambda *shape: rng.integers(num_items, size=shape)
    return lambda *shape: np.minimum(np.searchsorted(edges, rng.random(shape)), num_items - 1)


def _barred(targets: Integers, seen: Histories, titles: Integers) -> Integers:
    """Keys ``row * I + item`` of what a row must not be given, sorted."""
    num_items = len(titles)
    rows = np.arange(len(targets))
    by_title = np.argsort(titles, kind="stable")
    low, high = (np.searchsorted(titles[by_title], titles[targets], side=side) for side in ("left", "right"))
    counts = high - low
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    namesakes = np.repeat(rows, counts) * num_items + by_title[np.repeat(low, counts) + within]
    return np.unique(np.concatenate([namesakes, seen.rows * num_items + seen.items]))


def _distinct(
    draw: Callable[..., Integers], barred: Integers, titles: Integers, size: int, first: int
) -> Integers:
    """Draw, and draw again what is barred or stands in its row before."""
    rows, num_items = int(barred[-1] // len(titles)) + 1, len(titles)
    left = num_items - np.bincount(barred // num_items, minlength=rows)
    if left.min() < size:
        row = int(left.argmin())
        raise ValueError(
            f"row {first + row} leaves {left[row]} items beside its history and its target, too few for a "
            f"pool of {size}: give a smaller pool"
        )
    found = draw(rows, size)
    while True:
        odd = np.isin(np.arange(rows)[:, None] * num_items + found, barred) | _repeated(found)
        if not odd.any():
            return found
        found[odd] = draw(int(odd.sum()))


def _repeated(found: Integers) -> NDArray[np.bool_]:
    """Entries that stand in their row before, bool ``[B, M]``."""
    order = np.argsort(found, axis=1, kind="stable")
    ordered = np.take_along_axis(found, order, axis=1)
    again = np.zeros(found.shape, dtype=bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    repeated = np.zeros(found.shape, dtype=bool)
    np.put_along_axis(repeated, order, again, axis=1)
    return repeated


def chosen_places(rows: Integers, size: int, count: int, *, seed: int, epoch: int) -> Integers:
    """Which K of a pool's M items are rejected in an epoch, ``[B, K]``, drawn by (seed, epoch, row) alone.

    Args:
        rows: numbers of the rows, ``[B]``.
        size, count: M and K.
    """
    places = [
        np.random.default_rng([_CHOICE, seed, epoch, row]).permutation(size)[:count] for row in rows.tolist()
    ]
    return np.stack(places) if places else np.empty((0, count), dtype=np.int64)


def shown_lists(targets: Integers, pools: Integers, *, seed: int) -> Integers:
    """Each target among its pool in a drawn order, ``[B, 1 + M]``: the candidates of a prompt."""
    rng = np.random.default_rng([_POOL, seed])
    return rng.permuted(np.concatenate([targets[:, None], pools], axis=1), axis=1)
