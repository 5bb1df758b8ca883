"""Negatives: items that were not taken, drawn uniformly and independently.

Letters: P events, N negatives, I items.
"""

from __future__ import annotations

import numpy as np

from graphrec.histories import Histories, Integers


def draw_other(items: Integers, num_items: int, count: int, rng: np.random.Generator) -> Integers:
    """``count`` items other than each event's own, ``[P, N]``.

    Args:
        items: of the events, ``[P]``.
        num_items: I.
        count: N.
        rng: source of the draws.

    Raises:
        ValueError: the catalogue has one item.
    """
    if num_items < 2:
        raise ValueError("a catalogue of one item has no negatives; use method: supervised")
    drawn = rng.integers(num_items - 1, size=(len(items), count))
    return drawn + (drawn >= items[:, None])


def draw_outside(
    sessions: Histories, rows: Integers, num_items: int, count: int, rng: np.random.Generator
) -> Integers:
    """``count`` items that occur nowhere in each event's session, ``[P, N]``.

    Args:
        sessions: whole sessions.
        rows: session of each event, ``[P]``.
        num_items: I.
        count: N.
        rng: source of the draws.

    Raises:
        ValueError: a session holds every item.
    """
    distinct, inverse = np.unique(rows, return_inverse=True)
    held = sessions.select(distinct)
    keys = np.unique(held.rows * num_items + held.items)  # (session, item), each once, in order
    owners = keys // num_items
    sizes = np.bincount(owners, minlength=len(distinct))
    if (sizes >= num_items).any():
        raise ValueError(
            f"session {distinct[int(sizes.argmax())]} holds the whole catalogue of {num_items} items, which "
            "leaves no negatives; set negatives: any"
        )
    firsts = np.cumsum(sizes) - sizes
    # With e_0 < e_1 < ... the items of a session, its j-th item outside is j plus the number of i for which
    # e_i - i <= j.
    thresholds = keys - (np.arange(len(keys)) - firsts[owners])
    drawn = rng.integers((num_items - sizes)[inverse][:, None], size=(len(rows), count))
    passed = np.searchsorted(thresholds, inverse[:, None] * num_items + drawn, side="right")
    return drawn + passed - firsts[inverse][:, None]
