"""Plots of a preference run, one PNG a call: curves of its log, and histograms of reward margins.

Figures are drawn without pyplot, so nothing global is touched and no display is needed; each is written whole
or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data_prep.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curves = Mapping[str, Sequence[tuple[float, float]]]
"""Name of a column of the log -> (step, value) in order."""

_STYLE: dict[Any, Any] = {
    "figure.figsize": (5.2, 3.9),
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
_BLUE, _ORANGE = "#2b6ca3", "#d1622b"


def margin_histogram(path: Path, margins: NDArray[np.float64], *, title: str) -> Path:
    """How far chosen rewards lie above rejected ones, ``margins`` ``[n]``, n >= 1; those above 0 in blue."""
    with _axes(path, title=title) as axes:
        edges = np.histogram_bin_edges(np.append(margins, 0.0), bins=40)
        above = margins > 0
        parts = ((above, _BLUE, "chosen ahead"), (~above, _ORANGE, "rejected ahead or equal"))
        for mask, colour, words in parts:
            axes.hist(margins[mask], edges.tolist(), color=colour, label=f"{words}: {mask.mean():.0%}")
        axes.set_xlabel("reward margin (nats times beta)")
        axes.set_ylabel("examples")
        axes.legend()
    return path


def curves_plot(path: Path, curves: Curves, *, title: str, quantity: str) -> Path:
    """Columns of a training log against the step; at least one."""
    with _axes(path, title=title) as axes:
        for name, points in curves.items():
            steps, values = np.array(points).T
            axes.plot(steps, values, label=name, marker="o" if len(steps) <= 40 else None, markersize=3)
        axes.set_xlabel("training step")
        axes.set_ylabel(quantity)
        axes.legend()
    return path


@contextmanager
def _axes(path: Path, *, title: str) -> Iterator[Axes]:
    """Axes of a new figure; it is saved when the block ends without an error."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title, parse_math=False)  # a "$" in a title is a dollar sign
        yield axes
        with replacing(path) as partial:
            figure.savefig(partial, format="png")
