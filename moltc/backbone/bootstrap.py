"""Bootstrap intervals over rows (Efron & Tibshirani, 1993, percentile method), many resamples at a time.

A statistic is a function of row weights. Its value uses weight one for every pair; a resample weights each
pair by how often it was drawn. Value and interval therefore come from the same code.

Shapes: n pairs, R resamples handled at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], dict[str, Floats]]
"""Row weights [R, n] -> for each metric one value per resample [R]; NaN where it is undefined."""

_WEIGHTS_AT_ONCE = 2_000_000


class Metric(NamedTuple):
    """A value with its bootstrap interval; NaN where undefined (R² of one pair, AUC of one class)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn.

    Args:
        seed: of the resamples; the same seed and number of pairs give the same resamples for every model.
        resamples: number of resamples; 0 leaves the bounds NaN.
        level: coverage of the interval, strictly between 0 and 1.
    """

    seed: int = 0
    resamples: int = 1000
    level: float = 0.95

    def __post_init__(self) -> None:
        if not 0.0 < self.level < 1.0:
            raise ValueError(f"level must lie strictly between 0 and 1, got {self.level}")
        if self.resamples < 0:
            raise ValueError(f"resamples must not be negative, got {self.resamples}")

    def estimate(self, statistic: Statistic, n: int) -> dict[str, Metric]:
        """Value and interval of every metric that ``statistic`` computes for ``n`` pairs.

        Resamples on which a metric is undefined do not enter its interval.
        """
        if n < 1:
            raise ValueError("metrics need at least one pair, got none")
        values = statistic(np.ones((1, n)))
        draws: dict[str, list[Floats]] = {name: [] for name in values}
        rng = np.random.default_rng(self.seed)
        at_once = max(1, _WEIGHTS_AT_ONCE // n)
        for start in range(0, self.resamples, at_once):
            for name, drawn in statistic(_resample(rng, min(at_once, self.resamples - start), n)).items():
                draws[name].append(drawn)
        return {
            name: Metric(float(value[0]), *_percentiles(draws[name], self.level))
            for name, value in values.items()
        }


def mean_statistic(columns: Mapping[str, Floats]) -> Statistic:
    """Weighted means of per-pair columns [n]."""

    def statistic(weights: Floats) -> dict[str, Floats]:
        return {name: weights @ column / weights.sum(axis=1) for name, column in columns.items()}

    return statistic


def joint_statistic(parts: Sequence[Statistic]) -> Statistic:
    """Several statistics under the same weights."""

    def statistic(weights: Floats) -> dict[str, Floats]:
        return {name: value for part in parts for name, value in part(weights).items()}

    return statistic


def _resample(rng: np.random.Generator, rows: int, n: int) -> Floats:
    """How often each of n pairs occurs in each of ``rows`` resamples of size n: [rows, n]."""
    drawn = rng.integers(n, size=(rows, n))
    drawn += n * np.arange(rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def _percentiles(draws: Sequence[Floats], level: float) -> tuple[float, float]:
    drawn = np.concatenate(draws) if draws else np.empty(0)
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size:
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
