"""S-DPO's lists (Chen et al., NeurIPS 2024): a history of titles, the candidates, the one that was next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from data_prep.errors import DataError
from data_prep.files import existing

_FIELDS = ("historyList", "itemList", "trueSelection")


def read_candidate_lists(
    path: Path, items: pl.DataFrame, *, renamed: Mapping[str, str] | None = None
) -> pl.DataFrame:
    """Rows to be ranked: ``row``, ``history``, ``target``, ``candidates`` (one draw), in item numbers.

    The released file joins a history by ``::``; here a title that holds ``::`` itself would be cut, so every
    part must be a title of the catalogue.

    Args:
        items: the catalogue, ``item`` and ``title``.
        renamed: titles that the file spells in another way -> their title in the catalogue.

    Raises:
        DataError: the file is not of this form, or a title is unknown; names the row.
    """
    existing(path, mend="Check the path of the lists.")
    try:
        table = pl.read_json(path)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} is no JSON list of records ({error}).") from error
    if missing := [name for name in _FIELDS if name not in table.columns]:
        raise DataError(f"{path} has no field {missing[0]!r}; it has {', '.join(table.columns)}.")
    lists = table.with_row_index("row").select(
        pl.col("row").cast(pl.Int64),
        history=pl.col("historyList").str.split("::"),
        target=pl.concat_list("trueSelection"),
        candidates="itemList",
    )
    history, target, candidates = (
        _numbers(lists.select("row", title=name), items, renamed or {}, path)
        for name in ("history", "target", "candidates")
    )
    one_draw = candidates.group_by("row", maintain_order=True).agg("item")
    return pl.DataFrame(
        {
            "row": lists["row"],
            "history": history["item"],
            "target": target["item"].list.first(),
            "candidates": one_draw["item"],
        }
    )


def _numbers(
    lists: pl.DataFrame, items: pl.DataFrame, renamed: Mapping[str, str], path: Path
) -> pl.DataFrame:
    """``row`` and the numbers of its titles, as a list."""
    titles = lists.explode("title").with_columns(pl.col("title").replace(dict(renamed)))
    found = titles.join(items.select("item", "title"), on="title", how="left", maintain_order="left")
    unknown = found.filter(pl.col("item").is_null())
    if len(unknown):
        row, title = unknown.row(0)[:2]
        raise DataError(f"{path} record {row + 1}: no item of the catalogue has the title {title!r}.")
    return found.group_by("row", maintain_order=True).agg("item")
