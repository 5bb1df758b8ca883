"""``moltc summarise``: the results of several runs, as mean and standard deviation, in one table."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from moltc.bootstrap import Metric
from moltc.metrics import over_seeds
from moltc.report import JSON_NAME, column_title, format_metric, metric_columns

Row = dict[str, Metric]


def results_file(run: Path) -> Path:
    """Where the test results of a run lie; of a run with several tasks name RUN/test/TASK.

    Raises
    ------
    ValueError : the folder holds no test results.
    """
    file = next((f for f in (run / "test" / JSON_NAME, run / JSON_NAME) if f.is_file()), None)
    if file is None:
        tasks = ", ".join(str(f.parent) for f in sorted(run.glob(f"test/*/{JSON_NAME}")))
        mend = f"name the folder of a task: {tasks}" if tasks else "test it first: moltc test --ckpt_path ..."
        raise ValueError(f"{run} holds no test/{JSON_NAME}; {mend}")
    return file


def read_results(run: Path) -> dict[str, Row]:
    """Row name -> metrics of a run's test, the model first; see :func:`results_file`."""
    record = json.loads(results_file(run).read_text(encoding="utf-8"))
    rows = {record.get("model", "model"): record["metrics"], **record["baselines"]}
    return {name: {key: _metric(value) for key, value in row.items()} for name, row in rows.items()}


def _metric(value: dict[str, float | None]) -> Metric:
    return Metric(*(math.nan if value[key] is None else float(value[key] or 0.0) for key in Metric._fields))


def summary(runs: Sequence[Path]) -> str:
    """A Markdown table: a row for each method; one run shows its bootstrap intervals, several mean ± sd.

    Methods that not all runs have are left out of the table and named below it.
    """
    results = [read_results(run) for run in runs]
    everywhere = [name for name in results[0] if all(name in found for found in results)]
    partial = sorted({name for found in results for name in found} - set(everywhere))
    columns = metric_columns({name: results[0][name] for name in everywhere})
    lines = [
        "| method | " + " | ".join(column_title(name) for name in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for name in everywhere:
        rows = [found[name] for found in results]
        lines.append("| " + " | ".join([name, *(_cell(rows, column) for column in columns)]) + " |")
    if partial:
        lines.append(f"\nNot in every run: {', '.join(partial)}.")
    return "\n".join(lines)


def _cell(rows: Sequence[Row], column: str) -> str:
    if any(column not in row for row in rows):
        return ""
    if len(rows) == 1:
        return " ".join(filter(None, format_metric(rows[0][column])))
    mean, deviation = over_seeds([{column: row[column]} for row in rows])[column]
    return "–" if math.isnan(mean) else f"{mean:.3f} ± {deviation:.3f}"
