"""Calibration finds known answers, stays finite in degenerate cases and says which they were."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from moltc.calibration import PlattCalibration, SplitConformal
from moltc.metrics import binary_metrics, sigmoid


def overconfident(n: int = 4000, *, temperature: float = 3.0, bias: float = 1.0) -> tuple[Any, Any]:
    """Log-odds whose calibrated form is (x + bias) / temperature, and labels drawn from it."""
    rng = np.random.default_rng(0)
    log_odds = rng.normal(-bias, 4.0, size=n)
    return log_odds, (rng.random(n) < sigmoid((log_odds + bias) / temperature)).astype(float)


def test_fit_recovers_temperature_and_bias() -> None:
    log_odds, labels = overconfident(40_000)
    fitted = PlattCalibration.fit(log_odds, labels)
    assert fitted.temperature == pytest.approx(3.0, rel=0.05)
    assert fitted.bias == pytest.approx(1.0, abs=0.1)
    assert fitted.note == ""


def test_fit_equals_logistic_regression_on_the_smoothed_targets() -> None:
    log_odds, labels = overconfident(200)
    fitted = PlattCalibration.fit(log_odds, labels)
    positives = labels.sum()
    yes = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (len(labels) - positives + 2))
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.tile(log_odds, 2)[:, None], np.repeat([1, 0], 200), sample_weight=np.concatenate([yes, 1 - yes])
    )
    assert 1 / fitted.temperature == pytest.approx(reference.coef_.item(), rel=1e-4)
    assert fitted.bias / fitted.temperature == pytest.approx(reference.intercept_.item(), rel=1e-4)


def test_calibration_lowers_the_error_and_keeps_the_ranking() -> None:
    log_odds, labels = overconfident()
    calibrated = PlattCalibration.fit(log_odds, labels).log_odds(log_odds)
    before, after = (binary_metrics(labels, scores, resamples=0) for scores in (log_odds, calibrated))
    assert after["ece"].value < before["ece"].value / 3
    assert after["brier"].value < before["brier"].value
    assert after["auc_roc"].value == pytest.approx(before["auc_roc"].value, abs=1e-12)


def test_apply_is_the_sigmoid_of_the_shifted_log_odds() -> None:
    calibration = PlattCalibration(temperature=2.0, bias=1.0)
    np.testing.assert_allclose(calibration.apply([-1.0, 1.0]), [0.5, 1 / (1 + math.exp(-1))])


def test_separable_classes_give_a_finite_fit() -> None:
    fitted = PlattCalibration.fit([-2.0, -1.0, 1.0, 2.0] * 10, [0, 0, 1, 1] * 10)
    p = fitted.apply([-1.0, 1.0])
    assert 0 < p[0] < 0.2
    assert 0.8 < p[1] < 1
    assert fitted.note == ""


@pytest.mark.parametrize(("label", "word"), [(0, "no"), (1, "yes")], ids=["all no", "all yes"])
def test_one_class_leaves_the_log_odds_alone(label: int, word: str) -> None:
    fitted = PlattCalibration.fit([0.3, 1.0, -2.0], [label] * 3)
    assert (fitted.temperature, fitted.bias) == (1.0, 0.0)
    assert fitted.note == f"not calibrated: all 3 validation labels are {word}"


@pytest.mark.parametrize(
    "log_odds",
    [[2.0, 1.5, -1.0, -2.0], [0.7] * 4, [800.0, 700.0, -700.0, -800.0]],
    ids=["reversed", "constant", "reversed and certain"],
)
def test_scores_that_do_not_rise_with_the_label_get_a_bias_only(log_odds: list[float]) -> None:
    fitted = PlattCalibration.fit(log_odds * 5, [0, 0, 1, 1] * 5)
    assert fitted.temperature == 1.0
    assert fitted.note.startswith("bias only")
    assert fitted.apply(log_odds).mean() == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6], ids=["tiny", "usual", "huge"])
def test_fit_does_not_depend_on_the_scale_of_the_log_odds(scale: float) -> None:
    log_odds, labels = overconfident(500)
    fitted = PlattCalibration.fit(log_odds * scale, labels)
    reference = PlattCalibration.fit(log_odds, labels)
    np.testing.assert_allclose(fitted.apply(log_odds * scale), reference.apply(log_odds), rtol=1e-6)


@pytest.mark.parametrize(
    ("log_odds", "labels", "words"),
    [
        ([], [], "got none"),
        ([1.0], [0, 1], "must both be"),
        ([1.0, np.nan], [0, 1], "row 1 is nan"),
        ([1.0, 2.0], [0, 3], "row 1 is 3"),
    ],
    ids=["empty", "length", "not finite", "label"],
)
def test_bad_calibration_input_is_named(log_odds: Any, labels: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PlattCalibration.fit(log_odds, labels)


def test_platt_survives_json() -> None:
    fitted = PlattCalibration.fit(*overconfident(300))
    assert PlattCalibration.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


def test_platt_with_foreign_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="expected the keys"):
        PlattCalibration.from_dict({"temperature": 1.0, "bias": 0.0})


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf], ids=["zero", "negative", "infinite"])
def test_impossible_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        PlattCalibration(temperature=temperature)


def test_half_width_is_the_corrected_quantile() -> None:
    conformal = SplitConformal.fit(np.zeros(9), [3, -1, 2, 4, -9, 5, 8, 7, 6])
    assert conformal.half_width(0.9) == 9  # rank ceil(10 * 0.9) = 9
    assert conformal.half_width(0.8) == 8
    assert conformal.half_width(0.85) == 9
    assert conformal.half_width(0.95) == math.inf  # nine residuals cannot promise 95 %
    np.testing.assert_allclose(conformal.intervals([1.0], 0.8), [[-7.0, 9.0]])


def test_intervals_cover_new_pairs_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        errors = rng.standard_t(3, size=60)
        conformal = SplitConformal.fit(np.zeros(40), errors[:40])
        covered.append(np.abs(errors[40:]) <= conformal.half_width(0.8))
    assert np.mean(covered) == pytest.approx(33 / 41, abs=0.02)


def test_conformal_survives_json() -> None:
    conformal = SplitConformal.fit([1.0, 2.0], [1.1, 2.5])
    assert SplitConformal.from_dict(json.loads(json.dumps(conformal.to_dict()))) == conformal


@pytest.mark.parametrize(
    ("truth", "prediction", "words"),
    [
        ([], [], "at least one"),
        ([1.0], [1.0, 2.0], "must both be"),
        ([1.0, 2.0], [1.0, np.nan], "row 1: truth 2.0 and prediction nan"),
    ],
    ids=["empty", "length", "not finite"],
)
def test_bad_conformal_input_is_named(truth: Any, prediction: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SplitConformal.fit(truth, prediction)


@pytest.mark.parametrize("level", [0.0, 1.0], ids=["zero", "one"])
def test_impossible_level_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        SplitConformal.fit([1.0], [2.0]).half_width(level)
