"""Lists of different lengths as flat arrays: where their entries lie, and list columns made of them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def ranges(starts: Integers, lengths: Integers) -> Integers:
    """``starts[0], starts[0] + 1, ...``, ``lengths[0]`` entries, then those of the next list, and so on."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)


def list_column(values: Integers, lengths: Integers) -> pl.Series:
    """Flat ``values`` as a column of lists of int64 with the given ``lengths [B]``."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values.astype(np.int64, copy=False)))
    return pl.Series(pl.from_arrow(lists))


def flat(lists: pl.Series) -> tuple[Integers, Integers]:
    """Values and lengths of a column of lists."""
    array = lists.to_arrow()
    values = array.flatten().to_numpy(zero_copy_only=False)
    return values.astype(np.int64, copy=False), lists.list.len().to_numpy().astype(np.int64)
