"""What was found wrong in rows of a source: a table of rows left out and of rows kept with a change."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

SCHEMA = {
    "row": pl.Int64,  # data row of the source, from 1; a header line is not counted
    "value": pl.String,
    "kind": pl.String,
    "reason": pl.String,
    "kept": pl.Boolean,
    "source": pl.String,
}
EXAMPLES = 3  # of each kind that a report shows; rejects.csv lists all


def no_findings() -> pl.DataFrame:
    """An empty table."""
    return pl.DataFrame(schema=SCHEMA)


def findings(rows: pl.DataFrame, kind: str, reason: str, *, source: str, kept: bool = False) -> pl.DataFrame:
    """One finding for each row of a table with columns ``row`` and ``value``."""
    return rows.select(
        pl.col("row").cast(pl.Int64),
        pl.col("value").cast(pl.String).fill_null(""),
        kind=pl.lit(kind),
        reason=pl.lit(reason),
        kept=pl.lit(kept),
        source=pl.lit(source),
    )


def joined(tables: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Findings of several checks, in the order of the rows."""
    return pl.concat([no_findings(), *tables]).sort("source", "row", maintain_order=True)


def summary(found: pl.DataFrame) -> dict:
    """Counts of rows left out and of rows changed, by kind, with the first of each."""
    return {
        "left_out": _by_kind(found.filter(~pl.col("kept"))),
        "changed": _by_kind(found.filter("kept")),
    }


def _by_kind(found: pl.DataFrame) -> dict:
    kinds = found.group_by("kind", maintain_order=True).agg(pl.len()).sort("len", descending=True)
    return {
        "count": len(found),
        "by_kind": {
            kind: {
                "count": count,
                "examples": found.filter(pl.col("kind") == kind).head(EXAMPLES).to_dicts(),
            }
            for kind, count in kinds.iter_rows()
        },
    }
