"""How a log is turned into a ranking task."""

from __future__ import annotations

import polars as pl
import pytest

from data_prep.errors import DataError
from data_prep.interactions.log import RawLog
from data_prep.interactions.plan import SplitPlan, log_task


@pytest.fixture
def raw() -> RawLog:
    rows = [
        (f"s{n}", str((n * 7 + place) % 23), float(10 * n + place)) for n in range(20) for place in range(4)
    ]
    return RawLog(pl.DataFrame(rows, schema=["sequence", "item", "time"], orient="row"))


@pytest.mark.parametrize(
    ("plan", "name", "rows"),
    [
        (SplitPlan(), "leave-one-out", 20),
        (SplitPlan("global-time"), "global-time, 0.8:0.1:0.1", 8),
        (SplitPlan("by-sequence"), "by-sequence, 0.8:0.1:0.1, shuffled, seed 0", 2),
        (
            SplitPlan("by-sequence", (0.5, 0.25, 0.25), order="time", targets="all"),
            "by-sequence, 0.5:0.25:0.25, all, time",
            20,
        ),
        (SplitPlan(candidates=5, draws=3), "leave-one-out, 5 candidates", 20),
    ],
    ids=["leave one out", "global time", "by sequence", "in time", "candidates"],
)
def test_the_protocol_tells_what_decides_the_rows(raw, plan, name, rows):
    task = log_task(raw, plan, "tiny")
    assert task.protocol.name == name
    assert len(task.parts.test) == rows


def test_candidates_are_drawn_for_both_parts(raw):
    task = log_task(raw, SplitPlan(candidates=5, draws=3), "tiny")
    for rows in (task.parts.valid, task.parts.test):
        assert rows["candidates"].list.len().unique().to_list() == [3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "random"}, "no split 'random'"),
        ({"fractions": (0.8, 0.1, 0.1)}, "neither fractions nor"),
        ({"targets": "all"}, "neither fractions nor"),
        ({"method": "global-time", "order": "time"}, "for --split by-sequence"),
        ({"method": "by-sequence", "fractions": (0.8, 0.1, 0.2)}, "add up to 1"),
        ({"seed": 3}, "a seed has no effect"),
        ({"metric": "accuracy"}, "no metric 'accuracy'"),
        ({"ks": (0,)}, "counts of one or more"),
        ({"candidates": 1}, "two items or more"),
        ({"draws": 3}, "need a number of candidates"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_without_effect_or_sense_are_errors(options, message):
    with pytest.raises(DataError, match=message):
        SplitPlan(**options)
