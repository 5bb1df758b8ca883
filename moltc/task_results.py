"""What the answers to one task are worth: calibration on valid, metrics on test, controls beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from moltc.answering import Answers, calibrated
from moltc.bootstrap import Metric
from moltc.calibration import PlattCalibration, SplitConformal
from moltc.class_calibration import ClassCalibration, ConformalSets
from moltc.class_metrics import NO_CLASS, class_metrics, decision_metrics
from moltc.metrics import binary_metrics, order_disagreement, regression_metrics
from moltc.model import MolTC
from moltc.module import Found, PairModule
from moltc.text_metrics import text_metrics

LEVEL = 0.9


@dataclass
class TaskResults:
    """Results of one task.

    Attributes
    ----------
    rows : int64 [n], rows of the pair table.
    labels : float64 [n] on the printed scale; NaN for free texts.
    raw, found : answers before and after calibration.
    metrics : of the text answers. controls : the same of other ways to answer. notes : sentences.
    """

    rows: np.ndarray
    labels: np.ndarray
    raw: Answers
    found: Answers
    metrics: dict[str, Metric]
    controls: dict[str, dict[str, Metric]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def task_results(module: PairModule, number: int, seed: int = 0) -> TaskResults:
    """Calibrate a task on the valid answers of the module's last test run, and measure its test answers."""
    model, tested = module.moltc, module.test_answers[number]
    kind = model.tasks[number].kind.kind
    rows, raw = tested["test"]
    if kind == "text":
        return _text_results(module, number, rows, raw, seed)
    notes = calibrate(model, number, module.labels, tested["valid"])
    found = calibrated(model, number, raw)
    results = TaskResults(rows, module.labels(rows), raw, found, {}, {}, notes)
    {"number": _numbers, "binary": _binary, "class": _classes}[kind](module, number, results, seed)
    if found.reasoning_cut.any():
        cut = int(found.reasoning_cut.sum())
        results.notes.append(f"{cut} of {len(rows)} reasoning steps did not end within budget.")
    return results


def calibrate(
    model: MolTC, number: int, labels_of: Callable[[np.ndarray], np.ndarray], valid: Found
) -> list[str]:
    """Fit a task's calibration on validation answers and keep it with the model; returns notes."""
    task, (rows, found) = model.tasks[number], valid
    labels = labels_of(rows)
    if task.is_number:
        conformal = SplitConformal.fit(labels, found.value)
        model.calibration[task.name] = {"conformal": conformal.to_dict()}
        width = conformal.half_width(LEVEL)
        if np.isinf(width):
            return [f"No {LEVEL:.0%} prediction intervals: {len(labels)} validation pairs are too few."]
        return [f"{LEVEL:.0%} prediction intervals (split conformal, fitted on valid): ± {width:.3g}."]
    if task.kind.kind == "class":
        scale = ClassCalibration.fit(found.scores, labels)
        sets = ConformalSets.fit(scale.apply(found.scores), labels, LEVEL)
        model.calibration[task.name] = {"temperature": scale.to_dict(), "sets": sets.to_dict()}
        return [
            f"Probabilities are calibrated on valid: {scale.note or f'temperature {scale.temperature:.3g}'}."
        ]
    platt = PlattCalibration.fit(found.log_odds, labels)
    model.calibration[task.name] = {"platt": platt.to_dict()}
    fitted = f"temperature {platt.temperature:.3g}, bias {platt.bias:+.3g}"
    return [f"Probabilities are calibrated on valid (Platt): {platt.note or fitted}."]


def _numbers(module: PairModule, number: int, results: TaskResults, seed: int) -> None:
    model, found, labels = module.moltc, results.found, results.labels
    task = model.tasks[number]
    assert module.data.table is not None
    train = module.labels(module.data.rows("train", number))
    span, mean = (task.low, task.high), float(train.mean())
    valid = np.array([task.kind.parse(text, span).valid for text in found.text])
    named = None if np.isnan(found.interval).all() else found.interval
    results.metrics = regression_metrics(
        labels, found.value, valid=valid, intervals=named, train_mean=mean, seed=seed
    )
    results.metrics.pop("self_consistency", None)  # the automaton leaves no other choice
    results.controls["MolTC, most probable answer"] = regression_metrics(labels, found.best, seed=seed)
    if module.free_texts[number]:
        parsed = [task.kind.parse(text, span) for _, text in module.free_texts[number]]
        truth = module.labels(np.array([row for row, _ in module.free_texts[number]]))
        bounds = np.array([p.interval or (np.nan, np.nan) for p in parsed])
        results.controls[f"MolTC, written freely ({len(parsed)} pairs)"] = regression_metrics(
            truth,
            np.array([0.0 if p.value is None else p.value for p in parsed]),
            valid=np.array([p.valid for p in parsed]),
            intervals=None if named is None else bounds,
            train_mean=mean,
            seed=seed,
        )
    if not np.isnan(found.head).any():
        results.controls["auxiliary head (control)"] = regression_metrics(labels, found.head, seed=seed)
    half = SplitConformal.from_dict(model.calibration[task.name]["conformal"]).half_width(LEVEL)
    if not np.isinf(half):
        covered = np.mean(np.abs(labels - found.value) <= half)
        results.notes.append(f"The {LEVEL:.0%} intervals hold {covered:.1%} of the test labels.")


def _head_title(module: PairModule) -> str:
    votes = " with votes" if module.config.head.neighbours else ""
    return f"auxiliary head{votes} (control)"


def _binary(module: PairModule, number: int, results: TaskResults, seed: int) -> None:
    found, labels = results.found, results.labels
    kind = module.moltc.tasks[number].kind
    valid = np.array([kind.parse(text).valid for text in found.text])
    results.metrics = binary_metrics(labels, found.log_odds, valid=valid, seed=seed)
    if not np.isnan(found.log_odds_orders).any():
        results.metrics["order_disagreement"] = order_disagreement(*found.log_odds_orders.T, seed=seed)
    results.controls["MolTC, uncalibrated"] = binary_metrics(labels, results.raw.log_odds, seed=seed)
    if not np.isnan(found.head).any():
        results.controls[_head_title(module)] = binary_metrics(labels, found.head, seed=seed)
    if module.free_texts[number]:
        parsed = [kind.parse(text) for _, text in module.free_texts[number]]
        truth = module.labels(np.array([row for row, _ in module.free_texts[number]]))
        right = np.mean([p.value == y for p, y in zip(parsed, truth, strict=True)])
        invalid = np.mean([not p.valid for p in parsed])
        results.notes.append(
            f"Written freely (greedy, one order, {len(parsed)} test pairs): accuracy {right:.3f}, "
            f"{invalid:.1%} invalid answers (counted as wrong)."
        )


def _classes(module: PairModule, number: int, results: TaskResults, seed: int) -> None:
    model, found, labels = module.moltc, results.found, results.labels
    task = model.tasks[number]
    valid = np.array([task.kind.parse(text).valid for text in found.text])
    results.metrics = class_metrics(labels, found.scores, valid=valid, seed=seed)
    results.controls["MolTC, uncalibrated"] = class_metrics(labels, results.raw.scores, seed=seed)
    if module.free_texts[number]:
        parsed = [task.kind.parse(text) for _, text in module.free_texts[number]]
        truth = module.labels(np.array([row for row, _ in module.free_texts[number]]))
        written = np.array([NO_CLASS if p.value is None else p.value for p in parsed]).astype(int)
        results.controls[f"MolTC, written freely ({len(parsed)} pairs)"] = decision_metrics(
            truth, written, seed=seed
        )
    if not np.isnan(found.head).any():
        results.controls[_head_title(module)] = class_metrics(labels, found.head_scores, seed=seed)
    sets = ConformalSets.from_dict(model.calibration[task.name]["sets"])
    covered = sets.coverage(np.exp(found.scores), labels)
    results.notes.append(
        f"{LEVEL:.0%} prediction sets (split conformal) hold {covered.coverage:.1%} of the test classes and "
        f"{covered.mean_size:.1f} classes on average."
    )


def _text_results(
    module: PairModule, number: int, rows: np.ndarray, found: Answers, seed: int
) -> TaskResults:
    wanted = module.references(rows)
    metrics = text_metrics(wanted, found.text, seed=seed)
    notes = [f"{len(rows)} seeded test pairs were written, greedily and without constraint."]
    if found.reasoning_cut.any():
        notes.append(f"{int(found.reasoning_cut.sum())} of them did not end within the budget of tokens.")
    return TaskResults(rows, np.full(len(rows), np.nan), found, found, metrics, {}, notes)
