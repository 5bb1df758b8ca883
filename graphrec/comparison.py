"""Models side by side on the same rows: intervals, and paired differences that row noise cannot blur.

Two models rank the same rows, so their difference is taken row by row, with its bootstrap interval (Efron &
Tibshirani 1993) and a randomisation test (Fisher 1935), in which each row's difference turns its sign by
lot.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphrec.results import Evaluation, Task
from moltc.backbone.bootstrap import Bootstrap, Metric, mean_statistic

Floats = NDArray[np.float64]
ROUNDS = 2_000
SIGNS_AT_ONCE = 2_000_000


class Difference(NamedTuple):
    """One model minus another, in one metric.

    Attributes:
        metric: mean difference with its interval.
        p: share of random signs that give a difference at least as large, two-sided.
    """

    metric: Metric
    p: float


@dataclass(frozen=True)
class Side:
    """One line of a comparison.

    Attributes:
        label: of the model.
        runs: how many seeds were averaged, row by row.
        metrics: with intervals.
        differences: to the first line, by metric; empty for the first.
    """

    label: str
    runs: int
    metrics: dict[str, Metric]
    differences: dict[str, Difference]


def compare(
    evaluations: Sequence[Evaluation], *, join_seeds: bool = False, bootstrap: Bootstrap | None = None
) -> list[Side]:
    """Metrics of every model that all of them have, and paired differences to the first model.

    Args:
        evaluations: of the same rows.
        join_seeds: average runs of the same label, row by row.
        bootstrap: how intervals are drawn.

    Raises:
        ValueError: the rows are not the same ranking task.
    """
    if not evaluations:
        raise ValueError("there is nothing to compare: name at least one run")
    _check_same_task(evaluations)
    bootstrap = bootstrap or Bootstrap()
    sides: list[Side] = []
    first: dict[str, Floats] = {}
    shared = set.intersection(*(set(evaluation.columns) for evaluation in evaluations))
    for label, runs in _labelled(evaluations, join_seeds):
        columns = _mean_columns(runs, shared)
        metrics = bootstrap.estimate(mean_statistic(columns), len(runs[0]))
        differences = {
            name: paired_difference(columns[name], first[name], bootstrap) for name in columns if first
        }
        first = first or columns
        sides.append(Side(label, len(runs), metrics, differences))
    return sides


def paired_difference(ours: Floats, theirs: Floats, bootstrap: Bootstrap | None = None) -> Difference:
    """Mean of ``ours - theirs`` over rows ``[B]``, its interval, and how easily chance gives as much."""
    bootstrap = bootstrap or Bootstrap()
    gaps = np.asarray(ours, dtype=np.float64) - theirs
    metric = bootstrap.estimate(mean_statistic({"difference": gaps}), len(gaps))["difference"]
    return Difference(metric, _randomisation_p(gaps[gaps != 0], bootstrap.seed))


def _randomisation_p(gaps: Floats, seed: int) -> float:
    """Two-sided, from :data:`ROUNDS` draws; rows without a difference change nothing and are left out."""
    if not len(gaps):
        return 1.0
    rng = np.random.default_rng(seed)
    observed, reached, at_once = abs(gaps.sum()), 0, max(1, SIGNS_AT_ONCE // len(gaps))
    for start in range(0, ROUNDS, at_once):
        signs = rng.integers(0, 2, size=(min(at_once, ROUNDS - start), len(gaps)), dtype=np.int8)
        sums = np.abs((2.0 * signs - 1) @ gaps)
        reached += int((sums >= observed * (1 - 1e-12)).sum())
    return (reached + 1) / (ROUNDS + 1)


def _check_same_task(evaluations: Sequence[Evaluation]) -> None:
    first = evaluations[0].task
    for other in (evaluation.task for evaluation in evaluations[1:]):
        if (other.hash, other.split) != (first.hash, first.split):
            raise ValueError(
                f"figures of different ranking tasks are not compared: {first.label} ranked {_told(first)}, "
                f"{other.label} {_told(other)}"
            )


def _told(task: Task) -> str:
    return f"{task.data} ({task.protocol}, {task.split}, hash {task.hash[:12]})"


def _labelled(evaluations: Sequence[Evaluation], join_seeds: bool) -> list[tuple[str, list[Evaluation]]]:
    """Evaluations by the label they are shown under."""
    if join_seeds:
        found: dict[str, list[Evaluation]] = {}
        for evaluation in evaluations:
            found.setdefault(evaluation.task.label, []).append(evaluation)
        return list(found.items())
    labels = [evaluation.task.label for evaluation in evaluations]
    named = [
        f"{e.task.label} (seed {e.task.seed})" if labels.count(e.task.label) > 1 else e.task.label
        for e in evaluations
    ]
    return [(label, [evaluation]) for label, evaluation in zip(named, evaluations, strict=True)]


def _mean_columns(runs: Sequence[Evaluation], names: Collection[str]) -> dict[str, Floats]:
    """Each named metric row by row, averaged over runs, ``[B]``."""
    tables = [run.columns for run in runs]
    return {name: np.mean([table[name] for table in tables], axis=0) for name in tables[0] if name in names}
