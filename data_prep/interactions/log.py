"""Interactions as numbers: who met what, oldest first, with the catalogue that the numbers stand for.

Letters: S sequences (users or sessions), N interactions, I items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_prep.errors import DataError
from data_prep.interactions.findings import no_findings
from data_prep.records import SourceFile

Integers = NDArray[np.int64]

EXTRAS = {"time": pl.Float64, "rating": pl.Float32, "event": pl.String, "reward": pl.Float32}
"""Columns that interactions may have beside sequence and item: seconds, stars, what happened, its reward."""


@dataclass(frozen=True)
class RawLog:
    """Interactions as a source tells them, in its order.

    Attributes:
        frame: ``sequence`` and ``item`` as text, and any of :data:`EXTRAS`, ``[N]``.
        items: what the source says of items: ``item_id``, perhaps ``title``, and groups as lists of text.
        whole_catalogue: ``items`` is the catalogue; otherwise it is what occurs in ``frame``.
        sources: the files read.
        findings: rows left out, and rows kept with a change; see :mod:`data_prep.interactions.findings`.
        notes: what a reader of the report should not overlook.
    """

    frame: pl.DataFrame
    items: pl.DataFrame | None = None
    whole_catalogue: bool = False
    sources: tuple[SourceFile, ...] = ()
    findings: pl.DataFrame = field(default_factory=no_findings)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Log:
    """Interactions as numbers.

    Attributes:
        frame: ``sequence`` and ``item`` (int64) and any of :data:`EXTRAS`, ``[N]``; the rows of a sequence
            stand together, oldest first, and sequences are numbered from zero in their order.
        items: the catalogue, ``[I]``: ``item`` (its row number), ``item_id``, ``title`` and groups.
        sequence_ids: what the source calls each sequence, ``[S]``.
    """

    frame: pl.DataFrame
    items: pl.DataFrame
    sequence_ids: pl.Series

    @property
    def starts(self) -> Integers:
        """Where each sequence begins in ``frame``, ``[S]``."""
        sequence = self.frame["sequence"].to_numpy()
        return np.flatnonzero(np.diff(sequence, prepend=-1)).astype(np.int64)

    @property
    def lengths(self) -> Integers:
        """Interactions of each sequence, ``[S]``."""
        return np.diff(self.starts, append=len(self.frame)).astype(np.int64)

    def of_sequences(self, chosen: NDArray[np.bool_]) -> pl.DataFrame:
        """Rows of the sequences of a mask ``[S]``."""
        return self.frame.filter(pl.Series(np.repeat(chosen, self.lengths)))


def number(raw: RawLog) -> Log:
    """Sort every sequence by time, keeping the source's order where times are equal, and number everything.

    Sequences are numbered in the order in which the source first names them. Items are numbered by their id,
    whole numbers by value and other ids as text, or as listed where the source lists the catalogue.

    Raises:
        DataError: when no interaction is left, or an item is missing from a given catalogue.
    """
    if raw.frame.is_empty():
        raise DataError(
            f"No interaction is left: {len(raw.findings.filter(~pl.col('kept')))} rows were rejected."
        )
    item, item_names = encode(raw.frame["item"])
    items = _catalogue(raw, item_names)
    sequence, sequence_ids = encode(raw.frame["sequence"])
    named = item_names.to_frame("item_id").join(items, on="item_id", how="left", maintain_order="left")
    numbers = named["item"]
    if missing := numbers.null_count():
        first = item_names.filter(numbers.is_null())[0]
        raise DataError(f"{missing} items are not in the catalogue, the first {first!r}: add them to it.")
    frame = pl.DataFrame({"sequence": sequence, "item": numbers.gather(item)}).with_columns(
        raw.frame[name].cast(dtype) for name, dtype in EXTRAS.items() if name in raw.frame.columns
    )
    order = ["sequence", "time"] if "time" in frame.columns else ["sequence"]
    return Log(frame.sort(order, maintain_order=True), items, sequence_ids)


def encode(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """A number for each value, int64 ``[N]``, in the order of first occurrence, and the distinct values by
    number."""
    encoded = values.to_arrow().dictionary_encode()
    codes, names = pl.Series(encoded.indices), pl.Series(encoded.dictionary, dtype=values.dtype)
    return codes.cast(pl.Int64), names


def _catalogue(raw: RawLog, occurring: pl.Series) -> pl.DataFrame:
    known = raw.items
    if known is None:
        known = pl.DataFrame({"item_id": pl.Series([], dtype=pl.String)})
    if "title" not in known.columns:
        known = known.with_columns(title=pl.lit(None, pl.String))
    if not raw.whole_catalogue:
        seen = pl.DataFrame({"item_id": in_order(occurring)})
        known = seen.join(known, on="item_id", how="left", maintain_order="left")
    if twice := known["item_id"].len() - known["item_id"].n_unique():
        raise DataError(f"{twice} item ids are listed twice: every item needs an id of its own.")
    return numbered_items(known)


def numbered_items(known: pl.DataFrame) -> pl.DataFrame:
    """A catalogue with its items numbered as they stand, titles beside ids, groups behind."""
    frame = known.with_columns(item=pl.int_range(pl.len(), dtype=pl.Int64))
    return frame.select("item", "item_id", "title", pl.exclude("item", "item_id", "title"))


def in_order(ids: pl.Series) -> pl.Series:
    """Ids sorted: by value where all are whole numbers, as text otherwise."""
    values = ids.cast(pl.Int64, strict=False)
    return ids.sort() if values.null_count() else ids.gather(values.arg_sort())


def drop_rare(raw: RawLog, *, min_items: int, min_users: int) -> RawLog:
    """Leave out sequences with fewer than ``min_items`` interactions and items with fewer than ``min_users``,
    again and again until none is left; a note says how many."""
    if max(min_items, min_users) <= 1:
        return raw
    frame = raw.frame
    while True:
        common = (pl.len().over("sequence") >= min_items) & (pl.len().over("item") >= min_users)
        fewer = frame.filter(common)
        if len(fewer) == len(frame):
            break
        frame = fewer
    if not len(frame):
        raise DataError(
            f"No interaction is left of {len(raw.frame):,} with at least {min_items} in a sequence and "
            f"{min_users} of an item; ask for fewer."
        )
    left_out = len(raw.frame) - len(frame)
    if not left_out:
        return raw
    note = (
        f"{left_out:,} interactions of sequences shorter than {min_items} or of items with fewer than "
        f"{min_users} interactions are left out."
    )
    return replace(raw, frame=frame, notes=(*raw.notes, note))


def join_logs(logs: Sequence[RawLog]) -> RawLog:
    """Logs of several files of one set, one after the other; their catalogues must be one and the same."""
    first = logs[0]
    return replace(
        first,
        frame=pl.concat([log.frame for log in logs]),
        sources=tuple(source for log in logs for source in log.sources),
        findings=pl.concat([log.findings for log in logs]),
        notes=tuple(dict.fromkeys(note for log in logs for note in log.notes)),
    )
