"""Calibration on validation answers: probabilities of yes, intervals around answered numbers.

Platt scaling follows Platt (1999) with the numerically safe Newton iteration of Lin, Lin & Weng (Machine
Learning 68, 2007); the intervals are split conformal (Lei et al., JASA 113, 2018). The same for answers that
choose a class is in :mod:`moltc.class_calibration`.

Shapes: n validation pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moltc.metrics import sigmoid

Floats = NDArray[np.float64]

_NEWTON_STEPS = 100


@dataclass(frozen=True)
class PlattCalibration:
    """p(yes) = sigmoid((log-odds + bias) / temperature).

    Args:
        temperature: above 1 makes answers less certain, below 1 more; positive, so that the ranking never
            changes.
        bias: added to the log-odds, in nats.
        note: how the two numbers came about, empty after an ordinary fit.
    """

    temperature: float = 1.0
    bias: float = 0.0
    note: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature must be positive and finite, got {self.temperature}")
        if not math.isfinite(self.bias):
            raise ValueError(f"bias must be finite, got {self.bias}")

    @classmethod
    def fit(cls, log_odds: ArrayLike, labels: ArrayLike) -> PlattCalibration:
        """Fit temperature and bias by maximum likelihood.

        Args:
            log_odds: [n] log p(yes) - log p(no) of the validation pairs.
            labels: [n] 0 or 1.

        The targets are Platt's (N₊ + 1) / (N₊ + 2) and 1 / (N₋ + 2), so the optimum is finite even when the
        two classes are perfectly separated. Where the scores cannot support a fit the outcome is plain and
        noted: one class only leaves the log-odds as they are; scores that do not rise with the label keep
            temperature 1 and fit the bias.

        Raises:
            ValueError: no pairs, lengths that differ, labels other than 0 and 1, log-odds that are not
                finite.
        """
        x, y = _checked(log_odds, labels)
        positives = int(y.sum())
        if positives in (0, len(y)):
            only = "yes" if positives else "no"
            return cls(note=f"not calibrated: all {len(y)} validation labels are {only}")
        targets = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (len(y) - positives + 2))
        spread = float(x.std())
        if spread > 0:
            slope, offset = _fit_line((x - x.mean()) / spread, targets)
            if slope > 1e-6:  # per standard deviation of the log-odds
                return cls(temperature=spread / slope, bias=offset * spread / slope - float(x.mean()))
        return cls(
            bias=_fit_bias(x, targets), note="bias only: validation log-odds do not rise with the label"
        )

    def log_odds(self, log_odds: ArrayLike) -> Floats:
        """Calibrated log-odds, same shape."""
        return (np.asarray(log_odds, dtype=np.float64) + self.bias) / self.temperature

    def apply(self, log_odds: ArrayLike) -> Floats:
        """Calibrated probability of yes, same shape."""
        return sigmoid(self.log_odds(log_odds))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; :meth:`from_dict` is the mirror."""
        return {"temperature": self.temperature, "bias": self.bias, "note": self.note}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PlattCalibration:
        """Read what :meth:`to_dict` wrote; unknown or missing keys are an error."""
        require_keys(values, {"temperature", "bias", "note"})
        return cls(float(values["temperature"]), float(values["bias"]), str(values["note"]))


@dataclass(frozen=True)
class SplitConformal:
    """Symmetric intervals around a predicted number that cover new, exchangeable pairs with a chosen
    probability.

    Args:
        residuals: absolute validation errors in ascending order, in the unit of the label.
    """

    residuals: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.residuals:
            raise ValueError("conformal intervals need at least one validation residual")
        values = np.asarray(self.residuals)
        if not np.isfinite(values).all() or (values < 0).any() or (np.diff(values) < 0).any():
            raise ValueError("residuals must be finite, not negative and in ascending order")

    @classmethod
    def fit(cls, truth: ArrayLike, prediction: ArrayLike) -> SplitConformal:
        """Keep the absolute errors [n] of validation predictions that took no part in training.

        Raises:
            ValueError: no pairs, lengths that differ, values that are not finite.
        """
        y, p = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
        if y.ndim != 1 or y.shape != p.shape:
            raise ValueError(
                f"truth and prediction must both be [n], got {list(y.shape)} and {list(p.shape)}"
            )
        if (bad := np.flatnonzero(~np.isfinite(p - y))).size:
            row = bad[0]
            raise ValueError(f"row {row}: truth {y[row]} and prediction {p[row]} must both be finite")
        return cls(tuple(np.sort(np.abs(p - y)).tolist()))

    def half_width(self, level: float = 0.9) -> float:
        """Half the width of the interval, in the unit of the label.

        It is the ceil((n + 1) level)-th smallest residual (Lei et al., 2018, eq. 5), which covers a new pair
        with probability at least ``level`` if the residuals had no part in training; infinite where n
        residuals are too few to promise that, i.e. level > n / (n + 1).
        """
        rank = conformal_rank(len(self.residuals), level)
        return self.residuals[rank - 1] if rank <= len(self.residuals) else math.inf

    def intervals(self, prediction: ArrayLike, level: float = 0.9) -> Floats:
        """Intervals [n, 2] around predictions [n]."""
        p = np.asarray(prediction, dtype=np.float64)
        half = self.half_width(level)
        return np.stack([p - half, p + half], axis=-1)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; :meth:`from_dict` is the mirror."""
        return {"residuals": list(self.residuals)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SplitConformal:
        """Read what :meth:`to_dict` wrote; unknown or missing keys are an error."""
        require_keys(values, {"residuals"})
        return cls(tuple(float(value) for value in values["residuals"]))


def conformal_rank(n: int, level: float) -> int:
    """Which of n ascending scores bounds a new one with probability at least ``level``: ceil((n + 1) level).

    More than n where n scores are too few to promise that (Lei et al., 2018, eq. 5).
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie strictly between 0 and 1, got {level}")
    return math.ceil(round((n + 1) * level, 9))  # 10 · 0.9 is rank 9, not 10


def require_keys(values: Mapping[str, Any], keys: set[str]) -> None:
    """Refuse saved values with unknown or missing keys."""
    if set(values) != keys:
        raise ValueError(f"expected the keys {sorted(keys)}, got {sorted(values)}")


def _fit_line(x: Floats, targets: Floats) -> tuple[float, float]:
    """Slope and offset that minimise the logistic loss of sigmoid(slope x + offset) against soft targets.

    Newton steps with halving: the loss is convex and, with targets strictly between 0 and 1 and standardised
    x, has a finite minimum.
    """
    design = np.stack([x, np.ones_like(x)], axis=1)  # [n, 2]

    def loss(weights: Floats) -> float:
        logits = design @ weights
        return float(np.logaddexp(0.0, logits).sum() - targets @ logits)

    weights = np.zeros(2)
    current = loss(weights)
    for _ in range(_NEWTON_STEPS):
        p = sigmoid(design @ weights)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, design.T @ (p - targets))
        size = 1.0
        while (proposed := loss(weights - size * step)) > current and size > 1e-10:
            size /= 2
        if current - proposed <= 1e-13 * (1 + abs(current)):
            return float(weights[0]), float(weights[1])
        weights, current = weights - size * step, proposed
    raise RuntimeError(f"calibration did not converge in {_NEWTON_STEPS} Newton steps (loss {current:.6g})")


def _fit_bias(x: Floats, targets: Floats) -> float:
    """The bias b at which the mean of sigmoid(x + b), rising in b, meets the mean target; by bisection."""
    low, high = -float(x.max()) - 50.0, -float(x.min()) + 50.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        if sigmoid(x + middle).mean() < targets.mean():
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _checked(log_odds: ArrayLike, labels: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(log_odds, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"log_odds and labels must both be [n], got {list(x.shape)} and {list(y.shape)}")
    if not len(x):
        raise ValueError("calibration needs validation pairs, got none")
    if (bad := np.flatnonzero(~np.isfinite(x))).size:
        raise ValueError(
            f"log_odds of row {bad[0]} is {x[bad[0]]}: leave invalid answers out of the calibration"
        )
    if (bad := np.flatnonzero((y != 0) & (y != 1))).size:
        raise ValueError(f"labels must be 0 or 1: row {bad[0]} is {y[bad[0]]:g}")
    return x, y
