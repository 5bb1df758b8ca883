"""What Weights & Biases is told of a fairness study, beside its files: metrics, curves, tables, plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from graphrec.fairness.report import FairnessReport, curve_rows
from moltc.backbone.tracking import RunTracker, flat_metrics


def track(report: FairnessReport, written: Sequence[Path], tracker: RunTracker) -> None:
    """Tell a run of everything that was found.

    Args:
        report: of a study.
        written: the paths that its ``write`` gave; plots among them are shown.
        tracker: of the run.
    """
    summary: dict[str, float | None] = {}
    for name, study in report.studies.items():
        for arm, found in study.arms.items():
            summary |= flat_metrics(f"fairness/{name}/{arm}", found.metrics)
            summary |= flat_metrics(f"fairness/{name}/{arm} - model", found.changes)
        columns, rows = curve_rows(study, report.options.ks)
        tracker.log_table(f"fairness/{name}/curve", columns, rows)
    tracker.experiment.summary.update(summary)
    plots = {f"fairness/plots/{path.stem}": path for path in written if path.suffix == ".png"}
    tracker.log_images(plots)
