"""The page and the numbers that a test run leaves behind."""

from __future__ import annotations

import base64
import csv
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from align.plots import Curves, curves_plot
from data_prep.files import replacing
from moltc.backbone.bootstrap import Metric

PAGE, RESULTS = "report.html", "results.json"
CURVES = {
    "loss": ("train/loss", "val/loss"),
    "reward accuracy": ("train/rewards/accuracies", "val/rewards/accuracies"),
    "reward margin": ("train/rewards/margins", "val/rewards/margins"),
    "log-ratio to the reference": ("val/kl/chosen", "val/kl/rejected"),
    "log-probability": ("val/logps/chosen", "val/logps/rejected"),
    "gradient norm": ("train/grad_norm",),
}
"""Plots by what they show, each of some columns of the log; those the log lacks are left out."""

_CSS = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto;
padding: 0 1rem; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; }
img { max-width: 28rem; width: 100%; height: auto; } figcaption { font-size: .85rem; color: #555; }
"""


def read_curves(logs: Sequence[Path]) -> Curves:
    """Columns of metrics.csv files as Lightning's CSVLogger writes them, one run after the other.

    Where a resumed run repeats a step, its own value stands.
    """
    found: dict[str, dict[float, float]] = {}
    for log in logs:
        with log.open(newline="", encoding="utf-8") as rows:
            for row in csv.DictReader(rows):
                for name, cell in row.items():
                    if cell and name not in ("step", "epoch"):
                        found.setdefault(name, {})[float(row["step"])] = float(cell)
    return {name: sorted(points.items()) for name, points in found.items()}


def plot_curves(folder: Path, curves: Curves) -> dict[str, Path]:
    """Draw what :data:`CURVES` names and the log holds; returns the pictures by caption."""
    drawn = {}
    for caption, names in CURVES.items():
        if present := {name: curves[name] for name in names if name in curves}:
            path = folder / f"{caption.replace(' ', '_')}.png"
            drawn[caption] = curves_plot(path, present, title=caption, quantity=caption)
    return drawn


def write_report(
    folder: Path,
    *,
    title: str,
    results: Mapping[str, Metric],
    pictures: Mapping[str, Path],
    samples: Sequence[Mapping[str, Any]] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Write ``report.html`` (pictures inside it) and ``results.json``; returns the page.

    Args:
        folder: where to; made when missing.
        title: heading.
        results: numbers with their intervals.
        pictures: PNG files by caption.
        samples: replies, each with ``prompt``, ``chosen`` and ``reply``.
        notes: sentences below the table.
    """
    record = {
        "title": title,
        "results": {name: _numbers(metric) for name, metric in results.items()},
        "notes": list(notes),
    }
    with replacing(folder / RESULTS) as partial:
        partial.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    figures = "".join(
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,'
        f'{base64.b64encode(path.read_bytes()).decode("ascii")}"><figcaption>{escape(caption)}</figcaption></figure>'
        for caption, path in pictures.items()
    )
    parts = [
        f"<h1>{escape(title)}</h1><h2>Held-out examples</h2>",
        _table(["", "mean", "95 % interval"], [_row(name, metric) for name, metric in results.items()]),
        "<p>Bootstrap intervals over examples.</p>",
        *(f"<p>{escape(note)}</p>" for note in notes),
        f'<h2>Curves</h2><div class="plots">{figures}</div>' if figures else "",
    ]
    if samples:
        names = ("prompt", "chosen", "reply")
        rows = [[str(sample[name]) for name in names] for sample in samples]
        parts += ["<h2>Greedy replies after training</h2>", _table(names, rows)]
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_CSS}</style></head>\n<body>\n"
        + "\n".join(filter(None, parts))
        + "\n</body></html>\n"
    )
    with replacing(folder / PAGE) as partial:
        partial.write_text(page, encoding="utf-8")
    return folder / PAGE


def format_metric(metric: Metric) -> tuple[str, str]:
    """Mean and interval as text; a dash where undefined."""
    if math.isnan(metric.value):
        return "–", ""
    interval = "" if math.isnan(metric.low) else f"{metric.low:.4g} to {metric.high:.4g}"
    return f"{metric.value:.4g}", interval


def _row(name: str, metric: Metric) -> list[str]:
    return [name, *format_metric(metric)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _numbers(metric: Metric) -> dict[str, float | None]:
    """JSON values; an undefined number becomes null."""
    return {name: value if math.isfinite(value) else None for name, value in metric._asdict().items()}
