"""Plots of answers beside the truth and of training, one PNG a call.

Every function takes plain arrays, writes one file whole or not at all, and returns its path. Figures are
drawn without pyplot, so nothing global is touched and no display is needed. Labels that were computed rather
than measured are marked on the picture.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moltc.class_metrics import confusion_shares, per_class_f1
from moltc.metrics import ECE_BINS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

WATERMARK = "computed data"
MANY_POINTS = 2000
_STYLE: dict[Any, Any] = {
    "figure.figsize": (5.2, 4.6),
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
_WATERMARK_STYLE: dict[str, Any] = {
    "rotation": 30,
    "fontsize": 30,
    "color": "0.5",
    "alpha": 0.3,
    "ha": "center",
    "va": "center",
}
_BLUE, _ORANGE, _GREY = "#2b6ca3", "#d1622b", "0.35"


def parity_plot(
    path: Path,
    truth: ArrayLike,
    prediction: ArrayLike,
    *,
    title: str,
    quantity: str = "value",
    unit: str = "",
    intervals: ArrayLike | None = None,
    valid: ArrayLike | None = None,
    computed: bool = False,
) -> Path:
    """Predicted against true values with the line of identity.

    Args:
        path: PNG to write; missing folders are made.
        truth, prediction: [n], in ``unit``.
        title, quantity, unit: shown on the figure and its axes.
        intervals: [n, 2] answered intervals [low, high): points are coloured by whether the truth lies
            inside.
        valid: [n]; invalid answers are not drawn but counted in the legend.
        computed: mark the figure as showing computed data.

    More than 2,000 points are drawn as a density; the share inside the interval then stands in the legend.
    """
    y, p = _pair(truth, prediction)
    shown = np.ones(len(y), dtype=np.bool_) if valid is None else np.asarray(valid, dtype=np.bool_)
    inside = None
    if intervals is not None:
        bounds = np.asarray(intervals, dtype=np.float64)
        inside = (bounds[:, 0] <= y) & (y < bounds[:, 1])
    with _axes(path, title=title, computed=computed) as axes:
        _parity_points(axes, y[shown], p[shown], None if inside is None else inside[shown])
        if not shown.all():
            axes.plot([], [], " ", label=f"{int((~shown).sum())} invalid answers not drawn")
        low, high = _limits(np.concatenate([y, p[shown]]))
        axes.plot([low, high], [low, high], color=_GREY, linewidth=1, linestyle="--", label="identity")
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.set_xlabel(_with_unit(f"true {quantity}", unit))
        axes.set_ylabel(_with_unit(f"predicted {quantity}", unit))
        axes.legend(loc="upper left")
    return path


def _parity_points(axes: Axes, y: Floats, p: Floats, inside: NDArray[np.bool_] | None) -> None:
    if len(y) > MANY_POINTS:
        cells = axes.hexbin(y, p, gridsize=60, bins="log", mincnt=1, cmap="viridis")
        axes.figure.colorbar(cells, ax=axes, label="pairs per cell")
        if inside is not None:
            axes.plot([], [], " ", label=f"truth inside the answered interval: {inside.mean():.0%}")
        return
    style: dict[str, Any] = {"s": 16, "alpha": 0.7, "linewidths": 0}
    if inside is None:
        axes.scatter(y, p, color=_BLUE, **style)
        return
    for mask, colour, words in ((inside, _BLUE, "truth inside interval"), (~inside, _ORANGE, "outside")):
        axes.scatter(y[mask], p[mask], color=colour, label=f"{words}: {int(mask.sum())}", **style)


def residual_histogram(
    path: Path,
    truth: ArrayLike,
    prediction: ArrayLike,
    *,
    title: str,
    quantity: str = "value",
    unit: str = "",
    computed: bool = False,
) -> Path:
    """How the errors (predicted minus true) of n pairs are spread, with their mean."""
    y, p = _pair(truth, prediction)
    residual = p - y
    with _axes(path, title=title, computed=computed) as axes:
        axes.hist(residual, bins=min(60, max(10, int(np.sqrt(len(y))))), color=_BLUE, alpha=0.85)
        mean = float(residual.mean())
        axes.axvline(0.0, color=_GREY, linewidth=1)
        axes.axvline(mean, color=_ORANGE, linewidth=1.5, label=f"mean error {mean:+.3g}{unit and ' ' + unit}")
        axes.set_xlabel(_with_unit(f"predicted - true {quantity}", unit))
        axes.set_ylabel("pairs")
        axes.legend(loc="upper left")
    return path


def roc_plot(
    path: Path,
    labels: ArrayLike,
    scores: Mapping[str, ArrayLike],
    *,
    title: str,
    areas: Mapping[str, float] | None = None,
    computed: bool = False,
) -> Path:
    """Receiver operating characteristic of one or more sets of scores [n] for the same labels [n].

    Args:
        path: PNG to write.
        labels: 0 or 1; both must occur.
        scores: name -> scores, higher for yes.
        title: of the figure.
        areas: name -> AUC, shown in the legend where given.
        computed: mark the figure as showing computed data.
    """
    y = np.asarray(labels, dtype=np.float64)
    if not 0 < y.sum() < len(y):
        raise ValueError(f"a ROC curve needs both labels: {int(y.sum())} of {len(y)} are yes")
    with _axes(path, title=title, computed=computed) as axes:
        for name, values in scores.items():
            _, score = _pair(y, values)
            order = np.argsort(-score, kind="stable")
            last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))  # last of each group of ties
            hits, misses = np.cumsum(y[order])[last], np.cumsum(1 - y[order])[last]
            area = f" (AUC {areas[name]:.3f})" if areas and name in areas else ""
            axes.plot(np.append(0, misses / misses[-1]), np.append(0, hits / hits[-1]), label=name + area)
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--", label="chance")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.legend(loc="lower right")
    return path


def reliability_plot(
    path: Path,
    labels: ArrayLike,
    probabilities: Mapping[str, ArrayLike],
    *,
    title: str,
    computed: bool = False,
) -> Path:
    """Observed share of yes against predicted p(yes) in ten equal bins, with the number of pairs in each bin
    below.

    Args:
        path: PNG to write.
        labels: [n] 0 or 1.
        probabilities: name -> p(yes) [n], e.g. before and after calibration.
        title: of the figure.
        computed: mark the figure as showing computed data.
    """
    y = np.asarray(labels, dtype=np.float64)
    with _axes(path, title=title, computed=computed) as axes:
        counts_axes = axes.twinx()
        counts_axes.grid(False)
        for index, (name, values) in enumerate(probabilities.items()):
            _, p = _pair(y, values)
            if (bad := np.flatnonzero((p < 0) | (p > 1))).size:
                raise ValueError(f"{name}: row {bad[0]} has p(yes) = {p[bad[0]]:g}, not between 0 and 1")
            bins = np.minimum((p * ECE_BINS).astype(np.int64), ECE_BINS - 1)
            count = np.bincount(bins, minlength=ECE_BINS)
            filled = count > 0
            mean_p = np.bincount(bins, p, ECE_BINS)[filled] / count[filled]
            share = np.bincount(bins, y, ECE_BINS)[filled] / count[filled]
            axes.plot(mean_p, share, marker="o", markersize=4, color=f"C{index}", label=name)
            centres = (np.arange(ECE_BINS) + 0.5) / ECE_BINS
            counts_axes.bar(centres, count, width=0.9 / ECE_BINS, color=f"C{index}", alpha=0.15)
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--", label="perfect")
        axes.set(xlim=(0, 1), ylim=(0, 1))
        counts_axes.set_ylim(0, 4 * counts_axes.get_ylim()[1])
        counts_axes.set_ylabel("pairs in bin")
        counts_axes.spines["right"].set_visible(True)
        axes.set_xlabel("predicted p(yes)")
        axes.set_ylabel("observed share of yes")
        axes.legend(loc="upper left")
    return path


def class_bars(
    path: Path,
    labels: ArrayLike,
    predicted: ArrayLike,
    *,
    title: str,
    computed: bool = False,
) -> Path:
    """F1 of every class against how many pairs it has: one bar a class, the number of pairs on a log axis.

    Args:
        path: PNG to write.
        labels: int [n], class numbers; classes that do not occur have no bar.
        predicted: int [n], answered class numbers, -1 for an answer that could not be read.
        title: of the figure.
        computed: mark the figure as showing computed data.
    """
    classes = per_class_f1(labels, predicted)
    mean = float(classes.f1.mean())
    with _axes(path, title=title, computed=computed) as axes:
        axes.vlines(classes.support, 0.0, classes.f1, color=_BLUE, alpha=0.4, linewidth=1)
        axes.scatter(classes.support, classes.f1, color=_BLUE, s=16, alpha=0.8, linewidths=0, clip_on=False)
        axes.axhline(mean, color=_ORANGE, linewidth=1.5, linestyle="--", label=f"macro-F1 {mean:.3f}")
        axes.set_xscale("log")
        axes.set_ylim(0, 1)
        axes.set_xlabel(f"pairs of the class ({len(classes.number)} classes)")
        axes.set_ylabel("F1")
        axes.legend(loc="upper left")
    return path


def confusion_plot(
    path: Path,
    labels: ArrayLike,
    predicted: ArrayLike,
    *,
    title: str,
    names: Sequence[str] | None = None,
    top: int = 20,
    computed: bool = False,
) -> Path:
    """How the pairs of the ``top`` largest classes are answered, as shares of each class.

    Args:
        path: PNG to write.
        labels: int [n], class numbers.
        predicted: int [n], answered class numbers, -1 for an answer that could not be read.
        title: of the figure.
        names: short names of the classes [C]; their numbers where omitted.
        top: rows shown, largest class first. A last column holds all answers outside them, so that every
            row adds up to 1.
        computed: mark the figure as showing computed data.
    """
    shares = confusion_shares(labels, predicted, top)
    if names is not None and shares.number.max() >= len(names):
        raise ValueError(f"there are {len(names)} names, but class {shares.number.max()} occurs")
    words = [str(number) if names is None else names[number] for number in shares.number.tolist()]
    with _axes(path, title=title, computed=computed) as axes:
        axes.grid(False)
        image = axes.imshow(shares.share, cmap="Blues", vmin=0, vmax=1)
        axes.figure.colorbar(image, ax=axes, label="share of the class")
        axes.set_xticks(range(len(words) + 1), [*words, "other"], rotation=90, fontsize=7)
        axes.set_yticks(range(len(words)), words, fontsize=7)
        axes.set_xlabel("answered class")
        axes.set_ylabel("true class, largest first")
    return path


def loss_curves(path: Path, metrics_csv: Path, *, title: str, computed: bool = False) -> Path:
    """Every loss column of a training log against the step.

    Args:
        path: PNG to write.
        metrics_csv: log as Lightning's CSVLogger writes it: a ``step`` column and sparse columns such as
            ``train/loss`` and ``val/loss``; all columns whose name contains "loss" are drawn.
        title: of the figure.
        computed: mark the figure as showing computed data.

    Raises:
        ValueError: no ``step`` column, a value that is no number (with its line), or no loss in the log.
    """
    curves = _read_losses(metrics_csv)
    with _axes(path, title=title, computed=computed) as axes:
        for name, points in curves.items():
            steps, values = np.array(points).T
            axes.plot(steps, values, label=name, marker="o" if len(steps) <= 40 else None, markersize=3)
        if all(value > 0 for points in curves.values() for _, value in points):
            axes.set_yscale("log")
        axes.set_xlabel("training step")
        axes.set_ylabel("loss")
        axes.legend(loc="upper right")
    return path


def _read_losses(metrics_csv: Path) -> dict[str, list[tuple[float, float]]]:
    curves: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with metrics_csv.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if "step" not in (rows.fieldnames or ()):
            raise ValueError(
                f"{metrics_csv} has no column 'step' (it has: {', '.join(rows.fieldnames or ())})"
            )
        for row in rows:
            for name, cell in row.items():
                if "loss" in name and cell:
                    try:
                        curves[name].append((float(row["step"]), float(cell)))
                    except ValueError as error:
                        raise ValueError(
                            f"{metrics_csv}, line {rows.line_num}, column {name}: {error}"
                        ) from error
    if not curves:
        raise ValueError(f"{metrics_csv} holds no loss value: columns with 'loss' in their name are drawn")
    return dict(curves)


@contextmanager
def _axes(path: Path, *, title: str, computed: bool) -> Iterator[Axes]:
    """Axes of a new figure in our style; it is saved to ``path`` when the block ends without an error."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title, parse_math=False)  # a "$" in a title is a dollar sign
        yield axes
        if computed:
            figure.text(0.55, 0.5, WATERMARK, **_WATERMARK_STYLE)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".part")
        figure.savefig(unfinished, format="png")
        unfinished.replace(path)


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape or not a.size:
        raise ValueError(
            f"a plot needs two columns of one length, got shapes {list(a.shape)} and {list(b.shape)}"
        )
    return a, b


def _limits(values: Floats) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


def _with_unit(words: str, unit: str) -> str:
    return f"{words} ({unit})" if unit else words
