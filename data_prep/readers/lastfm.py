"""Last.fm (Cantador, Brusilovsky & Kuflik, HetRec 2011): tagged artists with dates; lists of ``id::name``."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from data_prep.errors import DataError
from data_prep.files import existing, sha256_of
from data_prep.interactions.findings import findings, joined
from data_prep.interactions.log import RawLog
from data_prep.records import SourceFile
from data_prep.tables import read_text

FIRST_YEAR = 2005  # Last.fm's tags are from 2005 on; earlier years are entry errors


def read_tagged_artists(path: Path, artists: Path, tags: Path, *, verified: bool | None = None) -> RawLog:
    """A user's artists in the order in which the user first tagged them.

    The listening counts of the same release have no time, so the tagging log stands for the interactions. A
    row is one tag; only the first tag of a user for an artist counts, the others add to the artist's tags.
    Rows whose date does not exist or lies before 2005 are left out and listed.
    """
    cells = _table(path)
    written = pl.concat_str("year", "month", "day", separator="-")
    dated = cells.with_columns(
        value=pl.concat_str(cells.columns, separator=" "),
        date=written.str.to_date("%Y-%m-%d", strict=False),
        row=pl.int_range(1, pl.len() + 1),
    )
    sound = pl.col("date").is_not_null() & (pl.col("date").dt.year() >= FIRST_YEAR)
    usable = dated.filter(sound).with_columns(
        time=pl.col("date").cast(pl.Datetime("us")).dt.epoch("s").cast(pl.Float64)
    )
    first = usable.sort("time", maintain_order=True).unique(
        ["userID", "artistID"], keep="first", maintain_order=True
    )
    repeated = len(usable) - len(first)
    log = first.sort("row").select(
        pl.col("userID").alias("sequence"), pl.col("artistID").alias("item"), "time"
    )
    names = _names(artists, "id", "name").rename({"id": "item_id", "name": "title"})
    words = usable.join(_names(tags, "tagID", "tagValue"), on="tagID", how="left").group_by("artistID")
    groups = words.agg(tags=pl.col("tagValue").drop_nulls().value_counts(sort=True).struct[0].head(5))
    known = names.join(groups, left_on="item_id", right_on="artistID", how="left", maintain_order="left")
    wrong = findings(
        dated.filter(~sound),
        "bad date",
        f"the date does not exist or is before {FIRST_YEAR}",
        source=path.name,
    )
    return RawLog(
        log,
        known,
        sources=(
            SourceFile(path.name, sha256_of(path), len(cells), verified=verified),
            *(SourceFile(one.name, sha256_of(one), None, verified=verified) for one in (artists, tags)),
        ),
        findings=joined([wrong]),
        notes=(
            f"{repeated:,} further tags of a user for the same artist are not interactions of their own.",
        ),
    )


def _table(path: Path) -> pl.DataFrame:
    """A tab-separated file with a header, every cell as text; quotes are letters like others."""
    existing(path, mend="Fetch the set again.")
    text, _ = read_text(path)
    lines = [line.split("\t") for line in text.replace("\r\n", "\n").split("\n") if line]
    header, rows = lines[0], lines[1:]
    if ragged := next((number for number, row in enumerate(rows, 1) if len(row) != len(header)), None):
        raise DataError(f"{path} row {ragged} has not {len(header)} fields like its header; fetch it again.")
    return pl.DataFrame(rows, schema={name: pl.String for name in header}, orient="row")


def _names(path: Path, key: str, name: str) -> pl.DataFrame:
    return _table(path).select(key, pl.col(name).str.strip_chars())


def read_names(path: Path, num_items: int | None = None) -> pl.DataFrame:
    """``id::name`` lines as a catalogue: ``item_id``, ``title``, ordered by id.

    Raises:
        DataError: when ids are not 0, 1, 2, ... or there are not ``num_items`` of them.
    """
    text, _ = read_text(existing(path, mend="Fetch the set again."))
    lines = pl.DataFrame({"line": [line for line in text.splitlines() if line]})
    parts = lines.select(
        pl.col("line").str.splitn("::", 2).struct.rename_fields(["item_id", "title"])
    ).unnest("line")
    parts = parts.with_columns(number=pl.col("item_id").cast(pl.Int64, strict=False)).sort("number")
    wanted = len(parts) if num_items is None else num_items
    if parts["number"].to_list() != list(range(wanted)):
        raise DataError(f"{path} does not name the items 0 to {wanted - 1} once each; fetch it again.")
    return parts.select("item_id", pl.col("title").str.strip_chars())
