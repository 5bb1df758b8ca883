"""Text files of item sequences: a user's items on one line, or one user and item a line, oldest first."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl

from data_prep.errors import DataError
from data_prep.files import existing, sha256_of
from data_prep.interactions.findings import findings
from data_prep.interactions.log import RawLog
from data_prep.records import SourceFile

Layout = Literal["user then items", "items", "user item"]


def read_sequences(path: Path, layout: Layout, *, verified: bool | None = None) -> RawLog:
    """Read one file; lines with a word that is no whole number, or without an item, are left out.

    Args:
        layout: "user then items" (S3-Rec), "items" (PreferDiff, gSASRec: line n is sequence n) or "user item"
            (SASRec: one interaction a line).
        verified: whether the file is the published one, for the report.

    Raises:
        DataError: when the file is missing, or no line can be used.
    """
    existing(path, mend="Check the path of the sequences.")
    lines = pl.DataFrame({"line": path.read_text(encoding="utf-8").splitlines()}, schema={"line": pl.String})
    words = lines.with_row_index("row", offset=1).with_columns(
        words=pl.col("line").str.split(" ").list.eval(pl.element().filter(pl.element() != ""))
    )
    least = 1 if layout == "items" else 2
    numeric = pl.col("line").str.contains(r"^[ \d]*$")
    enough = pl.col("words").list.len() == 2 if layout == "user item" else pl.col("words").list.len() >= least
    wrong = words.filter(~(numeric & enough)).select("row", value="line")
    usable = words.filter(numeric & enough)
    if usable.is_empty():
        raise DataError(f"{path} has no line of the layout {layout!r}: whole numbers with blanks between.")
    if layout == "items":
        named = usable.select(pl.col("row").cast(pl.String).alias("sequence"), item="words")
    else:
        named = usable.select(
            pl.col("words").list.first().alias("sequence"), item=pl.col("words").list.slice(1)
        )
    frame = named.explode("item")
    reason = f"not of the layout {layout!r}: whole numbers with blanks between"
    return RawLog(
        frame,
        sources=(SourceFile(path.name, sha256_of(path), len(lines), verified=verified),),
        findings=findings(wrong, "bad line", reason, source=path.name),
    )


def numbered_catalogue(num_items: int, *, first: int = 1) -> pl.DataFrame:
    """The catalogue of a set whose ids are all the whole numbers from ``first`` on."""
    ids = pl.int_range(first, first + num_items, eager=True)
    return pl.DataFrame({"item_id": ids.cast(pl.String)})
