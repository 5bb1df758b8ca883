"""Training rows that show candidates: the item that came next among items that did not, in a drawn order.

Letters: B rows, C candidates of a row, I items.
"""

from __future__ import annotations

import numpy as np

from graphrec.histories import Histories, Integers

_STREAM = 0xCA2D
"""Keeps these draws apart from others of the same seed and step."""


def drawn_candidates(
    targets: Integers, seen: Histories, num_items: int, count: int, *, seed: int, step: int
) -> Integers:
    """Lists that hold each target once and items that are not in the row's history, ``[B, C]``.

    The draw depends on seed and step alone; the target's place is drawn too.

    Args:
        targets: ``[B]``.
        seen: everything that came before each target, B rows.
        num_items: I.
        count: C.

    Raises:
        ValueError: a row leaves fewer items than are to be drawn.
    """
    rng = np.random.default_rng([_STREAM, seed, step])
    others = count - 1
    taken = np.unique(
        np.concatenate([seen.rows * num_items + seen.items, np.arange(len(seen)) * num_items + targets])
    )
    left = num_items - np.bincount(taken // num_items, minlength=len(targets))
    if len(left) and left.min() < others:
        row = int(left.argmin())
        raise ValueError(
            f"row {row} leaves {left[row]} items that its history does not hold, and {others} are to be "
            "drawn: give a smaller num_candidates"
        )
    if others * 4 > left.min(initial=num_items):
        drawn = _from_masks(rng, taken, len(targets), num_items, others)
    else:
        drawn = _by_rejection(rng, taken, len(targets), num_items, others)
    lists = np.concatenate([targets[:, None], drawn], axis=1)
    return rng.permuted(lists, axis=1)


def _from_masks(rng: np.random.Generator, taken: Integers, rows: int, num_items: int, count: int) -> Integers:
    """Where few items are left: the ones with the smallest random keys."""
    keys = rng.random((rows, num_items))
    keys.ravel()[taken] = np.inf
    found: Integers = np.argsort(keys, axis=1)[:, :count]
    return found


def _by_rejection(
    rng: np.random.Generator, taken: Integers, rows: int, num_items: int, count: int
) -> Integers:
    """Items that are taken or stand twice are drawn again."""
    first = np.arange(rows)[:, None] * num_items
    drawn = rng.integers(num_items, size=(rows, count))
    while True:
        keys = first + drawn
        odd = np.isin(keys, taken) | _repeated(drawn)
        if not odd.any():
            return drawn
        drawn[odd] = rng.integers(num_items, size=int(odd.sum()))


def _repeated(drawn: Integers) -> np.ndarray:
    """Which entries of each row stand in it before, bool ``[B, C]``."""
    order = np.argsort(drawn, axis=1, kind="stable")
    ordered = np.take_along_axis(drawn, order, axis=1)
    again = np.zeros(drawn.shape, dtype=bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    repeated = np.zeros(drawn.shape, dtype=bool)
    np.put_along_axis(repeated, order, again, axis=1)
    return repeated
