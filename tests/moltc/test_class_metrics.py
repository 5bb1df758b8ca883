"""Metrics of class answers: against another library, invalid answers, intervals, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score, log_loss, top_k_accuracy_score

from moltc.class_metrics import (
    NO_CLASS,
    class_metrics,
    confusion_shares,
    decision_metrics,
    log_softmax,
    per_class_f1,
)
from moltc.metrics import METRICS

CLASSES = 8
RNG = np.random.default_rng(0)
LABELS = np.minimum(RNG.geometric(0.35, size=300) - 1, CLASSES - 2)  # the last class never occurs
SCORES = RNG.normal(size=(300, CLASSES))
SCORES[np.arange(300), LABELS] += 1.5
PREDICTED = SCORES.argmax(axis=1)


def values(labels: Any, scores: Any, **options: Any) -> dict[str, float]:
    return {name: m.value for name, m in class_metrics(labels, scores, resamples=0, **options).items()}


def test_metrics_are_those_of_another_library() -> None:
    found = values(LABELS, SCORES)
    known = np.unique(LABELS)
    everything = np.arange(CLASSES)
    assert found["accuracy"] == pytest.approx(np.mean(LABELS == PREDICTED))
    assert found["macro_f1"] == pytest.approx(f1_score(LABELS, PREDICTED, labels=known, average="macro"))
    assert found["kappa"] == pytest.approx(cohen_kappa_score(LABELS, PREDICTED))
    assert found["nll"] == pytest.approx(log_loss(LABELS, np.exp(log_softmax(SCORES)), labels=everything))
    assert found["top5_accuracy"] == pytest.approx(
        top_k_accuracy_score(LABELS, SCORES, k=5, labels=everything)
    )
    assert found["invalid_rate"] == 0.0
    assert found.keys() <= METRICS.keys()


def test_a_constant_in_each_row_changes_nothing() -> None:
    shift = RNG.normal(size=(300, 1)) * 50
    for name, value in values(LABELS, SCORES + shift).items():
        assert value == pytest.approx(values(LABELS, SCORES)[name]), name


def test_the_calibration_error_compares_certainty_and_share_of_right_answers() -> None:
    certain = np.log([[0.75, 0.25]] * 4)
    assert values([0, 0, 0, 1], certain)["ece"] == pytest.approx(0.0)
    assert values([0, 1, 1, 1], certain)["ece"] == pytest.approx(0.5)


def test_per_class_f1_lists_the_classes_that_occur() -> None:
    found = per_class_f1(LABELS, PREDICTED)
    assert found.number.tolist() == np.unique(LABELS).tolist()
    assert found.support.tolist() == np.bincount(LABELS)[found.number].tolist()
    np.testing.assert_allclose(found.f1, f1_score(LABELS, PREDICTED, labels=found.number, average=None))


def test_confusion_of_the_largest_classes() -> None:
    """Promise: rows add up to 1; answers outside the shown classes, and invalid ones, are in the last
    column."""
    labels = [2, 2, 2, 2, 0, 0, 1]
    found = confusion_shares(labels, [2, 0, 1, NO_CLASS, 0, 2, 1], top=2)
    assert found.number.tolist() == [2, 0]
    assert found.share.tolist() == [[0.25, 0.25, 0.5], [0.5, 0.5, 0.0]]
    everything = confusion_shares(LABELS, PREDICTED)
    np.testing.assert_allclose(everything.share.sum(axis=1), 1.0)
    right = np.diag(everything.share) @ np.bincount(LABELS)[everything.number] / len(LABELS)
    assert right == pytest.approx(np.mean(LABELS == PREDICTED))
    with pytest.raises(ValueError, match="top must be at least 1"):
        confusion_shares(labels, labels, top=0)


def test_invalid_answers_count_as_wrong_everywhere() -> None:
    """Promise: no invalid answer is lost, and none does better than the worst valid one."""
    valid = np.ones(300, dtype=bool)
    valid[:60] = False
    scores = np.where(valid[:, None], SCORES, np.nan)
    found, all_valid = values(LABELS, scores, valid=valid), values(LABELS, SCORES)
    assert found["invalid_rate"] == pytest.approx(0.2)
    assert found["accuracy"] == pytest.approx(np.mean((LABELS == PREDICTED) & valid))
    assert all(found[name] < all_valid[name] for name in ("macro_f1", "kappa", "top5_accuracy"))
    losses = -log_softmax(SCORES[60:])[np.arange(240), LABELS[60:]]
    assert found["nll"] == pytest.approx((losses.sum() + 60 * losses.max()) / 300)
    decisions = decision_metrics(LABELS, np.where(valid, PREDICTED, NO_CLASS), resamples=0)
    assert {name: m.value for name, m in decisions.items()} == {name: found[name] for name in decisions}


def test_nothing_but_invalid_answers_is_nothing_right() -> None:
    found = values([0, 1], np.zeros((2, 4)), valid=[False, False])
    assert (found["accuracy"], found["macro_f1"], found["top5_accuracy"], found["ece"]) == (0, 0, 0, 1)
    assert found["nll"] == pytest.approx(np.log(4))


def test_intervals_are_those_of_resampled_pairs() -> None:
    """Promise: counts grouped by truth and answer resample to the same figures as the pairs themselves."""
    drawn = np.random.default_rng(7).integers(300, size=(60, 300))
    direct = [
        [
            f1_score(LABELS[rows], PREDICTED[rows], labels=np.unique(LABELS[rows]), average="macro"),
            cohen_kappa_score(LABELS[rows], PREDICTED[rows]),
        ]
        for rows in drawn
    ]
    found = class_metrics(LABELS, SCORES, seed=7, resamples=60)
    low, high = np.quantile(direct, [0.025, 0.975], axis=0)
    np.testing.assert_allclose([found["macro_f1"].low, found["kappa"].low], low)
    np.testing.assert_allclose([found["macro_f1"].high, found["kappa"].high], high)


def test_chance_agreement_is_undefined_where_one_class_is_always_answered() -> None:
    assert np.isnan(decision_metrics([2, 2], [2, 2], resamples=0)["kappa"].value)


@pytest.mark.parametrize(
    ("labels", "scores", "options", "words"),
    [
        ([0, 2], np.zeros((2, 2)), {}, "labels must be class numbers from 0 to 1: row 1 is 2"),
        ([0, 0.5], np.zeros((2, 2)), {}, "row 1 is 0.5"),
        ([0], np.zeros((2, 2)), {}, r"1 labels, but scores have shape \[2, 2\]"),
        ([0, 1], np.zeros((2, 2)), {"valid": [True]}, r"valid \[1\]"),
        ([0, 1], [[0, np.nan], [0, 0]], {}, "scores of row 0 are not all finite"),
        ([0, 1], [[0, 1]], {}, "1 labels|2 labels"),
        ([0, 0], np.zeros((2, 1)), {}, "at least two classes"),
        ([], np.zeros((0, 2)), {}, "at least one pair"),
    ],
    ids=["no class", "half", "rows", "valid", "not finite", "fewer scores", "one class", "nothing"],
)
def test_bad_input_is_named(labels: Any, scores: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        class_metrics(labels, scores, **options)


def test_decisions_are_class_numbers_or_none() -> None:
    with pytest.raises(ValueError, match="predicted must be class numbers from -1: row 0 is -2"):
        decision_metrics([0], [-2])
    with pytest.raises(ValueError, match="2 labels, but 1 predicted"):
        decision_metrics([0, 1], [0])
