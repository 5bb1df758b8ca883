"""MovieLens-100k and -1M as released (Harper & Konstan, ACM TiiS 2015): ratings, films with genres.

The files are in Latin-1, without header lines; ratings are stars, times are Unix seconds.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from data_prep.errors import DataError
from data_prep.files import existing, sha256_of
from data_prep.interactions.findings import findings
from data_prep.interactions.log import RawLog
from data_prep.interactions.titles import movie_titles
from data_prep.records import SourceFile

GENRES_100K = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *(
        "Fantasy",
        "Film-Noir",
        "Horror",
        "Musical",
        "Mystery",
        "Romance",
        "Sci-Fi",
        "Thriller",
        "War",
        "Western",
    ),
)


def read_ratings(path: Path, *, separator: str, verified: bool | None = None) -> RawLog:
    """``user, item, rating, time`` on each line, as in u.data (tab) and ratings.dat (``::``).

    Rows with another number of fields, or a field that is no number, are left out and listed.
    """
    lines = _lines(path)
    fields = lines.with_columns(cells=pl.col("line").str.split(separator))
    cell = pl.col("cells").list.get
    parsed = fields.select(
        "row",
        value="line",
        sequence=cell(0, null_on_oob=True).cast(pl.Int64, strict=False).cast(pl.String),
        item=cell(1, null_on_oob=True).cast(pl.Int64, strict=False).cast(pl.String),
        rating=cell(2, null_on_oob=True).cast(pl.Float32, strict=False),
        time=cell(3, null_on_oob=True).cast(pl.Float64, strict=False),
        whole=pl.col("cells").list.len() == 4,
    )
    sound = pl.col("whole") & pl.all_horizontal(pl.col("sequence", "item", "rating", "time").is_not_null())
    return RawLog(
        parsed.filter(sound).select("sequence", "item", "time", "rating"),
        sources=(SourceFile(path.name, sha256_of(path), len(lines), "latin-1", verified),),
        findings=findings(
            parsed.filter(~sound),
            "bad line",
            f"user, item, rating and time must be numbers with {separator!r} between",
            source=path.name,
        ),
    )


def read_items_100k(path: Path) -> pl.DataFrame:
    """u.item: ``item_id``, ``title``, ``genres``."""
    cells = _lines(path).select(cells=pl.col("line").str.split("|"))
    flags = [
        pl.when(pl.col("cells").list.get(5 + n) == "1").then(pl.lit(name))
        for n, name in enumerate(GENRES_100K)
    ]
    return _movies(cells.with_columns(genres=pl.concat_list(flags).list.drop_nulls()), path)


def read_movies_1m(path: Path) -> pl.DataFrame:
    """movies.dat: ``item_id``, ``title``, ``genres``."""
    cells = _lines(path).select(cells=pl.col("line").str.split("::"))
    return _movies(cells.with_columns(genres=pl.col("cells").list.last().str.split("|")), path)


def _movies(cells: pl.DataFrame, path: Path) -> pl.DataFrame:
    if cells["cells"].list.len().min() != cells["cells"].list.len().max():
        raise DataError(f"{path} has lines with different numbers of fields; fetch it again.")
    raw = cells["cells"].list.get(1).str.strip_chars()
    return pl.DataFrame(
        {"item_id": cells["cells"].list.get(0), "title": movie_titles(raw), "genres": cells["genres"]}
    )


def _lines(path: Path) -> pl.DataFrame:
    existing(path, mend="Check the path, or fetch the set again.")
    lines = path.read_text(encoding="latin-1").split("\n")
    if lines[-1] == "":
        lines.pop()
    return pl.DataFrame({"line": lines}).with_row_index("row", offset=1)
