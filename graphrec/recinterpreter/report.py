"""The report on an interpreter: ``report.json``, ``report.md`` and every answer, in one folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from data_prep.files import replacing
from graphrec.data import Manifest
from graphrec.recinterpreter.oracle_study import OracleStudy
from graphrec.recinterpreter.study import Study, StudyOptions, TaskStudy
from moltc.backbone.bootstrap import Metric

REPORT, PAGE, ANSWERS = "report.json", "report.md", "answers.parquet"
WORDS = {
    "recovered": "titles of the history that the answer names, on average",
    "recall": "share of the histories' titles that answers name",
    "precision": "share of all named that are titles of the history",
    "in_catalogue": "share of all named that are titles of the catalogue",
    "order": "Kendall's tau of the recovered titles, where there are two",
    "exact": "answers that are the added title",
    "among_candidates": "most likely of the candidates is the added one",
}
Metrics = Mapping[str, Mapping[str, Metric]]


@dataclass(frozen=True)
class InterpreterReport:
    """What was asked and found.

    Attributes:
        label: what the model is called.
        source: name of the recommender that it reads.
        manifest: of the data.
        options: of the study.
        titles: of every item.
        study: recovery and residual.
        oracle: DreamRec's oracle items, where it reads one.
    """

    label: str
    source: str
    manifest: Manifest
    options: StudyOptions
    titles: Sequence[str]
    study: Study
    oracle: OracleStudy | None = None

    def write(self, folder: Path) -> None:
        """Write all files."""
        with replacing(folder / REPORT) as partial:
            partial.write_text(json.dumps(self.content(), indent=2) + "\n", encoding="utf-8")
        with replacing(folder / PAGE) as partial:
            partial.write_text("\n".join(self._lines()) + "\n", encoding="utf-8")
        with replacing(folder / ANSWERS) as partial:
            self.answers().write_parquet(partial)

    def content(self) -> dict[str, Any]:
        """All figures, as plain values."""
        found: dict[str, Any] = {
            "model": self.label,
            "reads": self.source,
            "data": self.manifest.name,
            "hash": self.manifest.hash,
            "options": asdict(self.options),
            "rows": len(self.study.rows),
            "rows_without_history": self.study.left_out,
            "tasks": {
                name: {
                    "metrics": _plain(task.metrics),
                    "histograms": {arm: one.histogram for arm, one in task.arms.items() if one.histogram},
                }
                for name, task in self.study.tasks.items()
            },
        }
        if self.oracle is not None:
            found["oracle"] = _plain(self.oracle.metrics)
        return found

    def answers(self) -> pl.DataFrame:
        """Titles of history and target of each row, and what was answered in every arm."""
        rows = self.study.rows
        table = pl.DataFrame(
            {
                "history": [[self.titles[n] for n in row] for row in rows.histories.lists()],
                "target": [self.titles[n] for n in rows.targets.tolist()],
            },
            schema={"history": pl.List(pl.String), "target": pl.String},
        )
        texts = {
            f"{name}, {arm}": one.texts
            for name, task in self.study.tasks.items()
            for arm, one in task.arms.items()
        }
        if self.oracle is not None:
            texts |= {f"oracle, {arm}": said for arm, said in self.oracle.texts.items()}
        return table.with_columns(pl.Series(name, said, dtype=pl.String) for name, said in texts.items())

    def _lines(self) -> Iterator[str]:
        yield f"# {self.label}, which reads {self.source}, on {self.manifest.name}"
        yield ""
        without = f"; {self.study.left_out} without a history are left out" if self.study.left_out else ""
        yield f"{len(self.study.rows)} rows of {self.options.split}{without}. Intervals are 95 % over rows."
        for name, task in self.study.tasks.items():
            yield from ("", f"## {name.capitalize()}", "")
            yield from metric_lines(task.metrics)
            yield from _histogram_lines(task)
        if self.oracle is not None:
            yield from ("", "## Oracle items", "")
            yield from metric_lines(self.oracle.metrics)
        yield from ("", *(f"* {name}: {words}" for name, words in WORDS.items()))


def metric_lines(metrics: Metrics) -> Iterator[str]:
    """A table with a line for each arm or gain."""
    names = list(dict.fromkeys(name for found in metrics.values() for name in found))
    yield f"| | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(names)}"
    for arm, found in metrics.items():
        yield f"| {arm} | {' | '.join(_cell(found.get(name)) for name in names)} |"


def _histogram_lines(task: TaskStudy) -> Iterator[str]:
    """How many rows recovered 0, 1, ... titles."""
    histograms = {arm: one.histogram for arm, one in task.arms.items() if one.histogram}
    if not histograms:
        return
    most = max(map(len, histograms.values()))
    yield from ("", f"| rows by recovered titles | {' | '.join(map(str, range(most)))} |")
    yield f"|---|{'---|' * most}"
    for arm, counts in histograms.items():
        yield f"| {arm} | {' | '.join(map(str, counts + [0] * (most - len(counts))))} |"


def _cell(metric: Metric | None) -> str:
    if metric is None or not math.isfinite(metric.value):
        return ""
    return f"{metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f})"


def _plain(metrics: Metrics) -> dict[str, Any]:
    """Plain values; undefined numbers are null."""
    return {
        arm: {
            name: {key: value if math.isfinite(value) else None for key, value in metric._asdict().items()}
            for name, metric in found.items()
        }
        for arm, found in metrics.items()
    }
