"""Interaction logs: one row for each time a user met an item, read from a table with any column names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

SEPARATORS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Interactions:
    """A log as numbers, oldest interaction first; rows of one time keep the order of the file.

    Attributes:
        users, items: int64 ``[N]``, numbered from zero without gaps.
        num_items: distinct items I.
        undecided_users: users of three interactions or more whose last two share one time.
        rejected: rows left out because a value is missing or is no time.
        first_reject: which row came first among them, and why; empty when there is none.
    """

    users: np.ndarray
    items: np.ndarray
    num_items: int
    undecided_users: int
    rejected: int
    first_reject: str


def read_interactions(
    path: Path, user: str, item: str, time: str, *, separator: str | None = None
) -> Interactions:
    """Read a log.

    Args:
        path: a .parquet file, or text with a header line.
        user, item: columns of identifiers of any kind; they are compared as text.
        time: column of numbers (as Unix times) or of ISO dates.
        separator: between the columns of a text file; default: by its ending, .csv or .tsv.

    Raises:
        ValueError: when the separator is unknown, a column is missing, or no row can be used.
    """
    table = _read_table(path, separator)
    missing = [name for name in (user, item, time) if name not in table.columns]
    if missing:
        raise ValueError(
            f"{path} has no column {', '.join(missing)}; its columns are {', '.join(table.columns)}"
        )
    log = table.select(
        row=pl.int_range(1, pl.len() + 1),
        user=pl.col(user).cast(pl.String),
        item=pl.col(item).cast(pl.String),
        time=_seconds(table[time]),
        written=pl.col(time).cast(pl.String),
    )
    usable = pl.all_horizontal(pl.col("user", "item", "time").is_not_null())
    rejects, log = log.filter(~usable), log.filter(usable).sort("time", maintain_order=True)
    first_reject = _describe(rejects.row(0, named=True)) if rejects.height else ""
    if not log.height:
        raise ValueError(f"{path} has no usable row" + (f": {first_reject}" if first_reject else ""))
    last_two = log.group_by("user").agg(pl.len(), times=pl.col("time").tail(2).n_unique())
    return Interactions(
        users=_numbered(log["user"]),
        items=_numbered(log["item"]),
        num_items=log["item"].n_unique(),
        undecided_users=last_two.filter((pl.col("len") >= 3) & (pl.col("times") == 1)).height,
        rejected=rejects.height,
        first_reject=first_reject,
    )


def _read_table(path: Path, separator: str | None) -> pl.DataFrame:
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    if path.suffix == ".parquet":
        if separator is not None:
            raise ValueError(f"{path} is a Parquet file, which has no separator; leave it out")
        return pl.read_parquet(path)
    separator = separator or SEPARATORS.get(path.suffix)
    if separator is None:
        raise ValueError(
            f"{path} ends in {path.suffix or 'nothing'}: say what separates its columns (separator)"
        )
    try:
        return pl.read_csv(path, separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path} is not a table separated by {separator!r}: {error}") from error


def _seconds(times: pl.Series) -> pl.Series:
    """Times as float64 seconds ``[N]``, null where a value is neither a number nor an ISO date."""
    if times.dtype.is_temporal():
        return times.cast(pl.Datetime("us")).dt.epoch("us") / 1e6
    numbers = times.cast(pl.Float64, strict=False)
    if times.dtype == pl.String and numbers.null_count() == len(numbers) > times.null_count():
        dates = times.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
        numbers = dates.dt.epoch("us") / 1e6
    return numbers.set(numbers.is_nan(), None)


def _numbered(values: pl.Series) -> np.ndarray:
    return values.rank("dense").to_numpy().astype(np.int64) - 1


def _describe(row: dict[str, object]) -> str:
    empty = [name for name in ("user", "item") if row[name] is None]
    if empty:
        return f"row {row['row']} has no {empty[0]}"
    if row["written"] is None:
        return f"row {row['row']} has no time"
    return f"row {row['row']}: time {row['written']!r} is neither a number nor an ISO date"
