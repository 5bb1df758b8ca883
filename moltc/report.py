"""The result of an evaluation as one self-contained page, as JSON and as a table in the terminal.

The model's row and the naive baselines' rows always stand together, each value with its bootstrap interval.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moltc.bootstrap import Metric
from moltc.metrics import METRICS, MetricInfo

if TYPE_CHECKING:
    from rich.console import Console

MetricTable = Mapping[str, Mapping[str, Metric]]
"""Row name -> metric name -> metric."""

TERMINAL_METRICS = (
    "mae",
    "rmse",
    "r2",
    "auc_roc",
    "accuracy",
    "macro_f1",
    "brier",
    "bleu2",
    "bleu4",
    "token_f1",
    "invalid_rate",
)
COMPUTED_NOTICE = "The labels of this data set are computed by a formula, not measured."
PAGE_NAME, JSON_NAME = "report.html", "metrics.json"

_CSS = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0
1rem; } h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.model { background: #eef4fa; font-weight: 600; }
.interval { color: #666; font-weight: 400; font-size: .8rem; }
.computed { background: #fff3d6; border-left: 4px solid #d19a1b; padding: .5rem 1rem; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; }
img { max-width: 28rem; width: 100%; height: auto; } figcaption { font-size: .85rem; color: #555; }
"""


def write_report(
    folder: Path,
    *,
    title: str,
    metrics: Mapping[str, Metric],
    baselines: MetricTable,
    plots: Mapping[str, Path] | Sequence[Path] = (),
    examples: Sequence[Mapping[str, object]] = (),
    notes: Sequence[str] = (),
    computed: bool = False,
    unit: str = "",
    model_name: str = "model",
) -> Path:
    """Write ``report.html`` (everything inside it, pictures too) and ``metrics.json``.

    Args:
        folder: where to write; made when missing.
        title: heading, e.g. data set and split.
        metrics: of the model.
        baselines: row title -> metrics of each naive baseline on the same pairs.
        plots: PNG files, by caption or in order; a missing one is an error.
        examples: answered pairs, one mapping of column to value each; columns in order of first appearance.
        notes: sentences shown below the tables: counts of rejected rows, calibration outcome, commands.
        computed: say that the labels are computed, not measured.
        unit: of the label, shown with MAE and RMSE.
        model_name: of the first row.

    Returns:
        Path of the page.

    Every text is escaped. Each file appears whole or not at all.
    """
    if model_name in baselines:
        raise ValueError(f"a baseline is called {model_name!r} like the model: pass another model_name")
    rows = {model_name: metrics, **baselines}
    captions = dict(plots) if isinstance(plots, Mapping) else {path.stem: path for path in plots}
    parts = [f"<h1>{escape(title)}</h1>"]
    if computed:
        parts.append(f'<p class="computed">{escape(COMPUTED_NOTICE)}</p>')
    parts += ["<h2>Metrics</h2>", _metrics_html(rows, unit)]
    parts.append(
        "<p>Value with its bootstrap interval over pairs. ↑ higher is better, ↓ lower is better.</p>"
    )
    if captions:
        figures = "".join(_figure_html(caption, path) for caption, path in captions.items())
        parts += ["<h2>Plots</h2>", f'<div class="plots">{figures}</div>']
    if examples:
        parts += ["<h2>Answered pairs</h2>", _examples_html(examples)]
    if notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in notes)
        parts += ["<h2>Notes</h2>", f"<ul>{items}</ul>"]
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_CSS}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
    record = {
        "title": title,
        "model": model_name,
        "computed": computed,
        "unit": unit,
        "metrics": _plain(metrics),
        "baselines": {name: _plain(row) for name, row in baselines.items()},
        "notes": list(notes),
    }
    folder.mkdir(parents=True, exist_ok=True)
    _write_whole(folder / JSON_NAME, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return _write_whole(folder / PAGE_NAME, page)


def print_metrics(
    console: Console,
    metrics: Mapping[str, Metric],
    baselines: MetricTable,
    *,
    title: str = "",
    unit: str = "",
    model_name: str = "model",
    computed: bool = False,
) -> None:
    """Print the main metrics of the model and of the other rows as a table that fits a terminal.

    The first row stands with its intervals; everything is on the page.
    """
    from rich.table import Table
    from rich.text import Text

    rows = {model_name: metrics, **baselines}
    table = Table(
        title=Text(title) if title else None,
        caption=Text(COMPUTED_NOTICE) if computed else None,
    )
    table.add_column("")
    names = [name for name in metric_columns(rows) if name in TERMINAL_METRICS]
    for name in names:
        table.add_column(Text(column_title(name)), justify="right")
    for row, values in rows.items():
        lines = 2 if row == model_name else 1
        cells = [Text("\n".join(filter(None, format_metric(values.get(name))[:lines]))) for name in names]
        table.add_row(Text(row), *cells, style="bold" if row == model_name else "")
    console.print(table)


def metric_columns(rows: MetricTable) -> list[str]:
    """Names of all metrics that occur, known ones first and in their usual order."""
    present = dict.fromkeys(name for row in rows.values() for name in row)
    return [
        *(name for name in METRICS if name in present),
        *(name for name in present if name not in METRICS),
    ]


def column_title(name: str, unit: str = "") -> str:
    """Heading of a metric's column, e.g. "MAE (kcal/mol) ↓"."""
    info = METRICS.get(name)
    if info is None:
        return name
    return f"{_with_unit(info, unit)} {'↑' if info.higher_is_better else '↓'}"


def format_metric(metric: Metric | None) -> tuple[str, str]:
    """Value and interval as text: three decimals below 10, one above; a dash where undefined or absent."""
    if metric is None or math.isnan(metric.value):
        return "–", ""
    decimals = 3 if abs(metric.value) < 10 else 1
    value = f"{metric.value:.{decimals}f}"
    if math.isnan(metric.low) or math.isnan(metric.high):
        return value, ""
    return value, f"[{metric.low:.{decimals}f}, {metric.high:.{decimals}f}]"


def _with_unit(info: MetricInfo, unit: str) -> str:
    return f"{info.title} ({unit})" if unit and info.has_unit else info.title


def _metrics_html(rows: MetricTable, unit: str) -> str:
    names = metric_columns(rows)
    head = "".join(f'<th class="number">{escape(column_title(name, unit))}</th>' for name in names)
    body = []
    for index, (row, values) in enumerate(rows.items()):
        cells = []
        for name in names:
            value, interval = format_metric(values.get(name))
            below = f'<br><span class="interval">{escape(interval)}</span>' if interval else ""
            cells.append(f'<td class="number">{escape(value)}{below}</td>')
        body.append(f"<tr{' class=model' if index == 0 else ''}><td>{escape(row)}</td>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table><tr><th></th>{head}</tr>{"".join(body)}</table></div>'


def _figure_html(caption: str, path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"plot {caption!r} is not at {path}")
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    text = escape(caption)
    image = f'<img alt="{text}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def _examples_html(examples: Sequence[Mapping[str, object]]) -> str:
    columns = list(dict.fromkeys(column for example in examples for column in example))
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(example.get(column, '')))}</td>" for column in columns) + "</tr>"
        for example in examples
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _plain(metrics: Mapping[str, Metric]) -> dict[str, dict[str, Any]]:
    """JSON values; an undefined number becomes null."""
    return {
        name: {key: value if math.isfinite(value) else None for key, value in metric._asdict().items()}
        for name, metric in metrics.items()
    }


def _write_whole(path: Path, text: str) -> Path:
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
    return path
