"""Tables of text cells from logs of any make: encodings, separators, files without a header, broken lines.

Rows are counted from 1 without the header line. A line that cannot be used is a finding, not an error.
"""

from __future__ import annotations

import codecs
import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from data_prep.errors import DataError
from data_prep.files import existing
from data_prep.interactions.findings import findings, joined, no_findings

SEPARATORS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class TextFormat:
    """How a text file is to be read.

    Attributes:
        separator: between fields, one letter or several; default: by the ending .csv or .tsv, or the one of
            comma, tab and semicolon that the first line holds most of.
        columns: names of the fields of a file without a header line.
        encoding: default: UTF-8, and Latin-1 for lines that are not.
    """

    separator: str | None = None
    columns: tuple[str, ...] = ()
    encoding: str | None = None


@dataclass(frozen=True)
class Cells:
    """A table as it stands in a file.

    Attributes:
        frame: the file's columns; text cells are stripped, empty ones are null. Columns of a Parquet file
            keep their type.
        numbers: which data row of the file each is.
        rows: data rows of the file, usable or not.
        encoding: what the file was read in.
        findings: lines left out or read in another encoding.
    """

    frame: pl.DataFrame
    numbers: pl.Series
    rows: int
    encoding: str
    findings: pl.DataFrame = field(default_factory=no_findings)


def read_cells(path: Path, how: TextFormat | None = None) -> Cells:
    """Read a Parquet or a text file.

    Raises:
        DataError: when the file is missing, empty, or not of the stated format.
    """
    how = how or TextFormat()
    existing(path, mend="Check the path of the log.")
    if path.suffix == ".parquet":
        if how != TextFormat():
            raise DataError(
                f"{path} is a Parquet file: it has no separator, encoding or names to give; leave them out."
            )
        frame = pl.read_parquet(path)
        return Cells(frame, _counted(frame), len(frame), "parquet")
    text, encoding, odd = _decoded(path, how.encoding)
    if not text.strip():
        raise DataError(f"{path} is empty: it needs at least one row.")
    separator = how.separator or SEPARATORS.get(path.suffix) or _likely(text)
    frame, numbers, broken = _parsed(text, separator, how.columns, path)
    shift = 0 if how.columns else 1
    odd = odd.filter(pl.col("row") > shift).with_columns(pl.col("row") - shift)
    read_as = findings(
        odd, "not UTF-8", "the line is not UTF-8 and was read as Latin-1", source=path.name, kept=True
    )
    return Cells(_stripped(frame), numbers, len(frame) + len(broken), encoding, joined([read_as, broken]))


def _decoded(path: Path, encoding: str | None) -> tuple[str, str, pl.DataFrame]:
    """Content, encoding, and the lines (``row`` from 1, ``value``) that are not UTF-8."""
    data = path.read_bytes()
    if encoding is None and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path} begins as UTF-16 does; give its encoding, utf-16.")
    none = pl.DataFrame(schema={"row": pl.Int64, "value": pl.String})
    try:
        return data.decode(encoding or "utf-8-sig"), encoding or "utf-8", none
    except LookupError as error:
        raise DataError(f"There is no encoding {encoding!r}; utf-8 and latin-1 are common ones.") from error
    except UnicodeDecodeError as error:
        if encoding is not None:
            line = data[: error.start].count(b"\n") + 1
            raise DataError(
                f"{path} line {line} is not {encoding}: byte {data[error.start]:#04x}. Give its encoding."
            ) from error
    lines = data.split(b"\n")
    wrong = {number: line for number, line in enumerate(lines, 1) if not _is_utf8(line)}
    values = {"row": list(wrong), "value": [line.decode("latin-1").strip() for line in wrong.values()]}
    text = "\n".join(line.decode("latin-1" if n in wrong else "utf-8") for n, line in enumerate(lines, 1))
    return text.removeprefix("\ufeff"), "utf-8 and latin-1", pl.DataFrame(values, schema=none.schema)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _likely(text: str) -> str:
    return max(",\t;", key=text.partition("\n")[0].count)


def _parsed(
    text: str, separator: str, names: tuple[str, ...], path: Path
) -> tuple[pl.DataFrame, pl.Series, pl.DataFrame]:
    """Rows of the right number of fields as text, their numbers, and the other lines as findings."""
    header = list(names) or _fields(text.partition("\n")[0], separator)
    if len(set(header)) < len(header):
        raise DataError(f"{path} has several columns of one name: {', '.join(header)}.")
    if len(separator) == 1:
        try:
            frame = pl.read_csv(
                io.StringIO(text), separator=separator, has_header=not names, infer_schema=False
            )
        except pl.exceptions.PolarsError:  # lines that are too long; told one by one below
            return _parsed_by_line(text, separator, names, header, path)
        if frame.width == len(header):
            frame.columns = header
            return frame, _counted(frame), no_findings()
    return _parsed_by_line(text, separator, names, header, path)


def _fields(line: str, separator: str) -> list[str]:
    fields = next(csv.reader([line], delimiter=separator)) if len(separator) == 1 else line.split(separator)
    return [name.strip() for name in fields]


def _counted(frame: pl.DataFrame) -> pl.Series:
    return pl.int_range(1, len(frame) + 1, eager=True)


def _parsed_by_line(
    text: str, separator: str, names: tuple[str, ...], header: list[str], path: Path
) -> tuple[pl.DataFrame, pl.Series, pl.DataFrame]:
    """The same one line after the other, which also tells the lines that are broken."""
    if len(separator) == 1:
        lines = list(csv.reader(io.StringIO(text), delimiter=separator))
    else:
        lines = [line.split(separator) if line else [] for line in text.splitlines()]
    rows = [(n, line) for n, line in enumerate(lines if names else lines[1:], 1) if line]
    good = [(n, line) for n, line in rows if len(line) == len(header)]
    if not good:
        raise DataError(f"{path} has no line of {len(header)} fields with {separator!r} between.")
    bad = [(n, separator.join(line)) for n, line in rows if len(line) != len(header)]
    broken = pl.DataFrame(bad, schema={"row": pl.Int64, "value": pl.String}, orient="row")
    reason = f"the line has not {len(header)} fields with {separator!r} between"
    frame = pl.DataFrame(
        [line for _, line in good], schema={name: pl.String for name in header}, orient="row"
    )
    numbers = pl.Series([n for n, _ in good], dtype=pl.Int64)
    return frame, numbers, findings(broken, "broken line", reason, source=path.name)


def _stripped(frame: pl.DataFrame) -> pl.DataFrame:
    text = pl.col(pl.String).str.strip_chars()
    return frame.with_columns(pl.when(text != "").then(text))
