"""Text and Parquet tables in, Parquet out: encodings, columns by name, numbers with their bad rows."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from data_prep.errors import DataError
from data_prep.files import existing, replacing

_MISSING = ("", "nan", "na", "n/a", "null", "none")


@dataclass(frozen=True)
class Table:
    """A file's data rows as text."""

    frame: pl.DataFrame  # every column String; empty cells are null
    path: Path
    encoding: str


def read_table(path: Path) -> Table:
    """Read csv, tsv or parquet with every cell as text.

    UTF-8 with or without a byte-order mark is tried first, then Latin-1; the encoding used is part of the
    result. The separator of a text file is the one of comma, tab and semicolon that its header holds most of.
    """
    existing(path, mend="Check the path of the table.")
    if path.suffix == ".parquet":
        frame = pl.read_parquet(path)
        return Table(frame.select(pl.all().cast(pl.String)), path, "parquet")
    text, encoding = read_text(path)
    header = text.partition("\n")[0]
    separator = max(",\t;", key=header.count)
    return Table(_parse_csv(text, separator, path), path, encoding)


def read_text(path: Path) -> tuple[str, str]:
    """A text file's content and the encoding it was read in (``utf-8`` or ``latin-1``)."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"


def _parse_csv(text: str, separator: str, path: Path) -> pl.DataFrame:
    if not text.strip():
        raise DataError(f"{path} is empty: it needs a header line and at least one row.")
    header = [name.strip() for name in next(csv.reader(io.StringIO(text), delimiter=separator), [])]
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        raise DataError(f"{path} has several columns called {twice[0]!r}: give each its own name.")
    try:
        frame = pl.read_csv(io.StringIO(text), separator=separator, infer_schema=False)
        return frame.rename({name: name.strip() for name in frame.columns})
    except pl.exceptions.PolarsError as error:
        rows = list(csv.reader(io.StringIO(text), delimiter=separator))
        ragged = [
            f"line {n} has {len(row)}" for n, row in enumerate(rows, 1) if row and len(row) > len(rows[0])
        ]
        more = f" (and {len(ragged) - 5} more lines)" if len(ragged) > 5 else ""
        found = f"{', '.join(ragged[:5])} fields{more}, the header {len(rows[0])}" if ragged else str(error)
        raise DataError(
            f"{path} cannot be read as a table: {found.splitlines()[0]}. Check quotes and separators."
        ) from error


def column_of(frame: pl.DataFrame, name: str, path: Path) -> pl.Series:
    """A column by its name; the error lists the columns there are and the nearest match."""
    if name in frame.columns:
        return frame[name]
    near = difflib.get_close_matches(name, frame.columns, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise DataError(f"{path} has no column {name!r}; its columns are {', '.join(frame.columns)}.{hint}")


@dataclass(frozen=True)
class Numbers:
    """Parsed numbers; ``problem[i]`` says why value i is NaN, or is empty."""

    values: np.ndarray  # float64 [R]
    problem: list[str]


def parse_numbers(cells: Sequence[str | None]) -> Numbers:
    """Cells to float64. Empty or missing-value words, text, and infinities come back as NaN with a reason."""
    text = (
        pl.Series("cell", cells, dtype=pl.String)
        .fill_null("")
        .str.strip_chars()
        .str.replace_all("\u2212", "-")
    )
    values = text.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy().copy()
    problem = [""] * len(values)
    for row in np.flatnonzero(~np.isfinite(values)):
        cell = text[int(row)]
        problem[row] = "empty label" if cell.lower() in _MISSING else "label is not a number"
        values[row] = np.nan
    return Numbers(values, problem)


def write_parquet(frame: pl.DataFrame, path: Path, *, metadata: dict[str, str] | None = None) -> None:
    """Write zstd Parquet whole or not at all."""
    with replacing(path) as partial:
        frame.write_parquet(partial, compression="zstd", metadata=metadata or {})


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> tuple[pl.DataFrame, dict[str, str]]:
    """A Parquet file, whole or some of its columns, and its metadata; a missing or damaged file is a
    :class:`DataError`."""
    existing(path, mend="Run data-prep build or data-prep pairs first.")
    try:
        wanted = None if columns is None else list(columns)
        return pl.read_parquet(path, columns=wanted), pl.read_parquet_metadata(path)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} is damaged or cut short ({error}): build it again.") from error
