"""Calibration of class answers on validation pairs: certainty, and sets of classes that hold the truth.

Temperature scaling follows Guo et al. (ICML 2017, section 4.2); the sets are split conformal with the
least ambiguous score, one minus the probability of the true class (Sadinle et al., JASA 114, 2019).

Shapes: n pairs, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from moltc.bootstrap import Floats
from moltc.calibration import conformal_rank, require_keys
from moltc.class_metrics import log_softmax

Bools = NDArray[np.bool_]

_LOG_TEMPERATURE = 7.0  # temperatures between 1/1100 and 1100


@dataclass(frozen=True)
class ClassCalibration:
    """p = softmax(scores / temperature): the answered class stays, its certainty changes.

    Args:
        temperature: above 1 makes answers less certain, below 1 more; positive.
        note: how it came about, empty after an ordinary fit.
    """

    temperature: float = 1.0
    note: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature must be positive and finite, got {self.temperature}")

    @classmethod
    def fit(cls, scores: ArrayLike, labels: ArrayLike) -> ClassCalibration:
        """Fit the temperature by maximum likelihood.

        Args:
            scores: [n, C] log-probabilities of the classes; a constant may be missing in each row.
            labels: int [n], class numbers.

        The loss is convex in 1 / temperature. It has no minimum where every true class scores highest (more
        certain is always better), nor where true classes do not score above the average class (less certain
        is); scores then stay as they are, and the note says why.

        Raises:
            ValueError: no pairs, lengths that differ, labels that are no class, scores that are not finite.
        """
        s, y = _checked(scores, labels)
        own = s[np.arange(len(y)), y]
        if (own >= s.max(axis=1)).all():
            return cls(note=f"not calibrated: all {len(y)} validation answers are right")
        if (own - s.mean(axis=1)).mean() <= 0:
            return cls(note="not calibrated: validation scores do not favour the true class")

        def loss(log_temperature: float) -> float:
            return -float(log_softmax(s / math.exp(log_temperature))[np.arange(len(y)), y].mean())

        bounds = (-_LOG_TEMPERATURE, _LOG_TEMPERATURE)
        return cls(math.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))

    def log_probabilities(self, scores: ArrayLike) -> Floats:
        """Calibrated log-probabilities [n, C] of scores [n, C]."""
        return log_softmax(np.asarray(scores, dtype=np.float64) / self.temperature)

    def apply(self, scores: ArrayLike) -> Floats:
        """Calibrated probabilities [n, C] of scores [n, C]."""
        return np.exp(self.log_probabilities(scores))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; :meth:`from_dict` is the mirror."""
        return {"temperature": self.temperature, "note": self.note}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClassCalibration:
        """Read what :meth:`to_dict` wrote; unknown or missing keys are an error."""
        require_keys(values, {"temperature", "note"})
        return cls(float(values["temperature"]), str(values["note"]))


class SetCoverage(NamedTuple):
    """How often sets of classes hold the true one, and how many classes they hold on average."""

    coverage: float
    mean_size: float


@dataclass(frozen=True)
class ConformalSets:
    """Sets of classes that hold the true one of new, exchangeable pairs with a chosen probability.

    Args:
        least: a class is in the set if its probability is at least this; 0 puts every class in.
        level: the promised coverage.
        pairs: how many validation pairs it was chosen on.
    """

    least: float
    level: float
    pairs: int

    def __post_init__(self) -> None:
        if not 0 <= self.least <= 1:
            raise ValueError(f"least must be a probability, got {self.least}")
        if not 0 < self.level < 1:
            raise ValueError(f"level must lie strictly between 0 and 1, got {self.level}")

    @classmethod
    def fit(cls, probabilities: ArrayLike, labels: ArrayLike, level: float = 0.9) -> ConformalSets:
        """Choose the least probability on validation pairs that took no part in training.

        Args:
            probabilities: [n, C], calibrated or not.
            labels: int [n], class numbers.
            level: wanted coverage.

        Where n pairs are too few to promise the level every class is in every set.

        Raises:
            ValueError: no pairs, lengths that differ, labels that are no class, values that are not finite.
        """
        p, y = _checked(probabilities, labels)
        own = np.sort(p[np.arange(len(y)), y])[::-1]
        rank = conformal_rank(len(y), level)
        return cls(float(own[rank - 1]) if rank <= len(y) else 0.0, level, len(y))

    def sets(self, probabilities: ArrayLike) -> Bools:
        """Which classes are in the set of each pair [n, C]; a set may be empty where no class is probable."""
        return np.asarray(probabilities, dtype=np.float64) >= self.least

    def coverage(self, probabilities: ArrayLike, labels: ArrayLike) -> SetCoverage:
        """Share of pairs whose set holds the true class, and the mean size of the sets."""
        p, y = _checked(probabilities, labels)
        chosen = self.sets(p)
        return SetCoverage(float(chosen[np.arange(len(y)), y].mean()), float(chosen.sum(axis=1).mean()))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; :meth:`from_dict` is the mirror."""
        return {"least": self.least, "level": self.level, "pairs": self.pairs}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ConformalSets:
        """Read what :meth:`to_dict` wrote; unknown or missing keys are an error."""
        require_keys(values, {"least", "level", "pairs"})
        return cls(float(values["least"]), float(values["level"]), int(values["pairs"]))


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if s.ndim != 2 or y.shape != s.shape[:1]:
        raise ValueError(f"scores must be [n, C] and labels [n], got {list(s.shape)} and {list(y.shape)}")
    if not len(y):
        raise ValueError("calibration needs validation pairs, got none")
    if (bad := np.flatnonzero(~np.isfinite(s).all(axis=1))).size:
        raise ValueError(f"row {bad[0]} is not finite: leave invalid answers out of the calibration")
    if (bad := np.flatnonzero(~np.isin(y, np.arange(s.shape[1])))).size:
        raise ValueError(f"labels must be 0 to {s.shape[1] - 1}: row {bad[0]} is {y[bad[0]]:g}")
    return s, y.astype(np.int64)
