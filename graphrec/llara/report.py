"""A report on answers: validity and hits by evaluator and matcher, controls, and every answer in a table.

Written as report.json, report.md and answers.parquet (row, history, candidates, target, one answer for each
evaluator).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from data_prep.files import replacing
from graphrec.data import RecommendationData, Rows
from graphrec.language.probes import leakage_probe, order_controls, position_rules, shown_candidates
from graphrec.language.recommender import LanguageRecommender
from graphrec.llara.answers import EVALUATORS, MATCHERS, Evaluator, answers, judge
from graphrec.results import check_catalogue
from moltc.backbone.bootstrap import Bootstrap, Metric, mean_statistic
from moltc.backbone.tracking import RunTracker, flat_metrics

ANSWERS, REPORT = "answers.parquet", "report.json"
Figures = Mapping[str, Metric]


@dataclass(frozen=True)
class AnswerReport:
    """What was found on one split.

    Attributes:
        label, data, split, draw: of what was asked.
        figures: name -> ValidRatio, HitRatio@1 and the like, with intervals over rows; names of answers are
            "evaluator, matcher".
        controls: HitRatio@1 of rules and probes on the same lists.
        table: one line for each row.
    """

    label: str
    data: str
    split: str
    draw: int
    figures: Mapping[str, Figures]
    controls: Figures
    table: pl.DataFrame

    def save(self, folder: Path) -> None:
        """Write all of it into a folder."""
        with replacing(folder / ANSWERS) as partial:
            self.table.write_parquet(partial)
        content = {
            "label": self.label,
            "data": self.data,
            "split": self.split,
            "draw": self.draw,
            "rows": len(self.table),
            "answers": {name: _plain(found) for name, found in self.figures.items()},
            "controls": _plain(self.controls),
        }
        with replacing(folder / REPORT) as partial:
            partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        with replacing(folder / "report.md") as partial:
            partial.write_text(self.markdown(), encoding="utf-8")

    def markdown(self) -> str:
        """The figures as Markdown."""
        lines = [
            f"# Answers of {self.label} on {self.data}, {self.split}, draw {self.draw}",
            "",
            f"{len(self.table)} rows; 95 % bootstrap intervals over rows.",
            "",
            "| evaluator, matcher | ValidRatio | HitRatio@1 | hits among valid |",
            "|---|---|---|---|",
        ]
        for name, found in self.figures.items():
            valid, hit = found["ValidRatio"], found["HitRatio@1"]
            among = f"{hit.value / valid.value:.4f}" if valid.value else "none valid"
            lines.append(f"| {name} | {_shown(valid)} | {_shown(hit)} | {among} |")
        lines += ["", "| control | figure |", "|---|---|"]
        lines += [f"| {name} | {_shown(metric)} |" for name, metric in self.controls.items()]
        return "\n".join(lines) + "\n"

    def track(self, tracker: RunTracker) -> None:
        """Tell a tracked run of the figures and of every answer."""
        name = f"answers/{self.split}"
        summary = flat_metrics(f"{name}/controls", self.controls)
        for answered, found in self.figures.items():
            summary |= flat_metrics(f"{name}/{answered}", found)
        tracker.experiment.summary.update(summary)
        tracker.log_table(name, *self.rows())

    def rows(self) -> tuple[list[str], list[list[object]]]:
        """The table as columns and rows of plain cells, for trackers."""
        cells = [
            [", ".join(map(str, cell)) if isinstance(cell, list) else cell for cell in row]
            for row in self.table.rows()
        ]
        return self.table.columns, cells


def answer_report(
    model: LanguageRecommender,
    data: RecommendationData,
    split: str = "test",
    *,
    evaluators: Sequence[Evaluator] = EVALUATORS,
    draw: int = 0,
    label: str | None = None,
    reads_lists: bool = False,
    bootstrap: Bootstrap | None = None,
) -> AnswerReport:
    """Ask a model about every row of a split and judge its answers.

    Args:
        evaluators: how it is asked.
        draw: whose candidates are shown.
        label: what the report calls the model; None: its name.
        reads_lists: the model's prompts show the candidates, so that their order is a control.
        bootstrap: of the intervals.

    Raises:
        ValueError: the split has no rows or no candidates, or the model knows other items.
    """
    check_catalogue(model, data)
    rows = data.rows(split)
    if not len(rows):
        raise ValueError(f"{data.folder} has no {split} rows: there is nothing to ask")
    shown = shown_candidates(rows, draw)[:, 0]
    boot = bootstrap or Bootstrap()

    def title(item: int) -> str:
        return str(model.catalogue.title(item))

    texts = {evaluator: answers(model, rows, evaluator, draw=draw) for evaluator in evaluators}
    figures: dict[str, Figures] = {}
    for evaluator, said in texts.items():
        for matcher in MATCHERS:
            judged = judge(said, shown, rows.targets, title, matcher)
            columns = {"ValidRatio": judged.valid.astype(float), "HitRatio@1": judged.hit.astype(float)}
            figures[f"{evaluator}, {matcher}"] = boot.estimate(mean_statistic(columns), len(rows))
    controls = {
        **{f"{name} shown": column for name, column in position_rules(rows, draw).items()},
        **leakage_probe(model, rows, draw),
    }
    if reads_lists:
        controls |= order_controls(model, rows, draw=draw, seed=boot.seed)
    return AnswerReport(
        label or model.name,
        data.manifest.name,
        split,
        draw,
        figures,
        boot.estimate(mean_statistic(controls), len(rows)),
        _table(rows, shown, texts, title),
    )


def _table(
    rows: Rows, shown: np.ndarray, texts: Mapping[Evaluator, Sequence[str]], title: Callable[[int], str]
) -> pl.DataFrame:
    lists, text = pl.List(pl.String), pl.String
    columns = [
        pl.Series("row", np.arange(len(rows))),
        pl.Series("history", [list(map(title, row)) for row in rows.histories.lists()], dtype=lists),
        pl.Series("candidates", [list(map(title, row)) for row in shown.tolist()], dtype=lists),
        pl.Series("target", [title(item) for item in rows.targets.tolist()], dtype=text),
    ]
    return pl.DataFrame([*columns, *(pl.Series(name, said, dtype=text) for name, said in texts.items())])


def _plain(figures: Figures) -> dict[str, dict[str, float]]:
    return {name: metric._asdict() for name, metric in figures.items()}


def _shown(metric: Metric) -> str:
    return f"{metric.value:.4f} ({metric.low:.4f} to {metric.high:.4f})"
