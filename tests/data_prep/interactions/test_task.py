"""The hash that tells two ranking tasks apart."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from data_prep.interactions.log import RawLog
from data_prep.interactions.plan import SplitPlan, log_task
from data_prep.interactions.task import RankingTask, task_hash


@pytest.fixture
def task() -> RankingTask:
    rows = [(f"s{n}", str((n * 7 + place) % 23)) for n in range(12) for place in range(4)]
    raw = RawLog(pl.DataFrame(rows, schema=["sequence", "item"], orient="row"))
    return log_task(raw, SplitPlan(candidates=5), "tiny")


def changed_rows(task: RankingTask, **columns: pl.Expr) -> RankingTask:
    return replace(task, parts=replace(task.parts, test=task.parts.test.with_columns(**columns)))


def test_the_hash_is_the_same_for_the_same_ranking(task):
    other = replace(
        task,
        name="another name",
        notes=("a note",),
        items=task.items.with_columns(title=pl.lit("a title")),
        parts=replace(task.parts, train=task.parts.train.head(1)),
    )
    assert task_hash(other) == task_hash(task)


@pytest.mark.parametrize(
    "change",
    [
        lambda task: replace(task, protocol=replace(task.protocol, name="other")),
        lambda task: replace(task, protocol=replace(task.protocol, filter_seen=False)),
        lambda task: replace(task, items=task.items.with_columns(pl.col("item_id") + "x")),
        lambda task: changed_rows(task, target=pl.col("target").shift(1, fill_value=0)),
        lambda task: changed_rows(task, history=pl.col("history").list.reverse()),
        lambda task: changed_rows(task, candidates=pl.col("candidates").shift(1).backward_fill()),
        lambda task: replace(task, parts=replace(task.parts, test=task.parts.test.head(3))),
        lambda task: replace(task, parts=replace(task.parts, valid=task.parts.test, test=task.parts.valid)),
    ],
    ids=[
        *("protocol", "filter", "catalogue", "targets", "histories"),
        *("candidates", "fewer rows", "parts exchanged"),
    ],
)
def test_whatever_decides_a_rank_changes_the_hash(task, change):
    assert task_hash(change(task)) != task_hash(task)


def test_items_moved_from_one_history_to_the_next_change_the_hash(task):
    # the flat values are the same, only the borders between histories move
    moved = pl.Series([[1], [2, 3]]), pl.Series([[1, 2], [3]])
    hashes = {
        task_hash(
            replace(task, parts=replace(task.parts, test=task.parts.test.head(2).with_columns(history=one)))
        )
        for one in moved
    }
    assert len(hashes) == 2
