"""What a test run leaves behind: metrics beside naive baselines, plots, predictions and a page, task by
task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console

from data_prep.tables import write_parquet
from moltc import plots
from moltc.answering import Answers
from moltc.baselines import PairArrays, baseline_names, naive_baselines
from moltc.bootstrap import Metric
from moltc.ensemble import CLASS_SCORES
from moltc.model import MolTC
from moltc.module import PairModule
from moltc.pair_table import PairTable
from moltc.report import print_metrics, write_report
from moltc.task_results import TaskResults, task_results

ROW = "MolTC (text answers)"


@dataclass(frozen=True)
class Evaluation:
    """Results of a test run on one task: metrics of the model and of each other row, notes, and where the
    page lies."""

    metrics: dict[str, Metric]
    rows: dict[str, dict[str, Metric]]
    notes: list[str]
    page: Path

    def plain(self) -> dict[str, Any]:
        """Metric name -> [value, low, high], for cards."""
        return {
            name: [round(v, 6) if np.isfinite(v) else None for v in metric]
            for name, metric in self.metrics.items()
        }


def evaluate(
    module: PairModule,
    folder: Path,
    *,
    fingerprint_baselines: bool = True,
    logs: Sequence[Path] = (),
    seed: int = 0,
) -> dict[str, Evaluation]:
    """Write everything about the module's last test run into ``folder``; with several tasks each has a folder
    of its own in it. Returns the results by task name.

    Parameters
    ----------
    fingerprint_baselines : also fit Morgan fingerprints + boosted trees and + MLP (seconds to minutes).
    logs : metrics.csv files of the run, oldest first; their losses are drawn.
    seed : of the bootstrap and of the trained baselines.
    """
    found = {}
    tasks = module.moltc.tasks
    for number, task in enumerate(tasks):
        place = folder / task.name if len(tasks) > 1 else folder
        found[task.name] = _evaluate_task(module, number, place, fingerprint_baselines, logs, seed)
    return found


def _evaluate_task(
    module: PairModule, number: int, folder: Path, slow: bool, logs: Sequence[Path], seed: int
) -> Evaluation:
    model, table, console = module.moltc, module.data.table, Console()
    assert table is not None
    task = model.tasks[number]
    results = task_results(module, number, seed)
    others = dict(results.controls)
    if task.kind.kind != "text":
        others |= _baselines(module, number, slow, seed, console)
    folder.mkdir(parents=True, exist_ok=True)
    frame = predictions(table, results.rows, results.labels, results.found, model)
    if task.kind.kind == "class":
        frame = frame.with_columns(pl.Series(CLASS_SCORES, results.found.scores))
    write_parquet(frame, folder / "predictions.parquet")
    title = f"{task.dataset}: {task.property}, test split ({len(results.rows)} pairs)"
    about: dict[str, Any] = {"title": title, "computed": task.computed, "unit": task.unit, "model_name": ROW}
    page = write_report(
        folder,
        metrics=results.metrics,
        baselines=others,
        plots=_pictures(folder, module, number, results, logs),
        examples=examples(table, results.rows, results.labels, results.found, model),
        notes=results.notes,
        **about,
    )
    print_metrics(console, results.metrics, others, **about)
    for note in results.notes:
        console.print(f"- {note}", markup=False)
    return Evaluation(results.metrics, others, results.notes, page)


def _baselines(
    module: PairModule, number: int, slow: bool, seed: int, console: Console
) -> dict[str, dict[str, Metric]]:
    """Test metrics of the naive baselines of a task, fitted on the rows that the model was trained on."""
    table, task = module.data.table, module.moltc.tasks[number]
    assert table is not None
    own = np.flatnonzero((table.task == number) & np.isin(table.split, ("train", "valid", "test")))
    split = table.split[own].copy()
    unused = np.setdiff1d(table.rows("train", number), module.data.rows("train", number))
    split[np.isin(own, unused)] = "none"
    kind, single = task.kind.kind, len(task.kind.roles) == 1
    second = None if single else table.mol_b[own]
    found = naive_baselines(
        kind,
        PairArrays(table.mol_a[own], second, task.printed(table.label[own]), split),
        table.molecules.graphs.batch(np.arange(len(table.molecules))),
        include=baseline_names(kind, fingerprints=True, slow=slow, single=single),
        seed=seed,
        announce=lambda name: console.print(f"[dim]baseline: {name}[/dim]"),
    )
    return {b.title: b.metrics["test"] for b in found.values()}


def predictions(
    table: PairTable, rows: np.ndarray, labels: np.ndarray, found: Answers, model: MolTC
) -> pl.DataFrame:
    """One row per answered pair of one task: molecules, truth, answer, its parts."""
    smiles = table.molecules.smiles
    number = int(table.task[rows[0]])
    task = model.tasks[number]
    single = table.mol_b[rows] < 0
    columns: dict[str, Any] = {
        "pair_id": table.pair_id[rows].astype(object),
        "smiles_a": smiles[table.mol_a[rows]].astype(str),
        "smiles_b": np.where(single, "", smiles[table.mol_b[rows]].astype(str)),
        "text": found.text,
        "reasoning": found.reasoning,
    }
    if table.query is not None:
        columns["query"] = [str(q or "") for q in table.query[rows]]
    kind = task.kind.kind
    if kind != "text":
        columns["truth"] = labels
    if kind == "number":
        columns |= {
            "value": found.value,
            "best": found.best,
            "low": found.interval[:, 0],
            "high": found.interval[:, 1],
            "spread": found.spread,
            "coverage": found.coverage,
        }
    elif kind == "class":
        columns |= {"class": found.best.astype(np.int32), "probability": found.value}
    elif kind == "binary":
        columns |= {"log_odds": found.log_odds, "probability": found.value}
    if kind != "text" and not np.isnan(found.head).any():
        columns["head"] = found.head
    return pl.DataFrame(columns)


def examples(
    table: PairTable, rows: np.ndarray, labels: np.ndarray, found: Answers, model: MolTC, count: int = 8
) -> list[dict[str, Any]]:
    """A few answered pairs of one task spread over the split, ready to print."""
    picked = np.unique(np.linspace(0, len(rows) - 1, count).astype(int))
    task = model.tasks[int(table.task[rows[0]])]
    shown = []
    for i in picked.tolist():
        row = rows[i]
        molecules = (table.mol_a[row], table.mol_b[row])
        entry = {
            title: str(table.molecules.smiles[m])
            for title, m in zip(task.kind.role_titles, molecules, strict=False)
        }
        if table.query is not None and table.query[row]:
            entry["asked"] = str(table.query[row])
        entry["answer"] = found.text[i]
        if found.reasoning[i]:
            entry["reasoning"] = found.reasoning[i]
        if task.is_number:
            entry["truth"] = f"{labels[i]:+.2f} {task.unit}"
        elif task.kind.kind == "class":
            truth = task.answers(labels[i : i + 1], model.config.cot)[0]
            entry |= {"probability": f"{found.value[i]:.2f}", "truth": truth}
        elif task.kind.kind == "binary":
            entry |= {"p(yes)": f"{found.value[i]:.2f}", "truth": "yes" if labels[i] else "no"}
        shown.append(entry)
    return shown


def _pictures(
    folder: Path, module: PairModule, number: int, results: TaskResults, logs: Sequence[Path]
) -> dict[str, Path]:
    task = module.moltc.tasks[number]
    labels, found = results.labels, results.found
    marks: dict[str, Any] = {"title": f"{task.dataset}: {task.property}", "computed": task.computed}
    pictures: dict[str, Path] = {}
    if task.is_number:
        intervals = None if np.isnan(found.interval).all() else found.interval
        words: dict[str, Any] = {"quantity": task.property, "unit": task.unit, **marks}
        pictures["predicted and true"] = plots.parity_plot(
            folder / "parity.png", labels, found.value, intervals=intervals, **words
        )
        pictures["errors"] = plots.residual_histogram(folder / "residuals.png", labels, found.value, **words)
    elif task.kind.kind == "class":
        numbers, answered = labels.astype(int), found.best.astype(int)
        names = [one.text for one in task.classes]
        pictures["classes"] = plots.class_bars(folder / "classes.png", numbers, answered, **marks)
        pictures["confusions"] = plots.confusion_plot(
            folder / "confusions.png", numbers, answered, names=names, **marks
        )
    elif task.kind.kind == "binary":
        if len(np.unique(labels)) == 2:
            scores = {"MolTC": found.log_odds}
            pictures["ROC"] = plots.roc_plot(folder / "roc.png", labels, scores, **marks)
        pictures["calibration"] = plots.reliability_plot(
            folder / "calibration.png",
            labels,
            {"as scored": results.raw.value, "calibrated": found.value},
            **marks,
        )
    for part, log in enumerate(logs, start=1):
        name = "loss" if len(logs) == 1 else f"loss, part {part}"
        pictures[name] = plots.loss_curves(folder / f"loss{part}.png", log, **marks)
    return pictures
