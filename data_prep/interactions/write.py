"""A ranking task on disk: Parquet tables in row groups, manifest, report, and the rows with findings."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from data_prep.files import replacing
from data_prep.interactions.report import render, task_report
from data_prep.interactions.splits import Parts
from data_prep.interactions.task import RankingTask, task_hash

INTERACTIONS_A_GROUP = 1_000_000
ROWS_A_GROUP = 20_000  # rows to be ranked, each with a history


def write_task(task: RankingTask, out: Path) -> dict:
    """Write a folder; the manifest comes last, so a folder with one is whole.

    The tables are zstd Parquet of int64 numbers; a reader that takes one row group at a time never holds more
    than :data:`INTERACTIONS_A_GROUP` interactions beside its own arrays.

    Returns:
        The report.
    """
    report = task_report(task)
    out.mkdir(parents=True, exist_ok=True)
    (out / "manifest.json").unlink(missing_ok=True)
    _parquet(task.items, out / "items.parquet", len(task.items) or 1)
    _write_parts(task.parts, out)
    if task.sequence_ids is not None:
        names = pl.DataFrame({"sequence": range(len(task.sequence_ids)), "sequence_id": task.sequence_ids})
        _parquet(names, out / "sequences.parquet", INTERACTIONS_A_GROUP)
    with replacing(out / "rejects.csv") as partial:
        task.findings.write_csv(partial)
    _json(report, out / "report.json")
    with replacing(out / "report.md") as partial:
        partial.write_text(render(report), encoding="utf-8")
    _json(manifest(task, report), out / "manifest.json")
    return report


def manifest(task: RankingTask, report: dict) -> dict:
    """What decides the task, and where it comes from."""
    protocol = task.protocol
    return {
        "kind": "recommendation",
        "name": task.name,
        "protocol": protocol.name,
        "num_items": task.num_items,
        "filter_seen": protocol.filter_seen,
        "ties": protocol.ties,
        "metric": protocol.metric,
        "ks": list(protocol.ks),
        "variants": protocol.variants,
        "sources": [{"file": one.name, "sha256": one.sha256} for one in task.sources],
        "counts": report["counts"],
        "hash": task_hash(task),
    }


def _write_parts(parts: Parts, out: Path) -> None:
    for name in ("train", "trainval"):
        _parquet(getattr(parts, name), out / f"{name}.parquet", INTERACTIONS_A_GROUP)
    for name in ("valid", "test"):
        _parquet(getattr(parts, name), out / f"{name}.parquet", ROWS_A_GROUP)


def _parquet(frame: pl.DataFrame, path: Path, group: int) -> None:
    with replacing(path) as partial:
        frame.write_parquet(partial, compression="zstd", row_group_size=group)


def _json(content: dict, path: Path) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
