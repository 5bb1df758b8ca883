"""A ranking task on disk, and its report."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from data_prep.interactions import write
from data_prep.interactions.findings import findings
from data_prep.interactions.log import RawLog
from data_prep.interactions.plan import SplitPlan, log_task
from data_prep.interactions.report import render, task_report
from data_prep.interactions.task import RankingTask, task_hash
from data_prep.interactions.write import write_task
from data_prep.records import SourceFile


@pytest.fixture
def task() -> RankingTask:
    rows = [(f"s{n}", str((n * 7 + place) % 23), float(place)) for n in range(30) for place in range(5)]
    bad = pl.DataFrame({"row": [4], "value": ["a|b"]})
    raw = RawLog(
        pl.DataFrame(rows, schema=["sequence", "item", "time"], orient="row"),
        pl.DataFrame({"item_id": ["0", "1"], "title": ["Nought", "One"], "genres": [["A"], []]}),
        sources=(SourceFile("log.csv", "ab" * 32, 150, verified=False),),
        findings=findings(bad, "bad time", "no time", source="log.csv"),
        notes=("A note.",),
    )
    return log_task(raw, SplitPlan(candidates=5, draws=2), "tiny")


def test_the_tables_hold_the_task(task, tmp_path):
    write_task(task, tmp_path)
    for part in ("train", "trainval", "valid", "test"):
        assert pl.read_parquet(tmp_path / f"{part}.parquet").equals(getattr(task.parts, part))
    assert pl.read_parquet(tmp_path / "items.parquet").equals(task.items)
    assert (
        pl.read_parquet(tmp_path / "sequences.parquet")["sequence_id"].to_list()
        == task.sequence_ids.to_list()
    )
    assert pl.read_csv(tmp_path / "rejects.csv")["kind"].to_list() == ["bad time"]


def test_numbers_are_int64(task, tmp_path):
    write_task(task, tmp_path)
    lists = pl.List(pl.Int64)
    train, test = (pl.read_parquet_schema(tmp_path / f"{part}.parquet") for part in ("train", "test"))
    assert (train["sequence"], train["item"], train["time"]) == (pl.Int64, pl.Int64, pl.Float64)
    assert (test["history"], test["target"], test["candidates"]) == (lists, pl.Int64, pl.List(lists))


def test_interactions_lie_in_row_groups(task, tmp_path, monkeypatch):
    from pyarrow.parquet import ParquetFile

    monkeypatch.setattr(write, "INTERACTIONS_A_GROUP", 40)
    write_task(task, tmp_path)
    groups = ParquetFile(tmp_path / "train.parquet").metadata
    assert max(groups.row_group(n).num_rows for n in range(groups.num_row_groups)) <= 40


def test_the_manifest_says_what_decides_the_task(task, tmp_path):
    write_task(task, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["kind"] == "recommendation"
    assert manifest["name"] == "tiny"
    assert manifest["num_items"] == 23
    assert manifest["hash"] == task_hash(task)
    assert manifest["sources"] == [{"file": "log.csv", "sha256": "ab" * 32}]
    assert set(manifest) >= {"protocol", "filter_seen", "metric", "ks", "variants", "counts", "ties"}


def test_a_build_that_fails_leaves_no_manifest(task, tmp_path, monkeypatch):
    write_task(task, tmp_path)
    before = (tmp_path / "train.parquet").read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", fail)
    with pytest.raises(OSError, match="no space"):
        write_task(task, tmp_path)
    assert not (tmp_path / "manifest.json").exists()
    assert (tmp_path / "train.parquet").read_bytes() == before
    assert not list(tmp_path.glob(".*.tmp"))


def test_the_report_counts_the_parts(task):
    report = task_report(task)
    assert report["counts"] == {
        "items": 23,
        "train": {"sequences": 30, "interactions": 90},
        "trainval": {"sequences": 30, "interactions": 120},
        "valid": {"rows": 30, "sequences": 30},
        "test": {"rows": 30, "sequences": 30},
        "rejected": 1,
    }
    assert report["lengths"]["train"] == {"min": 3, "median": 3, "max": 3, "mean": 3}
    assert report["items_with"] == {"title": 2, "genres": 1, "title that another item has too": 0}
    assert report["findings"]["left_out"]["by_kind"]["bad time"]["count"] == 1
    assert report["ties"] == {"test targets": 0, "fitted interactions": 0}


def test_the_report_warns_of_what_it_found(task):
    notes = "\n".join(task_report(task)["notes"])
    assert "A note." in notes
    assert "log.csv differs from the published file" in notes
    assert "The item numbers alone tell targets" in notes  # the items of a sequence follow each other
    assert "1 rows of the sources are left out" in notes


def test_equal_times_are_counted():
    rows = [("a", "1", 1.0), ("a", "2", 1.0), ("a", "3", 2.0), ("a", "4", 2.0), ("a", "5", 2.0)]
    raw = RawLog(pl.DataFrame(rows, schema=["sequence", "item", "time"], orient="row"))
    report = task_report(log_task(raw, SplitPlan(), "tied"))
    assert report["ties"] == {"test targets": 1, "fitted interactions": 2}
    assert "1 test targets have the time of the interaction before them." in report["notes"]


def test_the_page_shows_the_report(task, tmp_path: Path):
    page = render(task_report(task))
    assert page.startswith("# tiny, protocol leave-one-out, 5 candidates\n")
    assert "- **A note.**" in page
    assert "| train, interactions | 90 |" in page
    assert "| bad time | 1 | log.csv row 4: `a\\|b` | no time |" in page
    assert "nearest candidate, HitRatio@1" in page
