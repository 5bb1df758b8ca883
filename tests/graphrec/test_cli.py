"""The graphrec command on logs of a few rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from graphrec.cli import main

LOG = """user,item,when,stars
u1,a,1,5
u1,b,2,5
u2,a,1,4
u1,c,3,4
u2,b,3,4
u1,d,4,1
u2,c,3,2
u3,a,9,2
"""
COLUMNS = ["--user", "user", "--item", "item", "--time", "when"]


def popular(log: Path, *options: str) -> int:
    return main(["popular", "--interactions", str(log), *COLUMNS, *options])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text(LOG)
    return path


def test_table_and_notes(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert popular(log, "-k", "1", "2") == 0
    shown = capsys.readouterr().out
    # counted: a three times, b once; u1 is offered d alone, u2 is offered c and d, tied
    assert "HR@1" in shown
    row = next(line for line in shown.splitlines() if "HR@2" in line)
    assert "1.0000" in row
    assert next(line for line in shown.splitlines() if "HR@1" in line).count("0.5000") == 1
    assert "2 users tested, 4 items, 4 interactions counted" in shown
    assert "1 users with fewer than three interactions" in shown
    assert "1 users whose last two interactions have the same time" in shown
    assert "0 rows left out" in shown


def test_bad_rows_are_counted_and_named(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.write_text(LOG + "u3,b,yesterday,1\nu3,,3,1\n")
    assert popular(log) == 0
    shown = capsys.readouterr().out
    assert "2 rows left out, the first: row 9: time 'yesterday' is neither a number nor an ISO date" in shown


@pytest.mark.parametrize("form", ["parquet", "tsv", "dates"])
def test_forms_of_one_log_give_one_table(
    form: str, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    popular(log)
    expected = capsys.readouterr().out.splitlines()[1:]
    table = pl.read_csv(log)
    if form == "dates":
        table = table.with_columns(when=pl.format("2024-03-0{}", "when"))
    other = tmp_path / f"log.{form if form != 'dates' else 'csv'}"
    if form == "parquet":
        table.write_parquet(other)
    else:
        table.write_csv(other, separator="\t" if form == "tsv" else ",")
    assert popular(other) == 0
    assert capsys.readouterr().out.splitlines()[1:] == expected


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        pytest.param(
            "user,thing,when\nu,i,1\n", "log.csv", "has no column item; its columns are", id="column"
        ),
        pytest.param(LOG, "log.dat", "say what separates its columns", id="separator"),
        pytest.param("user,item,when\n", "log.csv", "has no usable row", id="empty"),
        pytest.param("user,item,when\nu,i,1\n", "log.csv", "no user of", id="short-histories"),
        pytest.param("user,item,when\nu,i,soon\n", "log.csv", "row 1: time 'soon'", id="no-time"),
    ],
)
def test_refusals(
    content: str, name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_text(content)
    assert popular(path) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert popular(tmp_path / "none.csv") == 2
    assert "is not a file" in capsys.readouterr().err


def test_order_of_rows_does_not_matter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(5)
    table = pl.DataFrame(
        {
            "user": generator.integers(0, 30, 400),
            "item": generator.integers(0, 50, 400),
            "when": generator.permutation(400),
        }
    )
    path = tmp_path / "log.parquet"
    shown = []
    for rows in (table, table.sample(fraction=1.0, shuffle=True, seed=1)):
        rows.write_parquet(path)
        assert popular(path) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
