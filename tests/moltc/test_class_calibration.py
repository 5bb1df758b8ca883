"""Calibration of class answers: recovered temperatures, what cannot be fitted, and coverage of sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from moltc.class_calibration import ClassCalibration, ConformalSets
from moltc.class_metrics import class_metrics, log_softmax

CLASSES = 6


def drawn(n: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores [n, C], and labels [n] drawn from softmax(scores / temperature)."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, CLASSES)) * 3
    noise = rng.gumbel(size=scores.shape)
    return scores, (scores / temperature + noise).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0], ids=["too uncertain", "right", "too certain"])
def test_the_temperature_that_drew_the_labels_is_found(temperature: float) -> None:
    found = ClassCalibration.fit(*drawn(4000, temperature))
    assert found.temperature == pytest.approx(temperature, rel=0.08)
    assert found.note == ""


def test_calibration_lowers_the_loss_and_keeps_the_answers() -> None:
    scores, labels = drawn(500, 4.0)
    fitted = ClassCalibration.fit(scores, labels)
    after = fitted.log_probabilities(scores)
    before_nll = class_metrics(labels, scores, resamples=0)["nll"].value
    best = class_metrics(labels, after, resamples=0)["nll"].value
    assert best < before_nll
    for other in (fitted.temperature * 0.98, fitted.temperature * 1.02):
        assert class_metrics(labels, scores / other, resamples=0)["nll"].value > best
    assert np.array_equal(after.argmax(axis=1), scores.argmax(axis=1))
    np.testing.assert_allclose(fitted.apply(scores).sum(axis=1), 1.0)


@pytest.mark.parametrize(
    ("labels", "words"),
    [([0, 1, 2], "all 3 validation answers are right"), ([1, 2, 0], "do not favour the true class")],
    ids=["all right", "all wrong"],
)
def test_what_cannot_be_fitted_stays_and_is_noted(labels: list[int], words: str) -> None:
    found = ClassCalibration.fit(np.eye(3) * 5, labels)
    assert found.temperature == 1.0
    assert words in found.note


def test_sets_cover_new_pairs_as_promised() -> None:
    scores, labels = drawn(6000, 1.0)
    p = np.exp(log_softmax(scores))
    sets = ConformalSets.fit(p[:3000], labels[:3000], level=0.9)
    found = sets.coverage(p[3000:], labels[3000:])
    assert found.coverage == pytest.approx(0.9, abs=0.02)
    assert 1.0 <= found.mean_size < CLASSES / 2
    assert sets.sets(p[3000:]).sum(axis=1).mean() == found.mean_size


def test_the_least_probability_by_hand() -> None:
    """9 pairs at level 0.8: the 8th best probability of a true class."""
    own = np.arange(1, 10) / 10
    p = np.stack([own, 1 - own], axis=1)
    assert ConformalSets.fit(p, np.zeros(9), level=0.8).least == pytest.approx(0.2)


def test_too_few_pairs_put_every_class_into_the_set() -> None:
    sets = ConformalSets.fit([[0.9, 0.1]], [0], level=0.9)
    assert sets.least == 0.0
    assert sets.sets([[1.0, 0.0]]).tolist() == [[True, True]]


@pytest.mark.parametrize(
    "fitted",
    [ClassCalibration(2.5, "a note"), ConformalSets(0.25, 0.9, 12)],
    ids=["temperature", "sets"],
)
def test_saved_values_read_back(fitted: ClassCalibration | ConformalSets) -> None:
    values = json.loads(json.dumps(fitted.to_dict()))
    assert type(fitted).from_dict(values) == fitted
    with pytest.raises(ValueError, match="expected the keys"):
        type(fitted).from_dict(values | {"more": 1})


@pytest.mark.parametrize("fit", [ClassCalibration.fit, ConformalSets.fit], ids=["temperature", "sets"])
@pytest.mark.parametrize(
    ("scores", "labels", "words"),
    [
        (np.zeros((0, 2)), [], "needs validation pairs"),
        (np.zeros((2, 2)), [0], r"got \[2, 2\] and \[1\]"),
        ([[0, 0], [np.nan, 0]], [0, 1], "row 1 is not finite"),
        (np.zeros((2, 2)), [0, 2], "labels must be 0 to 1: row 1 is 2"),
    ],
    ids=["nothing", "lengths", "not finite", "no class"],
)
def test_bad_input_is_named(fit: Callable[..., Any], scores: Any, labels: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fit(scores, labels)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ClassCalibration(0.0), "temperature must be positive"),
        (lambda: ConformalSets(1.5, 0.9, 1), "least must be a probability"),
        (lambda: ConformalSets.fit([[0.5, 0.5]], [0], level=1.0), "level must lie strictly"),
    ],
    ids=["temperature", "probability", "level"],
)
def test_impossible_values_are_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
