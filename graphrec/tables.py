"""Results as tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from graphrec.comparison import Side
from graphrec.results import Evaluation
from moltc.backbone.bootstrap import Metric

SAMPLED = "HitRatio@1: among sampled candidates, mean of {} draws"
WHOLE = "; the others rank the whole catalogue"


def print_metrics(evaluation: Evaluation, metrics: Mapping[str, Mapping[str, Metric]]) -> None:
    """One column for each group of rows, with the interval of all rows."""
    task, groups = evaluation.task, [name for name in metrics if name != "all"]
    sizes = {name: int(evaluation.groups[name].sum()) for name in groups}
    table = Table(
        "metric",
        f"all ({len(evaluation)})",
        "95 % interval",
        *(f"{name} ({sizes[name]})" for name in groups),
        title=f"{task.label} on {task.data}, {task.protocol}, {task.split}",
        caption=_caption(evaluation),
    )
    for name, metric in metrics["all"].items():
        table.add_row(name, *_shown(metric), *(f"{metrics[group][name].value:.4f}" for group in groups))
    _print(table)


def _caption(evaluation: Evaluation) -> str | None:
    if evaluation.draws is None:
        return None
    return SAMPLED.format(evaluation.draws.shape[1]) + ("" if evaluation.ranks is None else WHOLE)


def print_comparison(sides: Sequence[Side], names: Sequence[str]) -> None:
    """One line for each model: values, intervals, and differences to the first with their p."""
    table = Table("model", title=f"differences to {sides[0].label} are paired")
    for name in names:
        table.add_column(name)
        table.add_column("95 % interval")
        table.add_column("difference")
        table.add_column("p")
    for side in sides:
        cells = [f"{side.label} ({side.runs} seeds)" if side.runs > 1 else side.label]
        for name in names:
            cells += _shown(side.metrics[name])
            if name in side.differences:
                gap = side.differences[name]
                cells += [f"{gap.metric.value:+.4f} ({gap.metric.low:+.4f} to {gap.metric.high:+.4f})"]
                cells += ["< 0.001" if gap.p < 1e-3 else f"{gap.p:.3f}"]
            else:
                cells += ["", ""]
        table.add_row(*cells)
    _print(table)


def _shown(metric: Metric) -> list[str]:
    return [f"{metric.value:.4f}", f"{metric.low:.4f} to {metric.high:.4f}"]


def _print(table: Table) -> None:
    console = Console()
    console.print(table) if console.is_terminal else Console(width=240).print(table)
