"""Logs of the user's own: any table with a column of users, one of items, and one of times."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_prep.errors import DataError
from data_prep.files import sha256_of
from data_prep.interactions.cells import Cells, TextFormat, read_cells
from data_prep.interactions.findings import findings, joined
from data_prep.interactions.log import RawLog, encode
from data_prep.records import SourceFile
from data_prep.tables import column_of

_WHOLE_FLOAT = r"^(-?\d+)\.0+$"
_WHOLE = r"^-?\d+(\.0+)?$"
_DATES = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z")
_LOCAL_DATES = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M:%S")
_MILLISECONDS = 1e11  # as seconds this is the year 5138


@dataclass(frozen=True)
class LogColumns:
    """Names of a log's columns; without a time, the file's order is that of time."""

    user: str
    item: str
    time: str | None = None
    rating: str | None = None
    event: str | None = None


def read_interactions(
    path: Path,
    columns: LogColumns,
    how: TextFormat | None = None,
    *,
    titles: Path | None = None,
    keep_duplicates: bool = False,
    min_rating: float | None = None,
) -> RawLog:
    """Read a log; every row that is left out or changed is a finding.

    Left out: rows without user, item, time, rating or event where such a column is named, times that are no
    times, ratings that are no numbers, and repetitions of one user, item and time. Changed: whole numbers
    written as floats in a column of whole numbers ("12.0" is item "12"), and lines that are not UTF-8.

    Args:
        titles: a table with the items' ids and titles, see :func:`read_titles`.
        keep_duplicates: keep repetitions.
        min_rating: leave out rows with a lower rating.

    Raises:
        DataError: when a column is missing or no row can be used.
    """
    cells = read_cells(path, how)
    found = [cells.findings]
    frame, notes = _typed(cells, columns, path, found)
    frame = _complete(frame, columns, path, found)
    if columns.time and not keep_duplicates:
        frame = _once(frame, path, found)
    if min_rating is not None:
        low = frame.filter(pl.col("rating") < min_rating)
        frame = frame.filter(pl.col("rating") >= min_rating)
        notes.append(f"{len(low):,} rows with a rating below {min_rating:g} are left out.")
    items, sources = None, [SourceFile(path.name, sha256_of(path), cells.rows, cells.encoding)]
    if titles is not None:
        items, more = read_titles(titles, frame, columns.item, path.name)
        found.append(more)
        sources.append(SourceFile(titles.name, sha256_of(titles), None))
    kept = ["sequence", "item", *(name for name in ("time", "rating", "event") if name in frame.columns)]
    return RawLog(
        frame.select(kept),
        items,
        sources=tuple(sources),
        findings=joined(found),
        notes=tuple(notes),
    )


def _typed(
    cells: Cells, columns: LogColumns, path: Path, found: list[pl.DataFrame]
) -> tuple[pl.DataFrame, list[str]]:
    """Columns by their roles, each beside the text that it was read from."""
    frame, notes = cells.frame, []
    typed = {"row": cells.numbers}
    for role, name in (("sequence", columns.user), ("item", columns.item)):
        ids, note = canonical_ids(column_of(frame, name, path), cells.numbers, path.name, found)
        typed[role] = ids
        notes += note
    if columns.time:
        written = column_of(frame, columns.time, path)
        seconds, note = seconds_of(written)
        typed |= {"time": seconds, "time_text": written.cast(pl.String)}
        notes += note
    if columns.rating:
        written = column_of(frame, columns.rating, path)
        number = written.cast(pl.Float64, strict=False)
        typed |= {"rating": number.set(number.is_nan(), None), "rating_text": written.cast(pl.String)}
    if columns.event:
        typed["event"] = column_of(frame, columns.event, path).cast(pl.String)
    return pl.DataFrame(typed), notes


def canonical_ids(
    values: pl.Series, rows: pl.Series, source: str, found: list[pl.DataFrame]
) -> tuple[pl.Series, list[str]]:
    """Ids as text. In a column of whole numbers, those written as floats lose their ".0".

    Rows that are changed become findings; where all are floats, a note says so instead. In a column that
    also holds other texts, nothing is changed.
    """
    text = values.cast(pl.String)
    floats = text.str.contains(_WHOLE_FLOAT).fill_null(False)
    if not floats.any() or not text.str.contains(_WHOLE).fill_null(True).all():
        return text, []
    whole = text.str.replace(_WHOLE_FLOAT, "$1")
    if floats.sum() == text.count():
        return whole, [f"Ids in column {values.name} are whole numbers written as floats; 12.0 became 12."]
    changed = pl.DataFrame({"row": rows, "value": text}).filter(floats)
    reason = f"column {values.name} holds whole numbers; this one is written as a float and was made whole"
    found.append(findings(changed, "id written as a float", reason, source=source, kept=True))
    return whole, []


def seconds_of(times: pl.Series) -> tuple[pl.Series, list[str]]:
    """Times as float64 seconds, null where a value is no time, and notes on what was taken for what.

    A column holds numbers (Unix seconds, or milliseconds where most are beyond 1e11) or ISO dates (without a
    zone: UTC), whichever most of its cells are; cells of the other kind are no times.
    """
    if times.dtype.is_temporal():
        return times.cast(pl.Datetime("us")).dt.epoch("us") / 1e6, []
    numbers = times.cast(pl.Float64, strict=False)
    numbers = numbers.set((numbers.is_nan() | numbers.is_infinite()).fill_null(False), None)
    if times.dtype == pl.String:
        dates = _dates(times)
        if dates.count() > numbers.count():
            return dates, []
    middle = numbers.median()
    if isinstance(middle, float) and abs(middle) > _MILLISECONDS:
        return numbers / 1000, [f"Times in column {times.name} are taken for milliseconds."]
    return numbers, []


def _dates(times: pl.Series) -> pl.Series:
    written = pl.col("time")
    zoned = [written.str.to_datetime(one, time_unit="us", time_zone="UTC", strict=False) for one in _DATES]
    local = [
        written.str.to_datetime(one, time_unit="us", strict=False).dt.replace_time_zone("UTC")
        for one in _LOCAL_DATES
    ]
    day = written.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    frame = pl.DataFrame({"time": times.str.replace("Z$", "+00:00")})
    return frame.select(pl.coalesce(*zoned, *local, day).dt.epoch("us") / 1e6)["time"]


def _complete(
    frame: pl.DataFrame, columns: LogColumns, path: Path, found: list[pl.DataFrame]
) -> pl.DataFrame:
    """Rows that have all they need; each of the others is a finding of the first thing it lacks."""
    named = {"sequence": columns.user, "item": columns.item, "event": columns.event}
    for role, name in named.items():
        if role in frame.columns:
            value = pl.concat_str(frame.columns[1:3], separator=",", ignore_nulls=True)
            empty = frame.filter(pl.col(role).is_null()).select("row", value=value)
            found.append(findings(empty, f"no {name}", f"column {name} is empty", source=path.name))
            frame = frame.filter(pl.col(role).is_not_null())
    reasons = {
        "time": ("bad time", "is neither a number nor an ISO date, or not of the kind that the others are"),
        "rating": ("bad rating", "is not a number"),
    }
    for role, (kind, reason) in reasons.items():
        if role in frame.columns:
            wrong = frame.filter(pl.col(role).is_null()).select("row", value=f"{role}_text")
            found.append(findings(wrong, kind, f"the {role} {reason}", source=path.name))
            frame = frame.filter(pl.col(role).is_not_null())
    if frame.is_empty():
        rejected = joined(found).filter(~pl.col("kept"))
        if rejected.is_empty():
            raise DataError(f"{path} has a header and no row; give a log with at least one interaction.")
        first = rejected.row(0, named=True)
        raise DataError(
            f"{path} has no usable row. The first: row {first['row']}, {first['value']!r}: {first['reason']}."
        )
    return frame


def _once(frame: pl.DataFrame, path: Path, found: list[pl.DataFrame]) -> pl.DataFrame:
    """Without rows that repeat user, item and time of an earlier one."""
    keys = pl.DataFrame({"sequence": encode(frame["sequence"])[0], "item": encode(frame["item"])[0]})
    first = keys.with_columns(frame["time"]).select(pl.struct(pl.all()).is_first_distinct()).to_series()
    repeated = frame.filter(~first).select(
        "row", value=pl.concat_str("sequence", "item", "time_text", separator=",")
    )
    reason = "user, item and time are those of an earlier row"
    found.append(findings(repeated, "duplicate", reason, source=path.name))
    return frame.filter(first)


def read_titles(path: Path, log: pl.DataFrame, item: str, source: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Titles and groups of items, and findings.

    The table has a column of ids (called as in the log, ``item_id`` or ``item``), a column ``title``, and
    perhaps others: groups such as genres, several in one cell with ``|`` between.

    Args:
        log: ``row`` and ``item`` of the interactions, for the items that get no title.
        item, source: names of the log's column of items and of the log.
    """
    cells = read_cells(path)
    columns = cells.frame.columns
    key = next((name for name in (item, "item_id", "item") if name in columns), None)
    if key is None or "title" not in columns:
        raise DataError(
            f"{path} needs a column {item} (or item_id) and a column title; it has {', '.join(columns)}."
        )
    found = [cells.findings]
    ids, _ = canonical_ids(cells.frame[key], cells.numbers, path.name, found)
    groups = [name for name in columns if name not in (key, "title")]
    lists = [pl.col(name).cast(pl.String).str.split("|").fill_null([]) for name in groups]
    table = cells.frame.select(pl.Series("item_id", ids), pl.col("title").cast(pl.String), *lists)
    first = table["item_id"].is_first_distinct() & table["item_id"].is_not_null()
    again = pl.DataFrame({"row": cells.numbers, "value": table["item_id"]}).filter(~first)
    found.append(findings(again, "title not used", "the id is empty, or has a title above", source=path.name))
    known = table.filter(first)
    titled = known.filter(pl.col("title").is_not_null())
    seen = log.group_by("item", maintain_order=True).agg(pl.col("row").first())
    bare = seen.join(titled, left_on="item", right_on="item_id", how="anti", maintain_order="left")
    reason = f"{path.name} has no title for it; this is its first row"
    found.append(findings(bare.select("row", value="item"), "no title", reason, source=source, kept=True))
    return known, joined(found)
