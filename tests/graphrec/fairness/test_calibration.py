"""Exact calibration: the tolerance is met, and no other lists are cheaper."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrec.fairness.calibration import calibrate, pool
from graphrec.fairness.groups import ItemGroups


def biased(
    seed: int, num_rows: int, num_items: int, num_groups: int, *, overlap: bool = False
) -> tuple[np.ndarray, ItemGroups]:
    """Costs that favour some groups."""
    rng = np.random.default_rng(seed)
    lists = [
        rng.choice(num_groups, size=1 + int(overlap and rng.random() < 0.5), replace=False).tolist()
        for _ in range(num_items)
    ]
    for group in range(num_groups):
        lists[group] = [group]
    groups = ItemGroups.from_lists(lists, [str(group) for group in range(num_groups)])
    favour = 0.3 * rng.normal(size=num_groups)
    return rng.random((num_rows, num_items)) + groups.share_of_item @ favour, groups


@pytest.mark.parametrize("overlap", [False, True], ids=["one-group-each", "several-groups"])
def test_target_is_reached_close_to_the_bound(overlap: bool) -> None:
    costs, groups = biased(0, 150, 40, 4, overlap=overlap)
    target = np.array([0.4, 0.3, 0.2, 0.1])
    found = calibrate(costs, groups, target, 5, tolerance=0.01)
    assert found.reached
    assert found.largest_gap <= 0.01 + 1e-9
    np.testing.assert_allclose(found.shares, target, atol=0.01 + 1e-9)
    assert found.cost_before < found.bound <= found.cost <= found.bound * 1.02
    assert all(len(set(row)) == 5 for row in found.lists.tolist())
    places = np.take_along_axis(costs, found.lists, axis=1)
    assert (np.diff(places, axis=1) >= 0).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1_000))
def test_bound_holds_for_every_choice_of_lists(seed: int) -> None:
    costs, groups = biased(seed, 3, 4, 2)
    target, tolerance = np.array([0.5, 0.5]), 0.2
    found = calibrate(costs, groups, target, 1, tolerance=tolerance)
    allowed = [
        costs[np.arange(3), list(items)].mean()
        for items in itertools.product(range(4), repeat=3)
        if np.abs(groups.counts(np.array(items)) / 3 - target).max() <= tolerance
    ]
    assert found.bound <= min(allowed) + 1e-9
    if found.reached:
        assert found.cost >= min(allowed) - 1e-9


def test_nothing_changes_where_lists_are_fair_already() -> None:
    costs, groups = biased(1, 50, 20, 3)
    free = np.argsort(costs, axis=1)[:, :4]
    counts = groups.counts(free)
    found = calibrate(costs, groups, counts / counts.sum(), 4)
    assert found.lists.tolist() == free.tolist()
    assert found.cost == found.cost_before == found.bound


def test_a_pool_is_as_good_as_all_items_where_groups_share_none() -> None:
    costs, groups = biased(2, 80, 60, 4)
    costs[0, :5] = np.inf
    target = np.full(4, 0.25)
    items, pooled = pool(costs, groups, 3, width=3)
    assert items.shape == (80, 3 + 3 * 5)
    real = np.isfinite(pooled)
    np.testing.assert_array_equal(pooled[real], np.take_along_axis(costs, items, axis=1)[real])
    small = calibrate(pooled, groups, target, 3, items=items, tolerance=0.01)
    whole = calibrate(costs, groups, target, 3, tolerance=0.01)
    assert small.bound == pytest.approx(whole.bound, rel=1e-3)
    assert small.reached
    assert not np.isin(small.lists[0], np.arange(5)).any()


def test_fractional_counting_is_kept() -> None:
    costs, groups = biased(3, 100, 30, 3, overlap=True)
    shared = ItemGroups(groups.names, groups.items, groups.labels, 30, "fractional")
    found = calibrate(costs, shared, np.full(3, 1 / 3), 4, tolerance=0.01)
    counts = shared.counts(found.lists)
    assert counts.sum() == pytest.approx(400)
    np.testing.assert_allclose(counts / 400, found.shares)
    assert found.reached


def test_too_few_lists_for_the_tolerance_are_told() -> None:
    costs, groups = biased(4, 3, 10, 2)
    found = calibrate(costs, groups, np.array([0.5, 0.5]), 1, tolerance=0.001)
    assert not found.reached
    assert found.largest_gap == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"target": [0.1, 0.1, 0.8]}, "group '2' should have a share of 0.8000", id="empty-group"
        ),
        pytest.param(
            {"target": [0.95, 0.05, 0.0]}, "no lists of 4 items have shares within", id="out-of-reach"
        ),
        pytest.param({"target": [1.0, 0.0]}, "2 shares for 3 groups", id="shares"),
        pytest.param({"k": 7}, "row 0 has 6 items on offer for a list of 7", id="offer"),
        pytest.param({"tolerance": 0.0}, "tolerance=0.0 cannot be met", id="tolerance"),
    ],
)
def test_refusals(change: dict[str, object], message: str) -> None:
    groups = ItemGroups.from_lists([[0], [0], [0], [1], [1], [1]], ["0", "1", "2"])
    costs = np.random.default_rng(0).random((5, 6))
    given: dict = {"target": [0.5, 0.5, 0.0], "k": 4, "tolerance": 0.01} | change
    with pytest.raises(ValueError, match=message):
        calibrate(costs, groups, np.array(given["target"]), given["k"], tolerance=given["tolerance"])
