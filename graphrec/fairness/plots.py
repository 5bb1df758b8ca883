"""Plots of a fairness study: gaps of groups, and what fairness costs in accuracy; one PNG a call.

Figures are drawn without pyplot, so nothing global is touched and no display is needed; each is written whole
or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_prep.files import replacing
from graphrec.fairness.study import GroupStudy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLE: dict[Any, Any] = {
    "figure.dpi": 130,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "legend.frameon": False,
    "legend.fontsize": 9,
}
_COLOURS = {"model": "#2b6ca3", "reranked": "#d1622b", "calibrated": "#3b8f5a", "decoded": "#7a5195"}


def gaps_plot(path: Path, study: GroupStudy, k: int, *, title: str) -> Path:
    """GU of every group in lists of length k, a bar for each arm with its interval."""
    names = study.groups.names
    arms = {name: arm for name, arm in study.arms.items() if k in arm.unfairness.ks}
    with _axes(path, title=title, height=1.6 + 0.28 * len(names)) as axes:
        height = 0.8 / len(arms)
        for place, (name, arm) in enumerate(arms.items()):
            found = [arm.metrics[f"GU@{k} {group}"] for group in names]
            values = np.array([metric.value for metric in found])
            spread = np.array([[m.value - m.low, m.high - m.value] for m in found]).T
            at = np.arange(len(names)) + (place - (len(arms) - 1) / 2) * height
            axes.barh(at, values, height, xerr=np.maximum(spread, 0), color=_COLOURS[name], label=name)
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.set_yticks(np.arange(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlabel(f"share of lists minus target, GU@{k}")
        axes.legend()
    return path


def trade_off_plot(path: Path, study: GroupStudy, fairness_k: int, accuracy_k: int, *, title: str) -> Path:
    """NDCG against MGU on validation, a point for each alpha, the chosen one marked."""
    with _axes(path, title=title, height=3.9) as axes:
        gaps = [point.mgu[fairness_k] for point in study.curve]
        gains = [point.ndcg[accuracy_k] for point in study.curve]
        axes.plot(gaps, gains, marker="o", markersize=3, color=_COLOURS["model"], label="alpha")
        for point in (study.curve[0], study.curve[-1]):
            at = (point.mgu[fairness_k], point.ndcg[accuracy_k])
            axes.annotate(f"{point.alpha:g}", at, xytext=(4, 4), textcoords="offset points", fontsize=8)
        chosen = study.chosen
        axes.plot(
            chosen.mgu[fairness_k],
            chosen.ndcg[accuracy_k],
            marker="o",
            linestyle="",
            color=_COLOURS["reranked"],
            label=f"chosen: {chosen.alpha:g}",
        )
        axes.set_xlabel(f"MGU@{fairness_k} (less is fairer)")
        axes.set_ylabel(f"NDCG@{accuracy_k}")
        axes.legend()
    return path


@contextmanager
def _axes(path: Path, *, title: str, height: float) -> Iterator[Axes]:
    """Axes of a new figure; it is saved when the block ends without an error."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.0, height), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title, parse_math=False)  # a "$" in a title is a dollar sign
        yield axes
        with replacing(path) as partial:
            figure.savefig(partial, format="png")
