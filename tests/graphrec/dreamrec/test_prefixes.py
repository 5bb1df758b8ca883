from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from graphrec.dreamrec.prefixes import num_batches, padded_rows, prefix_batches
from graphrec.histories import Histories

SEQUENCES = [[4, 5, 6, 7], [1], [2, 3, 2]]
PAD = 9


def examples(batch_size: int, order: str, length: int = 2) -> list[tuple[tuple[int, ...], int]]:
    """(history, target) of an epoch."""
    found = []
    sequences = Histories.from_lists(SEQUENCES)
    batches = prefix_batches(sequences, batch_size, length, PAD, order=order, rng=np.random.default_rng(0))
    for batch in batches:
        for row, target in zip(batch.rows.tolist(), batch.targets.tolist(), strict=True):
            real = [item for item in row if item != PAD]
            assert row[: len(real)] == real, "padding stands on the right"
            found.append((tuple(real), target))
    return found


@pytest.mark.parametrize("batch_size", [1, 3, 100], ids=["one", "three", "all at once"])
def test_a_pass_has_every_prefix_once(batch_size: int) -> None:
    expected = [
        (tuple(sequence[max(0, place - 2) : place]), target)
        for sequence in SEQUENCES
        for place, target in enumerate(sequence)
    ]
    found = examples(batch_size, "pass")
    assert Counter(found) == Counter(expected)
    assert found != expected


def test_draws_repeat_nothing_within_a_batch() -> None:
    sequences = Histories.from_lists([list(range(9))])
    batches = list(prefix_batches(sequences, 4, 3, PAD, order="draws", rng=np.random.default_rng(1)))
    assert len(batches) == 2
    assert all(len(set(batch.targets.tolist())) == 4 for batch in batches)


@pytest.mark.parametrize(("order", "count"), [("pass", 3), ("draws", 2)])
def test_number_of_batches(order: str, count: int) -> None:
    assert num_batches(8, 3, order) == count


def test_rows_to_be_ranked() -> None:
    rows = padded_rows(Histories.from_lists([[1, 2, 3], [], [4]]), 2, PAD)
    assert rows.tolist() == [[2, 3], [PAD, PAD], [4, PAD]]
    assert padded_rows(Histories.from_lists([[]]), 2, PAD).tolist() == [[PAD]]
