"""Windows and prefixes: each interaction is a target as often as it should be, whatever is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrec.histories import Histories
from graphrec.sequential.examples import (
    Prefixes,
    encoder_rows,
    expected_windows,
    window_batches,
    windows,
    with_start,
)

SEQUENCES = st.lists(st.lists(st.integers(0, 8), max_size=30), min_size=1, max_size=12)
START = 9


@settings(max_examples=60, deadline=None)
@given(SEQUENCES, st.integers(1, 9), st.booleans())
def test_every_token_but_the_first_is_the_target_of_one_window(
    lists: list[list[int]], length: int, drawn: bool
) -> None:
    sequences = Histories(np.arange(sum(map(len, lists))), Histories.from_lists(lists).ends)
    rows = windows(sequences, length, np.random.default_rng(0) if drawn else None)
    targets = rows.items[rows.positions > 0]
    assert sorted(targets) == np.flatnonzero(sequences.positions > 0).tolist()
    assert all(2 <= n <= length + 1 for n in rows.lengths)
    assert all(np.diff(row).tolist() == [1] * (len(row) - 1) for row in rows.lists())


def test_sequences_that_fit_stay_whole_and_others_are_cut_anew() -> None:
    sequences = Histories.from_lists([range(4), range(10, 40)])
    first, second = (windows(sequences, 7, np.random.default_rng(seed)).lists() for seed in (0, 1))
    assert first[0] == second[0] == [0, 1, 2, 3]
    assert first[1:] != second[1:]


def test_without_a_generator_windows_are_cut_from_the_end() -> None:
    assert windows(Histories.from_lists([range(8)]), 3).lists() == [[0, 1], [1, 2, 3, 4], [4, 5, 6, 7]]


def test_expected_windows() -> None:
    sequences = Histories.from_lists([range(n) for n in (0, 1, 2, 8, 9, 23, 50)])
    counts = [len(windows(sequences, 7, np.random.default_rng(seed))) for seed in range(400)]
    assert np.mean(counts) == pytest.approx(expected_windows(sequences, 7), rel=0.02)


def test_a_batch_of_windows_pairs_each_token_with_the_next() -> None:
    rows = Histories.from_lists([[1, 2], [3, 4, 5], [6, 7, 8, 0]])
    (batch,) = window_batches(rows, 1, np.random.default_rng(0))
    assert batch.tokens.tolist() == [6, 7, 8, 3, 4, 1]
    assert batch.targets.tolist() == [7, 8, 0, 4, 5, 2]
    assert batch.packing.lengths.tolist() == [3, 2, 1]


def test_batches_hold_every_window_once() -> None:
    rows = Histories.from_lists([[n, n + 100] for n in range(23)])
    batches = list(window_batches(rows, 4, np.random.default_rng(0)))
    assert [len(batch.targets) for batch in batches] == [6, 6, 6, 5]
    assert sorted(token for batch in batches for token in batch.tokens.tolist()) == list(range(23))


@pytest.mark.parametrize(
    ("always", "expected"),
    [
        (True, [[START], [START, 1], [START, 1, 2], [1, 2, 3], [2, 3, 4]]),
        (False, [[START], [1], [1, 2], [1, 2, 3], [2, 3, 4]]),
    ],
    ids=["start_always", "start_when_empty"],
)
def test_what_an_encoder_reads(always: bool, expected: list[list[int]]) -> None:
    histories = Histories.from_lists([[], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4]])
    assert encoder_rows(histories, 3, START, always=always).lists() == expected


def test_start_comes_before_every_row() -> None:
    assert with_start(Histories.from_lists([[], [1, 2], []]), START).lists() == [
        [START],
        [START, 1, 2],
        [START],
    ]


@pytest.mark.parametrize("first_items", [True, False], ids=["first_items", "later_items"])
def test_prefixes_are_all_that_came_before_each_item(first_items: bool) -> None:
    lists = [[1, 2, 3, 4], [5], [6, 7]]
    prefixes = Prefixes.of(Histories.from_lists(lists), first_items=first_items)
    batch = prefixes.batch(np.arange(len(prefixes)), 2, START, always=False)
    expected = [
        (row[max(0, n - 2) : n] or [START], row[n]) for row in lists for n in range(not first_items, len(row))
    ]
    laid = Histories.from_lengths(batch.tokens.numpy(), batch.packing.lengths)
    rows = laid.select(np.argsort(batch.packing.order)).lists()
    assert list(zip(rows, batch.targets.tolist(), strict=True)) == expected
    assert batch.tokens[batch.places].tolist() == [row[-1] for row in rows]
