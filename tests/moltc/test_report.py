"""The report is self-contained, escaped and complete; the same rows reach page, JSON and terminal."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from moltc.bootstrap import Metric
from moltc.plots import residual_histogram
from moltc.report import (
    COMPUTED_NOTICE,
    column_title,
    format_metric,
    metric_columns,
    print_metrics,
    write_report,
)

NAN = float("nan")
METRICS = {
    "mae": Metric(0.5213, 0.41, 0.63),
    "pearson": Metric(NAN, NAN, NAN),
    "rmse": Metric(104.04, 99, 110),
}
BASELINES = {"mean of train": {"mae": Metric(2.96, 2.1, 3.9)}}


class Page(HTMLParser):
    """Text and tags of a page; checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "br", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def report(folder: Path, **changes: Any) -> Path:
    options: dict[str, Any] = {"title": "FreeSolv, test", "metrics": METRICS, "baselines": BASELINES}
    return write_report(folder, **(options | changes))


def test_page_holds_every_part(tmp_path: Path) -> None:
    plot = residual_histogram(tmp_path / "plot.png", [1.0, 2.0], [1.5, 2.5], title="t")
    path = report(
        tmp_path / "run",
        plots={"Residuals": plot},
        examples=[{"pair": "CCO in O", "answer": -5.0}, {"pair": "C in O", "truth": 2.0}],
        notes=["three rows rejected"],
        computed=True,
        unit="kcal/mol",
    )
    page = Page(path.read_text(encoding="utf-8"))
    for words in (
        "FreeSolv, test",
        "0.521",
        "[0.410, 0.630]",
        "mean of train",
        "MAE (kcal/mol) ↓",
        "CCO in O",
        "truth",
        "three rows rejected",
        COMPUTED_NOTICE,
    ):
        assert words in page.text
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == plot.read_bytes()
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["metrics.json", "report.html"]


def test_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    text = report(tmp_path).read_text(encoding="utf-8")
    assert "http" not in text
    assert "<script" not in text


def test_every_text_is_escaped(tmp_path: Path) -> None:
    evil = '<b onload="x">&'
    plot = residual_histogram(tmp_path / "plot.png", [1.0, 2.0], [1.5, 2.5], title="t")
    path = report(
        tmp_path,
        title=evil,
        metrics=METRICS | {evil: Metric(1, 1, 1)},
        baselines={evil: METRICS},
        plots={evil: plot},
        examples=[{evil: evil}],
        notes=[evil],
        unit=evil,
        model_name="model" + evil,
    )
    page = Page(path.read_text(encoding="utf-8"))
    assert "b" not in {tag for tag, _ in page.tags}
    assert page.text.count(evil) >= 9


def test_metrics_file_is_strict_json_with_null_for_undefined(tmp_path: Path) -> None:
    report(tmp_path, computed=True, unit="kcal/mol", notes=["n"])
    record = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert record["metrics"]["mae"] == {"value": 0.5213, "low": 0.41, "high": 0.63}
    assert record["metrics"]["pearson"] == {"value": None, "low": None, "high": None}
    assert record["baselines"]["mean of train"]["mae"]["value"] == 2.96
    assert (record["computed"], record["unit"], record["notes"]) == (True, "kcal/mol", ["n"])


def test_measured_data_carry_no_notice(tmp_path: Path) -> None:
    assert COMPUTED_NOTICE not in report(tmp_path).read_text(encoding="utf-8")


def test_missing_plot_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"plot 'gone' is not at .*gone\.png"):
        report(tmp_path / "run", plots=[tmp_path / "gone.png"])
    assert not (tmp_path / "run").exists()


def test_baseline_named_like_the_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="model_name"):
        report(tmp_path, baselines={"model": METRICS})


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (Metric(0.12345, 0.1, 0.2), ("0.123", "[0.100, 0.200]")),
        (Metric(104.04, 99, 110), ("104.0", "[99.0, 110.0]")),
        (Metric(-0.013, NAN, NAN), ("-0.013", "")),
        (Metric(NAN, NAN, NAN), ("–", "")),
        (None, ("–", "")),
    ],
    ids=["small", "large", "no interval", "undefined", "absent"],
)
def test_metric_text(metric: Metric | None, expected: tuple[str, str]) -> None:
    assert format_metric(metric) == expected


def test_columns_are_known_metrics_first() -> None:
    one = Metric(1, 1, 1)
    assert metric_columns({"a": {"own": one, "rmse": one}, "b": {"mae": one}}) == ["mae", "rmse", "own"]


@pytest.mark.parametrize(
    ("name", "unit", "title"),
    [("mae", "nm", "MAE (nm) ↓"), ("r2", "nm", "R² ↑"), ("own", "nm", "own")],
    ids=["with unit", "without unit", "unknown"],
)
def test_column_titles(name: str, unit: str, title: str) -> None:
    assert column_title(name, unit) == title


def test_terminal_table_shows_model_and_baselines_together() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    print_metrics(console, METRICS, BASELINES, title="[test]", unit="kcal/mol", computed=True)
    assert isinstance(console.file, io.StringIO)
    text = " ".join(console.file.getvalue().split())
    for words in ("[test]", "model", "mean of train", "0.521", "[0.410, 0.630]", "2.960", COMPUTED_NOTICE):
        assert words in text


def test_terminal_table_fits_eighty_columns() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    names = ("mae", "rmse", "r2", "pearson", "interval_hit", "self_consistency", "invalid_rate")
    row = {name: Metric(0.5, 0.4, 0.6) for name in names}
    print_metrics(console, row, {"MolTC, written freely (500 pairs)": row}, model_name="MolTC (text answers)")
    assert isinstance(console.file, io.StringIO)
    assert "…" not in console.file.getvalue()
