"""Settings chosen on the validation rows: every combination of a grid is tried, the best is kept.

What only changes how a model scores, not what it learns, is tried without fitting again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np

from graphrec.data import RecommendationData, Rows
from graphrec.ranking import metric_value, protocol_ranks
from graphrec.recommender import Recommender

Settings = dict[str, Any]
VALIDATION_ROWS = 5_000


class Trial(NamedTuple):
    """One combination and its validation score."""

    settings: Settings
    score: float


def tune(
    model: Recommender,
    data: RecommendationData,
    grid: Mapping[str, Sequence[Any]],
    *,
    fit: Callable[[Recommender], Any] | None = None,
    rows: int = VALIDATION_ROWS,
    seed: int = 0,
) -> list[Trial]:
    """Try a grid and leave the best settings in ``model``, which is to be fitted again.

    Args:
        model: its settings outside the grid stay as they are.
        data: the training part is fitted, the validation rows choose, by the protocol's own metric.
        grid: name of a setting -> values.
        fit: how the model is fitted; default: without further options.
        rows: validation rows that are ranked at most, the same ones for all.
        seed: of their choice.

    Returns:
        All trials, best first; equal ones in the order of the grid.
    """
    names = {field.name for field in fields(model.config)}
    if odd := sorted(grid.keys() - names):
        raise ValueError(f"{model.name} has no setting {', '.join(odd)}; it has {', '.join(sorted(names))}")
    if empty := [name for name, values in grid.items() if not len(values)]:
        raise ValueError(f"the grid has no value for {', '.join(empty)}")
    valid = fixed_rows(data.valid, rows, seed)
    start, trials = model.config, []
    for learned in _combinations(grid, lambda name: name not in model.scoring_settings):
        model.config = replace(start, **learned)
        (fit or (lambda one: one.fit(data)))(model)
        for scoring in _combinations(grid, lambda name: name in model.scoring_settings):
            settings = learned | scoring
            model.config = replace(start, **settings)
            score = metric_value(data.manifest.metric, protocol_ranks(model, valid, data.manifest))
            trials.append(Trial(settings, score))
    trials.sort(key=lambda trial: -trial.score)
    model.config = replace(start, **trials[0].settings)
    return trials


def fixed_rows(rows: Rows, limit: int | None, seed: int) -> Rows:
    """At most ``limit`` rows, chosen by a seed, in their order."""
    if not len(rows):
        raise ValueError("there are no validation rows to choose by")
    if limit is None or limit >= len(rows):
        return rows
    return rows.select(np.sort(np.random.default_rng(seed).permutation(len(rows))[:limit]))


def _combinations(grid: Mapping[str, Sequence[Any]], chosen: Callable[[str], bool]) -> Iterator[Settings]:
    names = [name for name in grid if chosen(name)]
    for values in itertools.product(*(grid[name] for name in names)):
        yield dict(zip(names, values, strict=True))
