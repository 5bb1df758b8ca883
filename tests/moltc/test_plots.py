"""Plots are whole PNG files whose content reacts to what is plotted; bad input names the mend."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from moltc.plots import (
    MANY_POINTS,
    class_bars,
    confusion_plot,
    loss_curves,
    parity_plot,
    reliability_plot,
    residual_histogram,
    roc_plot,
)

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=60)
PREDICTION = TRUTH + RNG.normal(0, 0.3, size=60)
LABELS = (RNG.random(60) < 0.5).astype(float)
SCORES = LABELS + RNG.normal(size=60)
PROBABILITIES = 1 / (1 + np.exp(-SCORES))
CLASSES = np.minimum(RNG.geometric(0.3, size=200) - 1, 8)
ANSWERED = np.where(RNG.random(200) < 0.7, CLASSES, RNG.integers(-1, 9, size=200))
LOG = "epoch,step,train/loss,val/loss\n0,0,2.0,\n0,10,1.0,\n0,10,,1.5\n1,20,0.5,\n1,20,,1.2\n"


def write_log(folder: Path, text: str = LOG) -> Path:
    log = folder / "metrics.csv"
    log.write_text(text, encoding="utf-8")
    return log


PLOTS: dict[str, Callable[..., Path]] = {
    "parity": lambda path, **kw: parity_plot(path, TRUTH, PREDICTION, unit="nm", **kw),
    "residuals": lambda path, **kw: residual_histogram(path, TRUTH, PREDICTION, unit="nm", **kw),
    "roc": lambda path, **kw: roc_plot(path, LABELS, {"model": SCORES}, areas={"model": 0.7}, **kw),
    "reliability": lambda path, **kw: reliability_plot(path, LABELS, {"model": PROBABILITIES}, **kw),
    "class bars": lambda path, **kw: class_bars(path, CLASSES, ANSWERED, **kw),
    "confusion": lambda path, **kw: confusion_plot(path, CLASSES, ANSWERED, top=5, **kw),
    "loss": lambda path, **kw: loss_curves(path, write_log(path.parent), **kw),
}


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS.keys())
def test_plot_is_one_whole_png_and_shows_that_data_are_computed(
    plot: Callable[..., Path], tmp_path: Path
) -> None:
    plain = plot(tmp_path / "plain.png", title="a $ title")
    marked = plot(tmp_path / "marked.png", title="a $ title", computed=True)
    assert imread(plain).shape == imread(marked).shape
    assert not np.array_equal(imread(plain), imread(marked))
    assert not list(tmp_path.glob("*.part"))


def test_missing_folders_are_made(tmp_path: Path) -> None:
    assert residual_histogram(tmp_path / "a" / "b.png", TRUTH, PREDICTION, title="t").is_file()


@pytest.mark.parametrize("n", [60, MANY_POINTS + 1], ids=["points", "density"])
def test_parity_shows_intervals_and_invalid_answers(tmp_path: Path, n: int) -> None:
    truth = RNG.normal(size=n)
    prediction = truth + 0.1
    options: dict[str, Any] = {
        "intervals": np.stack([prediction - 0.05, prediction + 0.5], axis=1),
        "valid": np.arange(n) > 3,
    }
    pictures = [parity_plot(tmp_path / "bare.png", truth, prediction, title="t")]
    for name, value in options.items():
        pictures.append(parity_plot(tmp_path / f"{name}.png", truth, prediction, title="t", **{name: value}))
    images = [imread(picture).tobytes() for picture in pictures]
    assert len(set(images)) == 3


def test_invalid_predictions_may_be_nan(tmp_path: Path) -> None:
    prediction = np.array([1.0, np.nan, 3.0])
    path = parity_plot(
        tmp_path / "p.png", [1.0, 2.0, 3.0], prediction, title="t", valid=np.isfinite(prediction)
    )
    assert path.is_file()


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda path: parity_plot(path, [1.0, 2.0], [1.0], title="t"), "one length"),
        (lambda path: residual_histogram(path, [], [], title="t"), "one length"),
        (lambda path: roc_plot(path, [1, 1], {"model": [0.1, 0.2]}, title="t"), "2 of 2 are yes"),
        (lambda path: reliability_plot(path, [0, 1], {"raw": [0.1, 2.0]}, title="t"), "raw: row 1 has"),
        (lambda path: class_bars(path, [0, 0.5], [0, 1], title="t"), "row 1 is 0.5"),
        (lambda path: confusion_plot(path, [0, 3], [0, 1], names=["a", "b"], title="t"), "class 3 occurs"),
    ],
    ids=["lengths", "empty", "one class", "no probability", "no class number", "no name"],
)
def test_bad_columns_are_refused_and_leave_no_file(
    draw: Callable[[Path], Path], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        draw(tmp_path / "plot.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch,train/loss\n0,1.0\n", "no column 'step'"),
        ("step,lr\n0,0.1\n", "no loss value"),
        ("step,train/loss\n0,1.0\n1,oops\n", "line 3, column train/loss"),
    ],
    ids=["no step", "no loss", "no number"],
)
def test_bad_logs_are_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        loss_curves(tmp_path / "loss.png", write_log(tmp_path, text), title="t")


def test_importing_plots_does_not_import_matplotlib() -> None:
    code = "import sys, moltc.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
