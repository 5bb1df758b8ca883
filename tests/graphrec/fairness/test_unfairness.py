"""GU, MGU and DGU: what the formulas promise, targets, intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrec.fairness.groups import ItemGroups
from graphrec.fairness.unfairness import (
    chosen_target,
    history_target,
    unfairness,
    unfairness_statistic,
)
from graphrec.histories import Histories
from moltc.backbone.bootstrap import Bootstrap


def drawn(seed: int, counting: str = "full") -> tuple[ItemGroups, Histories, np.ndarray]:
    rng = np.random.default_rng(seed)
    lists = [rng.choice(4, size=rng.integers(0, 4), replace=False).tolist() for _ in range(12)]
    lists[0] = [0]
    groups = ItemGroups.from_lists(lists, ["a", "b", "c", "d"], counting)
    histories = Histories.from_lists([[0, *rng.integers(0, 12, rng.integers(0, 6))] for _ in range(7)])
    return groups, histories, np.stack([np.append(0, 1 + rng.permutation(11)) for _ in range(7)])[:, :5]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["full", "fractional"]))
def test_what_the_formulas_promise(seed: int, counting: str) -> None:
    groups, histories, lists = drawn(seed, counting)
    found = unfairness(groups, history_target(groups, histories), lists, [1, 3, 5])
    np.testing.assert_allclose(found.gaps.sum(axis=1), 0, atol=1e-12)
    assert (found.mgu <= found.dgu / 2 + 1e-12).all()
    order = np.random.default_rng(seed).permutation(4)
    place = np.argsort(order)  # new number of each group
    renamed = ItemGroups(
        tuple(groups.names[n] for n in order), groups.items, place[groups.labels], 12, groups.counting
    )
    again = unfairness(renamed, history_target(renamed, histories), lists, [1, 3, 5])
    np.testing.assert_allclose(again.mgu, found.mgu, atol=1e-12)
    np.testing.assert_allclose(again.dgu, found.dgu, atol=1e-12)
    np.testing.assert_allclose(again.gaps, found.gaps[:, order], atol=1e-12)


def test_perfect_calibration_is_zero() -> None:
    groups, _, lists = drawn(3)
    found = unfairness(groups, history_target(groups, Histories.from_lists(lists)), lists, [5])
    assert found.mgu_at(5) == pytest.approx(0, abs=1e-12)
    assert found.dgu[0] == pytest.approx(0, abs=1e-12)


def test_one_group_is_never_unfair() -> None:
    groups = ItemGroups.from_lists([[0], [0], []], ["all"])
    found = unfairness(
        groups, history_target(groups, Histories.from_lists([[0, 1]])), np.array([[1, 2]]), [1, 2]
    )
    assert found.mgu.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        pytest.param("history", [0.75, 0.25], id="history"),
        pytest.param("history-once", [0.5, 0.5], id="each-item-once"),
        pytest.param("train", [0, 1], id="train"),
        pytest.param("catalogue", [1 / 3, 2 / 3], id="catalogue"),
        pytest.param("uniform", [0.5, 0.5], id="uniform"),
        pytest.param({"a": 0.9, "b": 0.1}, [0.9, 0.1], id="given"),
    ],
)
def test_targets(kind: Any, expected: list[float]) -> None:
    groups = ItemGroups.from_lists([[0], [1], [1]], ["a", "b"])
    histories, train = Histories.from_lists([[0, 0, 0, 1]]), Histories.from_lists([[1, 2]])
    target = chosen_target(kind, groups, histories, train)
    np.testing.assert_allclose(target.shares, expected)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        pytest.param("fair", "target 'fair' is not known", id="name"),
        pytest.param({"a": 1.0}, "'b' is not on both sides", id="group-left-out"),
        pytest.param({"a": 0.5, "b": 0.6}, "they sum to 1.1", id="sum"),
        pytest.param("history", "no item of the histories is in a group", id="nothing-counted"),
    ],
)
def test_targets_that_cannot_be(kind: Any, message: str) -> None:
    groups = ItemGroups.from_lists([[0], [1], []], ["a", "b"])
    histories = Histories.from_lists([[2, 2]])
    with pytest.raises(ValueError, match=message):
        chosen_target(kind, groups, histories, histories)


def test_statistic_resamples_lists_with_their_histories() -> None:
    groups, histories, lists = drawn(5)
    target = history_target(groups, histories)
    statistic = unfairness_statistic(groups, target, lists, [1, 5])
    weights = np.random.default_rng(0).integers(0, 3, (4, len(lists))).astype(float)
    found = statistic(weights)
    for resample, row_weights in enumerate(weights.astype(int)):
        rows = np.repeat(np.arange(len(lists)), row_weights)
        again = unfairness(groups, history_target(groups, histories.select(rows)), lists[rows], [1, 5])
        assert found["MGU@5"][resample] == pytest.approx(again.mgu_at(5), abs=1e-12)
        assert found["DGU@1"][resample] == pytest.approx(again.dgu[0], abs=1e-12)
        assert found["GU@5 b"][resample] == pytest.approx(again.gaps[1, 1], abs=1e-12)
    metric = Bootstrap(resamples=200).estimate(statistic, len(lists))["GU@5 b"]
    assert metric.low <= metric.value <= metric.high
    assert metric.low < metric.high
