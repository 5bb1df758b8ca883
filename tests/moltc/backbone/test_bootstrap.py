"""Intervals: exact on what can be computed by hand, and of the right width on what is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from moltc.backbone import bootstrap as module
from moltc.backbone.bootstrap import Bootstrap, Floats, joint_statistic, mean_statistic


def test_value_uses_every_pair_once() -> None:
    metric = Bootstrap().estimate(mean_statistic({"mean": np.array([1.0, 2.0, 6.0])}), 3)["mean"]
    assert metric.value == 3.0
    assert 1.0 <= metric.low <= metric.value <= metric.high <= 6.0


def test_interval_of_a_mean_is_close_to_normal_theory() -> None:
    values = np.random.default_rng(1).normal(size=2000)
    metric = Bootstrap(resamples=4000).estimate(mean_statistic({"mean": values}), len(values))["mean"]
    expected = 2 * 1.96 * values.std() / math.sqrt(len(values))
    assert metric.high - metric.low == pytest.approx(expected, rel=0.05)


def test_same_seed_same_interval_and_another_seed_another() -> None:
    statistic = mean_statistic({"mean": np.arange(50.0)})
    assert Bootstrap(seed=3).estimate(statistic, 50) == Bootstrap(seed=3).estimate(statistic, 50)
    assert Bootstrap(seed=3).estimate(statistic, 50) != Bootstrap(seed=4).estimate(statistic, 50)


def test_chunks_of_resamples_hold_few_weights_and_cover_all_resamples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_WEIGHTS_AT_ONCE", 100)
    shapes = []

    def statistic(weights: Floats) -> dict[str, Floats]:
        shapes.append(weights.shape)
        assert (weights.sum(axis=1) == 30).all()
        return {"first": weights[:, 0]}

    Bootstrap(resamples=10).estimate(statistic, 30)
    assert shapes == [(1, 30), (3, 30), (3, 30), (3, 30), (1, 30)]


def test_undefined_resamples_do_not_enter_the_interval() -> None:
    def statistic(weights: Floats) -> dict[str, Floats]:
        return {"odd": np.where(weights[:, 0] > 0, 2.0, np.nan), "never": np.full(len(weights), np.nan)}

    metrics = Bootstrap(resamples=50).estimate(statistic, 2)
    assert metrics["odd"] == (2.0, 2.0, 2.0)
    assert all(math.isnan(value) for value in metrics["never"])


def test_no_resamples_leave_the_bounds_open() -> None:
    metric = Bootstrap(resamples=0).estimate(mean_statistic({"mean": np.ones(3)}), 3)["mean"]
    assert metric.value == 1.0
    assert math.isnan(metric.low)
    assert math.isnan(metric.high)


def test_joint_statistic_gives_every_part() -> None:
    joint = joint_statistic([mean_statistic({"a": np.ones(4)}), mean_statistic({"b": np.zeros(4)})])
    assert {k: v.tolist() for k, v in joint(np.ones((2, 4))).items()} == {"a": [1, 1], "b": [0, 0]}


@pytest.mark.parametrize(
    ("options", "words"),
    [({"level": 1.0}, "level"), ({"level": 0.0}, "level"), ({"resamples": -1}, "resamples")],
    ids=["level one", "level zero", "negative resamples"],
)
def test_impossible_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Bootstrap(**options)


def test_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        Bootstrap().estimate(mean_statistic({"mean": np.empty(0)}), 0)
