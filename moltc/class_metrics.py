"""Figures of merit for answers that choose one of several classes, each with a bootstrap interval over pairs.

An answer that could not be read counts as wrong in all of them.

Shapes: n pairs, C classes, R resamples handled at once, G classes that occur, K distinct (truth, answer).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moltc.bootstrap import Bootstrap, Floats, Metric, Statistic, joint_statistic, mean_statistic
from moltc.metrics import ece_statistic

Ints = NDArray[np.int64]

NO_CLASS = -1
TOP = 5


def class_metrics(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    valid: ArrayLike | None = None,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, Metric]:
    """Accuracy, macro-F1, Cohen's kappa, top-5 accuracy, NLL, ECE and invalid rate of scored classes.

    Args:
        labels: int [n], class numbers 0 to C - 1.
        scores: [n, C] log-probabilities of the classes, calibrated or not; a constant may be missing in each
            row. Ignored where not ``valid``.
        valid: [n] which answers could be read; all when omitted.
        seed, resamples, level: of the bootstrap, see :class:`~moltc.bootstrap.Bootstrap`.

    The class with the highest score is answered, the first of several. Macro-F1 is the mean over the classes
    that occur in the truth, of the resample where one is drawn. A true class is in the top 5 if fewer than
    five score higher. The ECE has ten bins of equal width over the probability of the answered class. An
    invalid answer is charged the largest NLL of any valid one, at least log C, and is certain for the ECE.

    Raises:
        ValueError: labels that are no class, lengths that differ, fewer than two classes, scores of a valid
            answer that are not finite; the message names the row.
    """
    s = _scores(scores)
    y = _class_numbers("labels", labels, s.shape[1])
    is_valid = np.ones(len(y), dtype=np.bool_) if valid is None else np.asarray(valid, dtype=np.bool_)
    if len(s) != len(y) or is_valid.shape != y.shape:
        raise ValueError(
            f"{len(y)} labels, but scores have shape {list(s.shape)} and valid {list(is_valid.shape)}"
        )
    if (bad := np.flatnonzero(is_valid & ~np.isfinite(s).all(axis=1))).size:
        raise ValueError(
            f"scores of row {bad[0]} are not all finite ({bad.size} such rows):"
            " mark unreadable answers as not valid"
        )
    s = log_softmax(np.where(is_valid[:, None], s, 0.0))
    predicted = np.where(is_valid, s.argmax(axis=1), NO_CLASS)
    own = np.take_along_axis(s, y[:, None], axis=1)[:, 0]  # [n]
    in_top = ((s > own[:, None]).sum(axis=1) < TOP) & is_valid
    charge = max(float(np.log(s.shape[1])), float(-own[is_valid].min(initial=0.0)))
    columns = {
        "top5_accuracy": in_top.astype(np.float64),
        "nll": np.where(is_valid, -own, charge),
    }
    confidence = np.where(is_valid, np.exp(s.max(axis=1)), 1.0)
    parts = [mean_statistic(columns), ece_statistic(confidence, (predicted == y).astype(np.float64))]
    return _estimate(y, predicted, parts, Bootstrap(seed, resamples, level))


def decision_metrics(
    labels: ArrayLike,
    predicted: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, Metric]:
    """Accuracy, macro-F1, Cohen's kappa and invalid rate of classes that are answered without scores.

    Args:
        labels: int [n], class numbers.
        predicted: int [n], answered class numbers, -1 for an answer that could not be read.
        seed, resamples, level: of the bootstrap.

    Raises:
        ValueError: class numbers that are none, or lengths that differ.
    """
    return _estimate(*_matching(labels, predicted), [], Bootstrap(seed, resamples, level))


class ClassScores(NamedTuple):
    """F1 [G] and number of pairs [G] of the classes [G] that occur in the truth."""

    number: Ints
    f1: Floats
    support: Ints


def per_class_f1(labels: ArrayLike, predicted: ArrayLike) -> ClassScores:
    """F1 and support of every class that occurs in ``labels`` [n]; -1 in ``predicted`` [n] is no class."""
    y, p = _matching(labels, predicted)
    confusion = _Confusion(y, p)
    right, truth, answered = confusion.counts(np.ones((1, len(y))))
    occurs = truth[0] > 0
    f1 = 2 * right[0, occurs] / (truth + answered)[0, occurs]
    return ClassScores(confusion.numbers[occurs], f1, truth[0, occurs].astype(np.int64))


class ConfusionShares(NamedTuple):
    """How the largest classes are answered: their numbers [G], and the share [G, G + 1] of each class that is
    answered by each of them; the last column holds all other answers."""

    number: Ints
    share: Floats


def confusion_shares(labels: ArrayLike, predicted: ArrayLike, top: int = 20) -> ConfusionShares:
    """Answers of the ``top`` classes with most pairs, largest first; every row adds up to 1.

    ``labels`` [n] and ``predicted`` [n] are class numbers, -1 in ``predicted`` an answer that could not be
    read.
    """
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    y, p = _matching(labels, predicted)
    number, support = np.unique(y, return_counts=True)
    shown = number[np.argsort(-support, kind="stable")[:top]]
    place = np.full(max(y.max(), p.max()) + 2, len(shown))  # class number -> row; -1 is the last entry
    place[shown] = np.arange(len(shown))
    known = place[y] < len(shown)
    cells = np.ravel_multi_index((place[y[known]], place[p[known]]), (len(shown), len(shown) + 1))
    counts = np.bincount(cells, minlength=len(shown) * (len(shown) + 1)).reshape(len(shown), -1)
    return ConfusionShares(shown, counts / counts.sum(axis=1, keepdims=True))


def log_softmax(scores: ArrayLike) -> Floats:
    """Log-probabilities [n, C] of scores [n, C]."""
    s = np.asarray(scores, dtype=np.float64)
    s = s - s.max(axis=1, keepdims=True)
    return s - np.log(np.exp(s).sum(axis=1, keepdims=True))


class _Confusion:
    """Weighted counts of truth and answer for many row weights at once.

    Pairs are grouped by (truth, answer), so that the weights are summed once; K groups are far fewer than n.
    """

    def __init__(self, y: Ints, p: Ints) -> None:
        self.numbers = np.setdiff1d(np.union1d(y, p), NO_CLASS)  # [G]
        cell = y * (self.numbers.max() + 2) + p + 1
        self._order = np.argsort(cell, kind="stable")
        self._starts = np.flatnonzero(np.diff(cell[self._order], prepend=-1))  # [K]
        first = self._order[self._starts]
        self._truth = (y[first, None] == self.numbers).astype(np.float64)  # [K, G]
        self._answer = (p[first, None] == self.numbers).astype(np.float64)  # [K, G]

    def counts(self, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Right answers, true members and answers of each class, [R, G] each, for row weights [R, n]."""
        cells = np.add.reduceat(weights[:, self._order], self._starts, axis=1)  # [R, K]
        return cells @ (self._truth * self._answer), cells @ self._truth, cells @ self._answer

    def statistic(self, weights: Floats) -> dict[str, Floats]:
        """Accuracy, macro-F1 over classes that occur, and kappa = (accuracy - chance) / (1 - chance)."""
        right, truth, answered = self.counts(weights)
        total = weights.sum(axis=1)
        f1 = 2 * right / np.maximum(truth + answered, 1)
        accuracy = right.sum(axis=1) / total
        chance = (truth * answered).sum(axis=1) / total**2
        with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 = NaN: one class, always answered
            kappa = (accuracy - chance) / (1 - chance)
        return {"accuracy": accuracy, "macro_f1": f1.sum(axis=1) / (truth > 0).sum(axis=1), "kappa": kappa}


def _estimate(y: Ints, p: Ints, parts: list[Statistic], bootstrap: Bootstrap) -> dict[str, Metric]:
    invalid = mean_statistic({"invalid_rate": (p == NO_CLASS).astype(np.float64)})
    return bootstrap.estimate(joint_statistic([_Confusion(y, p).statistic, *parts, invalid]), len(y))


def _scores(scores: ArrayLike) -> Floats:
    s = np.asarray(scores, dtype=np.float64)
    if s.ndim != 2 or s.shape[1] < 2:
        raise ValueError(f"scores must be [n, C] with at least two classes, got shape {list(s.shape)}")
    return s


def _matching(labels: ArrayLike, predicted: ArrayLike) -> tuple[Ints, Ints]:
    y, p = _class_numbers("labels", labels), _class_numbers("predicted", predicted, lowest=NO_CLASS)
    if len(y) != len(p):
        raise ValueError(f"{len(y)} labels, but {len(p)} predicted classes")
    return y, p


def _class_numbers(name: str, values: ArrayLike, num_classes: int | None = None, *, lowest: int = 0) -> Ints:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or not vector.size:
        raise ValueError(f"{name} must be [n] with at least one pair, got shape {list(vector.shape)}")
    below = np.inf if num_classes is None else num_classes
    fine = (vector >= lowest) & (vector < below) & (vector == np.floor(vector))
    if (bad := np.flatnonzero(~fine)).size:
        upper = "" if num_classes is None else f" to {num_classes - 1}"
        raise ValueError(
            f"{name} must be class numbers from {lowest}{upper}: row {bad[0]} is {vector[bad[0]]:g}"
            f" ({bad.size} such rows)"
        )
    return vector.astype(np.int64)
