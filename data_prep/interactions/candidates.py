"""Candidate lists: the target among items drawn without replacement, the same on every machine for ever.

The generator of a list is seeded by (seed, split, row, draw), so a list depends neither on its neighbours nor
on the order of work; seeding by the target alone would give equal targets equal negatives.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from data_prep.errors import DataError
from data_prep.interactions.ragged import Integers

SPLIT_CODES = {"valid": 1, "test": 2}


def draw_candidates(
    rows: pl.DataFrame, num_items: int, *, split: str, size: int = 20, draws: int = 1, seed: int = 2024
) -> pl.Series:
    """Candidates of each row, ``[B, draws, size]``, in the order to be shown; never an item of its history.

    Args:
        rows: with ``row``, ``history`` and ``target``.
        split: "valid" or "test"; part of the seed.

    Raises:
        DataError: where the catalogue has too few items beside history and target; names the row.
    """
    lists = [
        [
            _draw(history, target, num_items, size, [seed, SPLIT_CODES[split], row, draw])
            for draw in range(draws)
        ]
        for row, history, target in rows.select("row", "history", "target").iter_rows()
    ]
    return pl.Series("candidates", lists, dtype=pl.List(pl.List(pl.Int64)))


def _draw(history: Sequence[int], target: int, num_items: int, size: int, seed: list[int]) -> list[int]:
    pool = _others(np.asarray(history, dtype=np.int64), target, num_items)
    if len(pool) < size - 1:
        raise DataError(
            f"row {seed[2]}: {len(pool)} items are neither target nor in the history, too few for {size - 1} "
            "negatives. Ask for fewer candidates."
        )
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    negatives = generator.choice(pool, size - 1, replace=False)
    return generator.permutation([target, *negatives.tolist()]).tolist()


def _others(history: Integers, target: int, num_items: int) -> Integers:
    """All items in ascending order but the target and the history."""
    free = np.ones(num_items, dtype=bool)
    free[history] = False
    free[target] = False
    return np.flatnonzero(free)
