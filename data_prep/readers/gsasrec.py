"""MovieLens-1M as sequences, from the files of gSASRec (Petrov & Macdonald, RecSys 2023).

They hold the training items of each user, the last item of each user, and for the validation users the two
items between. What lies between for the others is in none of them, but no user rates a film twice: of all the
films that the user rated, exactly the missing one is neither a training item nor the last.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from data_prep.errors import DataError
from data_prep.files import existing, sha256_of
from data_prep.interactions.log import RawLog
from data_prep.readers.item_sequences import read_sequences
from data_prep.records import SourceFile

_LOOKED_UP = (
    "test_output.txt",
    "val_input.txt",
    "val_output.txt",
    "sas_to_original_items.txt",
    "sas_to_original_users.txt",
)


def read_gsasrec(folder: Path, pairs: Path, *, verified: bool | None = None) -> RawLog:
    """The whole sequences, in the item numbering of the SASRec release.

    Args:
        folder: with train_input.txt, test_output.txt, val_input.txt, val_output.txt and the mappings
            sas_to_original_items.txt and sas_to_original_users.txt.
        pairs: a table of all (userID, movieID) of MovieLens-1M.
        verified: whether the files are the published ones, for the report.

    Raises:
        DataError: when the files do not fit together; names the user.
    """
    log = read_sequences(folder / "train_input.txt", "items", verified=verified)
    train = log.frame.with_columns(pl.col("sequence", "item").cast(pl.Int64))
    last = _one_a_line(folder / "test_output.txt")
    rated = _rated(folder, pairs)
    between = _between(train, last, rated, _validation_items(train, folder))
    frame = pl.concat([train, between, last]).with_columns(pl.col("sequence", "item").cast(pl.String))
    paths = [*(folder / name for name in _LOOKED_UP), pairs]
    sources = (SourceFile(path.name, sha256_of(path), None, verified=verified) for path in paths)
    return RawLog(frame, sources=(*log.sources, *sources), findings=log.findings)


def _one_a_line(path: Path) -> pl.DataFrame:
    """A file with one item a line: ``sequence`` (line number from 1), ``item``."""
    existing(path, mend="Fetch the set again.")
    items = pl.read_csv(path, has_header=False, new_columns=["item"])
    return items.select(sequence=pl.int_range(1, pl.len() + 1), item=pl.col("item").cast(pl.Int64))


def _rated(folder: Path, pairs: Path) -> pl.DataFrame:
    """All that users rated, in the numbering of the sequences: ``sequence``, ``item``."""
    users = _two_a_line(folder / "sas_to_original_users.txt", ("sequence", "userID"))
    items = _two_a_line(folder / "sas_to_original_items.txt", ("item", "movieID"))
    rated = pl.read_parquet(existing(pairs, mend="It lists all pairs of MovieLens-1M."))
    rated = rated.select(pl.col("userID", "movieID").cast(pl.Int64))
    return rated.join(users, on="userID").join(items, on="movieID").select("sequence", "item")


def _validation_items(train: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """``sequence`` and the two items ``held`` between training and last item, for the validation users.

    A validation history is the training sequence and the first of the two; the second is its target. The
    file does not name the user, so the one is taken whose training sequence it begins with.
    """
    history = read_sequences(folder / "val_input.txt", "items").frame.cast(pl.Int64)
    rows = history.group_by("sequence", maintain_order=True).agg("item").select("item")
    targets = _one_a_line(folder / "val_output.txt").select(target="item")
    begun = pl.col("item").list.head(pl.col("item").list.len() - 1)
    held = pl.concat([rows, targets], how="horizontal").select(
        item=begun, held=pl.concat_list(pl.col("item").list.last(), "target")
    )
    found = train.group_by("sequence", maintain_order=True).agg("item").join(held, on="item")
    if len(found) != len(held) or found["sequence"].n_unique() != len(held):
        raise DataError(f"{folder}: {len(held)} validation histories fit {len(found)} training sequences.")
    return found.select("sequence", "held")


def _between(
    train: pl.DataFrame, last: pl.DataFrame, rated: pl.DataFrame, held: pl.DataFrame
) -> pl.DataFrame:
    """``sequence``, ``item`` of what each user rated between training and last item, oldest first."""
    known, pair = pl.concat([train, last]), ["sequence", "item"]
    if unrated := len(known.join(rated, on=pair, how="anti")):
        raise DataError(f"{unrated} items of the sequences were never rated: the files are of two releases.")
    left = rated.join(known, on=pair, how="anti").group_by("sequence").agg("item")
    left = left.join(held, on="sequence", how="left")
    told = (pl.col("item").list.sort() == pl.col("held").list.sort()).fill_null(
        pl.col("item").list.len() == 1
    )
    wrong = left.filter(~told)["sequence"].to_list()
    wrong += last.join(left, on="sequence", how="anti")["sequence"].to_list()
    if wrong:
        raise DataError(f"The pairs do not tell what user {wrong[0]} rated before the last item.")
    ordered = left.select("sequence", item=pl.coalesce("held", "item")).sort("sequence")
    return ordered.explode("item")


def _two_a_line(path: Path, names: tuple[str, str]) -> pl.DataFrame:
    existing(path, mend="Fetch the set again.")
    table = pl.read_csv(path, has_header=False, separator=" ", new_columns=list(names))
    return table.cast(pl.Int64)


def read_item_mapping(folder: Path) -> pl.DataFrame:
    """Which MovieLens film each item is: ``item`` and ``movie``, as text."""
    return _two_a_line(folder / "sas_to_original_items.txt", ("item", "movie")).cast(pl.String)
