"""Lists of different lengths as flat arrays."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.interactions.ragged import flat, list_column, ranges

lists_of_numbers = st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=6)


@settings(max_examples=30, deadline=None)
@given(lists_of_numbers)
def test_a_list_column_holds_the_lists(lists):
    values = np.array([value for one in lists for value in one], dtype=np.int64)
    lengths = np.array([len(one) for one in lists], dtype=np.int64)
    column = list_column(values, lengths)
    assert column.dtype == pl.List(pl.Int64)
    assert column.to_list() == lists
    back, sizes = flat(column)
    assert back.tolist() == values.tolist()
    assert sizes.tolist() == lengths.tolist()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=6))
def test_ranges_follow_each_other(pairs):
    starts = np.array([start for start, _ in pairs], dtype=np.int64)
    lengths = np.array([length for _, length in pairs], dtype=np.int64)
    expected = [start + step for start, length in pairs for step in range(length)]
    assert ranges(starts, lengths).tolist() == expected


def test_a_slice_of_a_list_column_is_read_from_its_own_place():
    column = pl.Series([[1, 2], [3], [4, 5, 6]])[1:]
    values, lengths = flat(column)
    assert values.tolist() == [3, 4, 5, 6]
    assert lengths.tolist() == [1, 3]
