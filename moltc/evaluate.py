"""What a test run leaves behind: calibration, metrics beside naive baselines, plots, predictions and a
page."""

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
from moltc.answering import Answers, calibrated
from moltc.baselines import PairArrays, baseline_names, naive_baselines
from moltc.bootstrap import Metric
from moltc.calibration import PlattCalibration, SplitConformal
from moltc.metrics import binary_metrics, order_disagreement, regression_metrics
from moltc.model import MolTC
from moltc.module import PairModule
from moltc.report import print_metrics, write_report

LEVEL = 0.9
ROW = "MolTC (text answers)"


@dataclass(frozen=True)
class Evaluation:
    """Results of a test run: metrics of the model and of each baseline, notes, and where the page lies."""

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


def calibrate(model: MolTC, labels: np.ndarray, found: Answers) -> list[str]:
    """Fit the calibration on validation answers and keep it with the model; returns notes."""
    if model.task.is_number:
        conformal = SplitConformal.fit(labels, found.value)
        model.calibration = {"conformal": conformal.to_dict()}
        width = conformal.half_width(LEVEL)
        if np.isinf(width):
            return [f"No {LEVEL:.0%} prediction intervals: {len(labels)} validation pairs are too few."]
        return [f"{LEVEL:.0%} prediction intervals (split conformal, fitted on valid): ± {width:.3g}."]
    platt = PlattCalibration.fit(found.log_odds, labels)
    model.calibration = {"platt": platt.to_dict()}
    fitted = f"temperature {platt.temperature:.3g}, bias {platt.bias:+.3g}"
    return [f"Probabilities are calibrated on valid (Platt): {platt.note or fitted}."]


def evaluate(
    module: PairModule,
    folder: Path,
    *,
    fingerprint_baselines: bool = True,
    logs: Sequence[Path] = (),
    seed: int = 0,
) -> Evaluation:
    """Write everything about the module's last test run into ``folder``.

    Parameters
    ----------
    fingerprint_baselines : also fit Morgan fingerprints + boosted trees and + MLP (seconds to minutes).
    logs : metrics.csv files of the run, oldest first; their losses are drawn.
    seed : of the bootstrap and of the trained baselines.
    """
    model, table = module.moltc, module.data.table
    assert table is not None
    task, console = model.task, Console()
    valid_rows, valid = module.test_answers["valid"]
    rows, raw = module.test_answers["test"]
    notes = calibrate(model, module.labels(valid_rows), valid)
    labels, found = module.labels(rows), calibrated(model, raw)
    if task.is_number:
        metrics, extra, more = _number_rows(module, labels, found, seed)
    else:
        metrics, extra, more = _binary_rows(module, labels, found, raw, seed)
    notes += more
    if found.reasoning_cut.any():
        cut = int(found.reasoning_cut.sum())
        notes.append(f"{cut} of {len(rows)} reasoning steps did not end within budget.")

    split = table.split.copy()
    split[np.setdiff1d(table.rows("train"), module.data.rows("train"))] = "none"  # the same rows for all
    baselines = naive_baselines(
        task.kind.kind,
        PairArrays(table.mol_a, table.mol_b, task.printed(table.label), split),
        table.molecules.graphs.batch(np.arange(len(table.molecules))).fingerprint,
        include=baseline_names(task.kind.kind, slow=fingerprint_baselines),
        seed=seed,
        announce=lambda name: console.print(f"[dim]baseline: {name}[/dim]"),
    )
    others = extra | {b.title: b.metrics["test"] for b in baselines.values()}
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(predictions(table, rows, labels, found, model), folder / "predictions.parquet")
    title = f"{task.dataset}: {task.property}, test split ({len(rows)} pairs)"
    page = write_report(
        folder,
        title=title,
        metrics=metrics,
        baselines=others,
        plots=_pictures(folder, module, labels, found, raw, logs),
        examples=examples(table, rows, labels, found, model),
        notes=notes,
        computed=task.computed,
        unit=task.unit,
        model_name=ROW,
    )
    print_metrics(
        console, metrics, others, title=title, unit=task.unit, model_name=ROW, computed=task.computed
    )
    for note in notes:
        console.print(f"- {note}", markup=False)
    return Evaluation(metrics, others, notes, page)


Rows = dict[str, dict[str, Metric]]


def _number_rows(
    module: PairModule, labels: np.ndarray, found: Answers, seed: int
) -> tuple[dict[str, Metric], Rows, list[str]]:
    task = module.moltc.task
    span = (task.low, task.high)
    valid = np.array([task.kind.parse(text, span).valid for text in found.text])
    named = None if np.isnan(found.interval).all() else found.interval
    metrics = regression_metrics(
        labels, found.value, valid=valid, intervals=named, train_mean=task.mean, seed=seed
    )
    metrics.pop("self_consistency", None)  # the automaton leaves no other choice
    extra = {"MolTC, most probable answer": regression_metrics(labels, found.best, seed=seed)}
    if module.free_texts:
        parsed = [task.kind.parse(text, span) for _, text in module.free_texts]
        truth = module.labels(np.array([row for row, _ in module.free_texts]))
        bounds = np.array([p.interval or (np.nan, np.nan) for p in parsed])
        extra[f"MolTC, written freely ({len(parsed)} pairs)"] = regression_metrics(
            truth,
            np.array([0.0 if p.value is None else p.value for p in parsed]),
            valid=np.array([p.valid for p in parsed]),
            intervals=None if named is None else bounds,
            train_mean=task.mean,
            seed=seed,
        )
    if not np.isnan(found.head).any():
        extra["auxiliary head (control)"] = regression_metrics(labels, found.head, seed=seed)
    half = SplitConformal.from_dict(module.moltc.calibration["conformal"]).half_width(LEVEL)
    if np.isinf(half):
        return metrics, extra, []
    covered = np.mean(np.abs(labels - found.value) <= half)
    return metrics, extra, [f"The {LEVEL:.0%} intervals hold {covered:.1%} of the test labels."]


def _binary_rows(
    module: PairModule, labels: np.ndarray, found: Answers, raw: Answers, seed: int
) -> tuple[dict[str, Metric], Rows, list[str]]:
    kind = module.moltc.task.kind
    valid = np.array([kind.parse(text).valid for text in found.text])
    metrics = binary_metrics(labels, found.log_odds, valid=valid, seed=seed)
    if not np.isnan(found.log_odds_orders).any():
        metrics["order_disagreement"] = order_disagreement(*found.log_odds_orders.T, seed=seed)
    extra = {"MolTC, uncalibrated": binary_metrics(labels, raw.log_odds, seed=seed)}
    if not np.isnan(found.head).any():
        extra["auxiliary head (control)"] = binary_metrics(labels, found.head, seed=seed)
    notes = []
    if module.free_texts:
        parsed = [kind.parse(text) for _, text in module.free_texts]
        truth = module.labels(np.array([row for row, _ in module.free_texts]))
        right = np.mean([p.value == y for p, y in zip(parsed, truth, strict=True)])
        invalid = np.mean([not p.valid for p in parsed])
        notes.append(
            f"Written freely (greedy, one order, {len(parsed)} test pairs): accuracy {right:.3f}, "
            f"{invalid:.1%} invalid answers (counted as wrong)."
        )
    return metrics, extra, notes


def predictions(
    table: Any, rows: np.ndarray, labels: np.ndarray, found: Answers, model: MolTC
) -> pl.DataFrame:
    """One row per answered pair: molecules, truth, answer, its parts."""
    smiles = table.molecules.smiles
    columns: dict[str, Any] = {
        "pair_id": table.pair_id[rows].astype(str),
        "smiles_a": smiles[table.mol_a[rows]].astype(str),
        "smiles_b": smiles[table.mol_b[rows]].astype(str),
        "truth": labels,
        "text": found.text,
        "reasoning": found.reasoning,
    }
    if model.task.is_number:
        columns |= {
            "value": found.value,
            "best": found.best,
            "low": found.interval[:, 0],
            "high": found.interval[:, 1],
        }
        columns |= {"spread": found.spread, "coverage": found.coverage}
    else:
        columns |= {"log_odds": found.log_odds, "probability": found.value}
    if not np.isnan(found.head).any():
        columns["head"] = found.head
    return pl.DataFrame(columns)


def examples(
    table: Any, rows: np.ndarray, labels: np.ndarray, found: Answers, model: MolTC, count: int = 8
) -> list[dict[str, Any]]:
    """A few answered pairs spread over the split, ready to print."""
    picked = np.unique(np.linspace(0, len(rows) - 1, count).astype(int))
    a, b = model.task.kind.role_titles
    shown = []
    for i in picked.tolist():
        row = rows[i]
        entry = {
            a: str(table.molecules.smiles[table.mol_a[row]]),
            b: str(table.molecules.smiles[table.mol_b[row]]),
            "answer": found.text[i],
        }
        if found.reasoning[i]:
            entry["reasoning"] = found.reasoning[i]
        if model.task.is_number:
            entry["truth"] = f"{labels[i]:+.2f} {model.task.unit}"
        else:
            entry |= {"p(yes)": f"{found.value[i]:.2f}", "truth": "yes" if labels[i] else "no"}
        shown.append(entry)
    return shown


def _pictures(
    folder: Path,
    module: PairModule,
    labels: np.ndarray,
    found: Answers,
    raw: Answers,
    logs: Sequence[Path],
) -> dict[str, Path]:
    task = module.moltc.task
    marks: dict[str, Any] = {"title": f"{task.dataset}: {task.property}", "computed": task.computed}
    pictures: dict[str, Path] = {}
    if task.is_number:
        intervals = None if np.isnan(found.interval).all() else found.interval
        words: dict[str, Any] = {"quantity": task.property, "unit": task.unit, **marks}
        pictures["predicted and true"] = plots.parity_plot(
            folder / "parity.png", labels, found.value, intervals=intervals, **words
        )
        pictures["errors"] = plots.residual_histogram(folder / "residuals.png", labels, found.value, **words)
    else:
        if len(np.unique(labels)) == 2:
            scores = {"MolTC": found.log_odds}
            pictures["ROC"] = plots.roc_plot(folder / "roc.png", labels, scores, **marks)
        pictures["calibration"] = plots.reliability_plot(
            folder / "calibration.png", labels, {"as scored": raw.value, "calibrated": found.value}, **marks
        )
    for number, log in enumerate(logs, start=1):
        name = "loss" if len(logs) == 1 else f"loss, part {number}"
        pictures[name] = plots.loss_curves(folder / f"loss{number}.png", log, **marks)
    return pictures
