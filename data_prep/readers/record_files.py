"""Records of JSONL, JSON, CSV, Parquet and Arrow files, each with its place; a bad line spoils no other."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.errors import DataError
from data_prep.files import existing
from data_prep.preference_records import BadRow, shown

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
_LIST_COLUMNS = ("prompt", "chosen", "completion", "messages", "conversations", "responses", "pairs")
_MAY_BE_ABSENT = re.compile(r"rejected_?\d+|sft_target").fullmatch  # columns where an empty cell says "none"
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_MAX_CELL = 1 << 30


class Record(NamedTuple):
    """A record, or why there is none; ``line`` counts the lines of a text file, or records, from 1."""

    line: int
    content: Mapping[str, Any] | BadRow


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file, by its suffix; text files may be compressed (``.gz``).

    A JSON file holds a list of objects, or one object a line. In a CSV or TSV file, messages and lists are
    written as JSON.

    Raises
    ------
    DataError : the file is missing, of another kind, or cannot be read as a whole.
    """
    existing(path, mend="Check the path of the preference data.")
    name = path.name.removesuffix(".gz")
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES or (path.suffix == ".gz" and suffix in (".parquet", ".arrow")):
        raise DataError(f"{path} is of no kind known here: {', '.join(SUFFIXES)}, text also with .gz.")
    if suffix in (".parquet", ".arrow"):
        return _columns(path, suffix)
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    data = data.removeprefix(b"\xef\xbb\xbf")
    if suffix in (".csv", ".tsv"):
        return _cells(data, "\t" if suffix == ".tsv" else ",", path)
    return _listed(data, path) if data.lstrip()[:1] == b"[" else _lines(data)


def _lines(data: bytes) -> Iterator[Record]:
    for line, raw in enumerate(data.split(b"\n"), start=1):
        if raw.strip():
            yield Record(line, _parsed(raw))


def _parsed(raw: bytes) -> Mapping[str, Any] | BadRow:
    try:
        return checked_object(json.loads(raw.decode("utf-8")))
    except UnicodeDecodeError as error:
        return BadRow("not UTF-8", f"byte {error.start} of the line is not UTF-8: save the file as UTF-8")
    except json.JSONDecodeError as error:
        return BadRow("not JSON", f"not JSON: {error}")


def checked_object(value: Any) -> Mapping[str, Any] | BadRow:
    """A record is an object of named fields."""
    if isinstance(value, Mapping):
        return value
    return BadRow("wrong type", f"an object with named fields is needed, not {shown(value)}")


def _listed(data: bytes, path: Path) -> Iterator[Record]:
    try:
        records = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path} line {line} is not UTF-8: save the file as UTF-8.") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not JSON: {error}.") from error
    yield from (Record(number, checked_object(value)) for number, value in enumerate(records, start=1))


def _columns(path: Path, suffix: str) -> Iterator[Record]:
    """Rows of a Parquet file, or of an Arrow file as Hugging Face ``datasets`` saves it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        batches = pq.ParquetFile(path).iter_batches() if suffix == ".parquet" else _arrow_batches(path)
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                yield Record(number, row)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is damaged or of another kind ({error}).") from error


def _arrow_batches(path: Path) -> Iterable[Any]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as stream:
        yield from pa.ipc.open_stream(stream)


def _cells(data: bytes, separator: str, path: Path) -> Iterator[Record]:
    """Rows of a table, each under its first line."""
    # bytes that are no UTF-8 become lone surrogates, by which their row is found again
    text = io.StringIO(data.decode("utf-8", errors="surrogateescape"), newline="")
    reader = csv.reader(text, delimiter=separator)
    rows, line = [], 1
    limit = csv.field_size_limit(_MAX_CELL)  # the usual one is shorter than some dialogues
    try:
        for cells in reader:
            rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table: {error}. Check quotes and separators.") from error
    finally:
        csv.field_size_limit(limit)
    if not rows:
        raise DataError(f"{path} is empty: it needs a header line and at least one row.")
    header = rows[0][1]
    yield from (Record(line, _row(header, cells)) for line, cells in rows[1:] if cells)


def _row(header: list[str], cells: list[str]) -> Mapping[str, Any] | BadRow:
    if len(cells) != len(header):
        return BadRow("ragged row", f"{len(cells)} cells, the header has {len(header)}: check the quotes")
    if any(_NOT_UTF8.search(cell) for cell in cells):
        return BadRow("not UTF-8", "the row is not UTF-8: save the file as UTF-8")
    present = [pair for pair in zip(header, cells, strict=True) if pair[1] or not _MAY_BE_ABSENT(pair[0])]
    return {name: _cell(name, cell) for name, cell in present}


def _cell(name: str, cell: str) -> Any:
    """Text, or the list that it is the JSON of, in columns that may hold one."""
    if cell[:1] != "[" or not (name in _LIST_COLUMNS or name.startswith("rejected")):
        return cell
    try:
        value = json.loads(cell)
    except json.JSONDecodeError:
        return cell
    if not value or not all(isinstance(one, (dict, list, str)) for one in value):
        return cell
    return value
