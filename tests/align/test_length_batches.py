"""The order of training examples: complete, a function of seed and epoch, of about one length in a batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.length_batches import LengthBatches


def batches(count: int = 60, size: int = 8, **options: object) -> LengthBatches:
    tokens = np.random.default_rng(0).integers(5, 200, count)
    return LengthBatches(np.arange(count) * 3, tokens, size, **({"seed": 0, "shuffle": True} | options))


def epoch(order: LengthBatches, number: int) -> list[list[int]]:
    order.set_epoch(number)
    return list(order)


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 70), size=st.integers(1, 20), pool=st.integers(1, 6), seed=st.integers(0, 9))
def test_every_row_is_given_once_an_epoch(count: int, size: int, pool: int, seed: int) -> None:
    """Promise: no row is left out or repeated, and batches differ in size by at most one."""
    order = batches(count, size, pool=pool, seed=seed)
    found = epoch(order, 2)
    assert len(found) == len(order)
    assert sorted(row for batch in found for row in batch) == (np.arange(count) * 3).tolist()
    sizes = [len(batch) for batch in found]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("pool", [1, 4], ids=["random", "sorted"])
def test_the_order_depends_on_seed_and_epoch_alone(pool: int) -> None:
    first, second = batches(pool=pool), batches(pool=pool)
    epoch(second, 0)
    assert epoch(first, 3) == epoch(second, 3)
    assert epoch(first, 3) != epoch(first, 4)
    assert epoch(first, 3) != epoch(batches(pool=pool, seed=1), 3)


def test_batches_hold_examples_of_about_one_length() -> None:
    def spread(pool: int) -> float:
        order = batches(320, 8, pool=pool)
        return float(np.mean([np.ptp(order.tokens[np.array(batch) // 3]) for batch in epoch(order, 0)]))

    assert spread(10) < spread(1) / 4


def test_batches_come_in_random_order() -> None:
    order = batches(320, 8, pool=40)
    means = [order.tokens[np.array(batch) // 3].mean() for batch in epoch(order, 0)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5


def test_epochs_are_told_apart_by_a_stride() -> None:
    order = batches(10, 4, epoch_stride=1000)
    assert sorted(row for batch in epoch(order, 2) for row in batch) == [2000 + 3 * n for n in range(10)]


def test_rows_without_shuffling_keep_their_order() -> None:
    assert epoch(batches(5, 2, shuffle=False), 7) == [[0, 3], [6, 9], [12]]


def test_an_epoch_goes_on_in_its_middle() -> None:
    order = batches(pool=4)
    whole, following = epoch(order, 6), epoch(order, 7)
    order.set_epoch(6)
    order.start = 3
    assert list(order) == whole[3:]
    assert epoch(order, 7) == following


@pytest.mark.parametrize("option", ["size", "pool"])
def test_numbers_below_one_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match="must be at least 1, not 0"):
        batches(**{option: 0})
