"""Metrics equal the reference implementations, and no policy for invalid answers loses a pair."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sklearn_metrics

from moltc.metrics import (
    METRICS,
    Metric,
    binary_metrics,
    order_disagreement,
    over_seeds,
    regression_metrics,
    sigmoid,
)

FEW: dict[str, Any] = {"resamples": 20}


@pytest.fixture
def numbers() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.normal(-4, 3, size=120)
    return truth, truth + rng.normal(0, 0.8, size=120)


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = (rng.random(300) < 0.4).astype(float)
    return labels, np.round(2 * labels - 1 + rng.normal(0, 1.5, size=300), 1)  # rounding makes ties


# --- numbers ----------------------------------------------------------------------------------------------


def test_regression_metrics_equal_reference_implementations(numbers: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = numbers
    result = regression_metrics(truth, prediction, **FEW)
    assert result["mae"].value == pytest.approx(sklearn_metrics.mean_absolute_error(truth, prediction))
    assert result["rmse"].value == pytest.approx(sklearn_metrics.root_mean_squared_error(truth, prediction))
    assert result["r2"].value == pytest.approx(sklearn_metrics.r2_score(truth, prediction))
    assert result["pearson"].value == pytest.approx(stats.pearsonr(truth, prediction).statistic)
    assert result["invalid_rate"] == (0, 0, 0)
    assert set(result) <= set(METRICS)


def test_regression_interval_equals_a_plain_loop_over_resamples(
    numbers: tuple[np.ndarray, np.ndarray],
) -> None:
    truth, prediction = numbers
    result = regression_metrics(truth, prediction, seed=5, resamples=200, level=0.8)
    rng = np.random.default_rng(5)
    rows = rng.integers(len(truth), size=(200, len(truth)))
    for name, score in (
        ("mae", sklearn_metrics.mean_absolute_error),
        ("rmse", sklearn_metrics.root_mean_squared_error),
        ("r2", sklearn_metrics.r2_score),
    ):
        expected = np.quantile([score(truth[r], prediction[r]) for r in rows], [0.1, 0.9])
        assert result[name][1:] == pytest.approx(expected)


def test_interval_hit_rate_and_self_consistency_use_half_open_intervals() -> None:
    result = regression_metrics(
        [1.0, 1.5, 2.0, 9.0],
        [1.2, 1.2, 2.1, 9.0],
        intervals=[[1.0, 1.5], [1.0, 1.5], [1.5, 2.0], [np.nan, np.nan]],
        **FEW,
    )
    assert result["interval_hit"].value == 0.25  # 1.5 is not in [1, 1.5), 2.0 not in [1.5, 2), none answered
    assert result["self_consistency"].value == 0.5


def test_invalid_number_becomes_the_training_mean() -> None:
    result = regression_metrics(
        [1.0, 2.0, 6.0],
        [1.0, 2.0, np.nan],
        valid=[True, True, False],
        intervals=[[1.0, 1.5], [2.0, 2.5], [5.5, 6.5]],
        train_mean=3.0,
        **FEW,
    )
    assert result["mae"].value == pytest.approx(1.0)
    assert result["invalid_rate"].value == pytest.approx(1 / 3)
    assert result["interval_hit"].value == pytest.approx(
        2 / 3
    )  # the invalid answer's interval counts for nothing


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [([5.0, 0.0], [1.0, 3.0], 4.0), ([1.5, 0.0], [1.0, 8.0], 2.75)],
    ids=["worst valid error", "error of the mean"],
)
def test_penalised_number_is_charged_the_larger_error(
    prediction: list[float], truth: list[float], expected: float
) -> None:
    options: dict[str, Any] = {"valid": [True, False], "train_mean": 3.0, **FEW}
    result = regression_metrics(truth, prediction, on_invalid="penalise", **options)
    assert result["mae"].value == pytest.approx(expected)
    assert result["mae"].value >= regression_metrics(truth, prediction, **options)["mae"].value


def test_dropped_number_is_counted() -> None:
    result = regression_metrics(
        [1.0, 2.0, 6.0], [1.5, 2.5, np.nan], valid=[True, True, False], on_invalid="drop", **FEW
    )
    assert result["mae"].value == pytest.approx(0.5)
    assert result["dropped"].value == 1
    assert result["invalid_rate"].value == pytest.approx(1 / 3)


def test_constant_prediction_has_no_correlation() -> None:
    result = regression_metrics([1.0, 2.0, 4.0], np.full(3, 0.1 + 0.2), **FEW)
    assert math.isnan(result["pearson"].value)
    assert math.isfinite(result["r2"].value)


def test_one_pair_has_no_r2() -> None:
    result = regression_metrics([1.0], [2.0], **FEW)
    assert result["mae"] == (1, 1, 1)
    assert math.isnan(result["r2"].value)


@pytest.mark.parametrize(
    ("truth", "prediction", "options", "words"),
    [
        ([1.0, np.nan], [1.0, 2.0], {}, "truth must be finite: row 1"),
        ([1.0, 2.0], [1.0, np.nan], {}, "prediction of row 1 is nan"),
        ([1.0, 2.0], [1.0], {}, "2 pairs, but prediction has shape \\[1\\]"),
        ([1.0, 2.0], [1.0, 2.0], {"valid": [True, False]}, "pass train_mean"),
        (
            [1.0, 2.0],
            [1.0, 2.0],
            {"valid": [False, False], "on_invalid": "drop"},
            "all 2 answers are invalid",
        ),
        ([1.0, 2.0], [1.0, 2.0], {"on_invalid": "ignore"}, "penalise, mean, drop"),
        ([1.0, 2.0], [1.0, 2.0], {"intervals": [[0.0, 1.0]]}, "shape \\[2, 2\\]"),
        ([], [], {}, "at least one pair"),
    ],
    ids=["truth", "prediction", "length", "no mean", "all dropped", "policy", "intervals", "empty"],
)
def test_bad_regression_input_is_named(
    truth: Any, prediction: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        regression_metrics(truth, prediction, **options)


# --- yes or no --------------------------------------------------------------------------------------------


def test_binary_metrics_equal_scikit_learn(scored: tuple[np.ndarray, np.ndarray]) -> None:
    labels, log_odds = scored
    result = binary_metrics(labels, log_odds, **FEW)
    assert result["auc_roc"].value == pytest.approx(
        sklearn_metrics.roc_auc_score(labels, log_odds), abs=1e-12
    )
    assert result["average_precision"].value == pytest.approx(
        sklearn_metrics.average_precision_score(labels, log_odds), abs=1e-12
    )
    assert result["accuracy"].value == sklearn_metrics.accuracy_score(labels, log_odds > 0)
    assert result["brier"].value == pytest.approx(sklearn_metrics.brier_score_loss(labels, sigmoid(log_odds)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=30))
def test_auc_equals_the_share_of_ordered_pairs(rows: list[tuple[bool, int]]) -> None:
    labels = np.array([float(label) for label, _ in rows])
    scores = np.array([score / 7 for _, score in rows])
    result = binary_metrics(labels, scores, resamples=0)
    if labels.min() == labels.max():
        assert math.isnan(result["auc_roc"].value)
        return
    gap = scores[labels == 1][:, None] - scores[labels == 0][None, :]
    assert result["auc_roc"].value == pytest.approx(((gap > 0) + 0.5 * (gap == 0)).mean())


def test_binary_interval_equals_a_plain_loop_over_resamples(scored: tuple[np.ndarray, np.ndarray]) -> None:
    labels, log_odds = scored
    result = binary_metrics(labels, log_odds, seed=5, resamples=100, level=0.8)
    rows = np.random.default_rng(5).integers(len(labels), size=(100, len(labels)))
    for name, score in (
        ("auc_roc", sklearn_metrics.roc_auc_score),
        ("average_precision", sklearn_metrics.average_precision_score),
    ):
        expected = np.quantile([score(labels[r], log_odds[r]) for r in rows], [0.1, 0.9])
        assert result[name][1:] == pytest.approx(expected)


def test_calibration_error_by_hand() -> None:
    p = np.array([0.22, 0.28, 0.81, 0.99])
    result = binary_metrics([0, 1, 1, 1], np.log(p / (1 - p)), **FEW)
    assert result["ece"].value == pytest.approx((abs(0.22 + 0.28 - 1) + abs(0.81 - 1) + abs(0.99 - 1)) / 4)


def test_certain_answers_do_not_overflow() -> None:
    result = binary_metrics([1, 0, 1], [1e5, -1e5, 1e5], **FEW)
    assert result["brier"].value == 0
    assert result["auc_roc"].value == 1


@pytest.mark.parametrize("decisions", [[0, 1, 1, 0], [-1, 1, 1, -1]], ids=["zero and one", "minus and plus"])
def test_auc_of_hard_decisions_is_refused(decisions: list[int]) -> None:
    with pytest.raises(ValueError, match="hard decisions"):
        binary_metrics([0, 1, 0, 1], decisions, **FEW)


def test_scores_that_only_rank_have_no_brier_score(scored: tuple[np.ndarray, np.ndarray]) -> None:
    result = binary_metrics(*scored, probabilities=False, **FEW)
    assert {"brier", "ece"}.isdisjoint(result)
    assert "auc_roc" in result


def test_yes_is_answered_above_the_threshold() -> None:
    assert binary_metrics([0, 1], [1.5, 2.0], threshold=1.5, **FEW)["accuracy"].value == 1.0
    assert binary_metrics([0, 1], [1.5, 2.0], **FEW)["accuracy"].value == 0.5


def test_penalised_answer_counts_as_certainly_wrong() -> None:
    options: dict[str, Any] = {"valid": [True, False, True, False], **FEW}
    result = binary_metrics([1, 1, 0, 0], [5.0, np.nan, -5.0, np.nan], **options)
    assert result["accuracy"].value == 0.5
    assert result["auc_roc"].value == 0.25  # of four ordered pairs, only the two valid answers are in order
    assert result["brier"].value == pytest.approx(0.5, abs=1e-4)
    assert result["invalid_rate"].value == 0.5


def test_mean_policy_answers_the_training_rate() -> None:
    result = binary_metrics(
        [1, 0], [3.0, np.nan], valid=[True, False], on_invalid="mean", train_rate=0.25, **FEW
    )
    assert result["accuracy"].value == 1.0
    assert result["brier"].value == pytest.approx(((1 - sigmoid(np.array(3.0))) ** 2 + 0.25**2) / 2)


def test_dropped_answer_is_counted() -> None:
    result = binary_metrics([1, 0, 1], [3.0, -2.0, np.nan], valid=[1, 1, 0], on_invalid="drop", **FEW)
    assert result["accuracy"].value == 1.0
    assert result["dropped"].value == 1


@pytest.mark.parametrize(
    ("labels", "log_odds", "options", "words"),
    [
        ([0, 2], [1.0, 2.0], {}, "row 1 is 2"),
        ([0, 1], [1.0, np.inf], {}, "log_odds of row 1 is inf"),
        ([0, 1], [1.0, 2.0, 3.0], {}, "2 pairs"),
        ([0, 1], [1.0, 2.0], {"valid": [1, 0], "on_invalid": "mean"}, "pass train_rate"),
        ([0, 1], [1.0, 2.0], {"valid": [1, 0], "on_invalid": "mean", "train_rate": 1.0}, "pass train_rate"),
    ],
    ids=["label", "infinite", "length", "no rate", "rate of one"],
)
def test_bad_binary_input_is_named(labels: Any, log_odds: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        binary_metrics(labels, log_odds, **options)


def test_order_disagreement_counts_changed_decisions() -> None:
    metric = order_disagreement([1.0, -1.0, 2.0, -3.0], [0.5, 1.0, 2.0, 0.0], **FEW)
    assert metric.value == 0.25


def test_order_disagreement_needs_both_orders_of_each_pair() -> None:
    with pytest.raises(ValueError, match="same pairs: 2 and 1"):
        order_disagreement([1.0, 2.0], [1.0])


def test_spread_over_seeds_is_the_sample_deviation() -> None:
    runs = [{"mae": Metric(value, 0, 9)} for value in (2.960, 2.453, 2.524)]
    mean, deviation = over_seeds(runs)["mae"]
    assert mean == pytest.approx(2.646, abs=5e-4)
    assert deviation == pytest.approx(0.275, abs=5e-4)


def test_one_seed_has_no_spread() -> None:
    with pytest.raises(ValueError, match="two runs"):
        over_seeds([{"mae": Metric(1, 0, 2)}])
