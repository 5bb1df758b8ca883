"""Pools and draws: never the target, its namesakes or the past; alike wherever they are drawn again."""

from __future__ import annotations

import numpy as np
import pytest

from graphrec.histories import Histories
from graphrec.sdpo.pools import chosen_places, drawn_pools, shown_lists, title_numbers

NAMES = [f"Item {n // 2}" if n < 6 else f"Item {n}" for n in range(30)]  # three pairs share their titles
TITLES = title_numbers(NAMES)
RNG = np.random.default_rng(0)
SEEN = Histories.from_lists([RNG.integers(0, 30, n % 9).tolist() for n in range(200)])
TARGETS = RNG.integers(0, 30, 200)


@pytest.mark.parametrize("weights", [None, np.arange(1.0, 31.0) ** 2], ids=["uniform", "popular"])
def test_pools_hold_distinct_items_and_nothing_barred(weights: np.ndarray | None) -> None:
    pools = drawn_pools(TARGETS, SEEN, TITLES, 12, seed=3, weights=weights)
    for target, past, pool in zip(TARGETS.tolist(), SEEN.lists(), pools.tolist(), strict=True):
        assert len(set(pool)) == 12
        assert not set(pool) & set(past)
        assert NAMES[target] not in {NAMES[item] for item in pool}


def test_weights_favour_items() -> None:
    pools = drawn_pools(TARGETS, SEEN, TITLES, 3, seed=3, weights=np.where(np.arange(30) < 20, 0.001, 1.0))
    assert (pools >= 20).mean() > 0.9


def test_uniform_draws_are_even() -> None:
    targets, none = np.zeros(4000, dtype=np.int64), Histories.from_lists([[]] * 4000)
    counts = np.bincount(drawn_pools(targets, none, np.arange(30), 5, seed=1).ravel(), minlength=30)
    assert counts[0] == 0
    expected = 4000 * 5 / 29
    assert ((counts[1:] - expected) ** 2 / expected).sum() < 60  # chi-square with 28 degrees, p < 0.001


def test_equal_targets_have_unlike_pools() -> None:
    targets, none = np.full(50, 7), Histories.from_lists([[]] * 50)
    pools = drawn_pools(targets, none, np.arange(30), 5, seed=1)
    assert len(np.unique(pools, axis=0)) > 40


def test_draws_repeat_by_seed() -> None:
    first = drawn_pools(TARGETS, SEEN, TITLES, 5, seed=3)
    np.testing.assert_array_equal(first, drawn_pools(TARGETS, SEEN, TITLES, 5, seed=3))
    assert (first != drawn_pools(TARGETS, SEEN, TITLES, 5, seed=4)).any()


def test_a_pool_that_cannot_be_filled_names_its_row() -> None:
    seen = Histories.from_lists([[1], list(range(25))])
    with pytest.raises(ValueError, match="row 1 leaves 4 items .* too few for a pool of 5"):
        drawn_pools(np.array([3, 29]), seen, np.arange(30), 5, seed=0)


def test_choices_change_with_the_epoch_and_stay_within_the_pool() -> None:
    rows = np.arange(40)
    first, second = (chosen_places(rows, 9, 3, seed=1, epoch=epoch) for epoch in (0, 1))
    assert first.shape == (40, 3)
    assert first.min() >= 0
    assert first.max() <= 8
    assert all(len(set(row)) == 3 for row in first.tolist())
    assert (first != second).any()
    np.testing.assert_array_equal(first[5:9], chosen_places(rows[5:9], 9, 3, seed=1, epoch=0))


def test_lists_show_the_target_once_anywhere() -> None:
    pools = drawn_pools(TARGETS, SEEN, TITLES, 5, seed=3)
    lists = shown_lists(TARGETS, pools, seed=3)
    np.testing.assert_array_equal((lists == TARGETS[:, None]).sum(1), 1)
    np.testing.assert_array_equal(np.sort(lists), np.sort(np.column_stack([TARGETS, pools])))
    places = (lists == TARGETS[:, None]).argmax(1)
    assert np.bincount(places, minlength=6).min() > 10
