"""Published rows of history and next item, as LLaRA, DreamRec and DROS released them.

A row holds the last items before the target, padded on the right to one length with the id behind the last
item, the number of real items (one for an empty history), and the target. Ids may be whole numbers written as
floats, and may come with a rating. Sequences are rebuilt from rows that continue each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_prep.errors import DataError
from data_prep.files import sha256_of
from data_prep.interactions.findings import findings, joined, no_findings
from data_prep.interactions.ragged import Integers, list_column
from data_prep.readers.pickled_frames import PickledFrame, read_pickled_frame
from data_prep.records import SourceFile

HISTORY, LENGTH, TARGET = ("seq",), ("len_seq", "seq_len"), ("next", "tgt")


@dataclass(frozen=True)
class HistoryRows:
    """B rows, histories padded on the right.

    Attributes:
        histories: item numbers, ``[B, L]``; ``num_items`` where the history has ended.
        lengths: real items of each history, ``[B]``; zero where it is empty.
        targets: the item that came next, ``[B]``.
        num_items: catalogue size, and the padding number.
        ratings: the target's rating where items come with one, ``[B]``.
        history_ratings: those of the history, ``[B, L]``.
        source: the file.
        findings: rows left out, and rows kept with a change.
    """

    histories: Integers
    lengths: Integers
    targets: Integers
    num_items: int
    ratings: NDArray[np.float32] | None
    source: SourceFile
    findings: pl.DataFrame
    history_ratings: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def sequence_of_row(self) -> Integers:
        """Which sequence each row belongs to, ``[B]``.

        A row continues the sequence of the row before it when its history is what that row's history becomes
        by its target (the last L items of it); any other row opens a new sequence.
        """
        rows, width = self.histories.shape
        if not rows:
            return np.empty(0, dtype=np.int64)
        full = self.lengths == width
        grown = np.where(full[:, None], np.roll(self.histories, -1, axis=1), self.histories)
        grown[np.arange(rows), np.minimum(self.lengths, width - 1)] = self.targets
        continues = (self.histories[1:] == grown[:-1]).all(1) & (self.lengths[1:] > 0)
        return np.concatenate([[0], np.cumsum(~continues)]).astype(np.int64)

    def ranked(self) -> pl.DataFrame:
        """Rows to be ranked: ``row``, ``sequence``, ``history`` (as far as it is shown), ``target``."""
        shown = self.histories[np.arange(self.histories.shape[1]) < self.lengths[:, None]]
        return pl.DataFrame(
            {
                "row": np.arange(len(self)),
                "sequence": self.sequence_of_row,
                "history": list_column(shown, self.lengths),
                "target": self.targets,
                **({} if self.ratings is None else {"rating": self.ratings}),
            }
        )

    def rated_items(self) -> pl.DataFrame:
        """All items of each row, target included, with their ratings: ``row``, ``item``, ``rating``."""
        if self.ratings is None or self.history_ratings is None:
            raise DataError(f"{self.source.name} holds items without ratings.")
        items = np.column_stack([self.histories, self.targets])
        ratings = np.column_stack([self.history_ratings, self.ratings])
        rows = np.repeat(np.arange(len(self)), items.shape[1]).reshape(items.shape)
        real = items < self.num_items
        return pl.DataFrame({"row": rows[real], "item": items[real], "rating": ratings[real]})

    def interactions(self) -> pl.DataFrame:
        """The sequences that the rows come from: ``sequence``, ``item``, perhaps ``rating``, oldest first.

        A row is one interaction, its target. Where a sequence opens with a history that is not empty, the
        items of that history come before it; their ratings are not known and none are given.
        """
        sequence = self.sequence_of_row
        opens = np.diff(sequence, prepend=-1) > 0
        if not self.lengths[opens].any():
            columns = {"sequence": sequence, "item": self.targets}
            return pl.DataFrame(columns | ({} if self.ratings is None else {"rating": self.ratings}))
        before = np.where(opens, self.lengths, 0)
        real = (np.arange(self.histories.shape[1]) < before[:, None]).reshape(-1)
        rows = np.repeat(np.arange(len(self)), self.histories.shape[1])[real]
        items = np.concatenate([self.histories.reshape(-1)[real], self.targets])
        order = np.argsort(np.concatenate([rows, np.arange(len(self))]), kind="stable")
        of_row = np.concatenate([sequence[rows], sequence])
        return pl.DataFrame({"sequence": of_row[order], "item": items[order]})


def read_history_rows(path: Path, num_items: int, *, verified: bool | None = None) -> HistoryRows:
    """Read one file of rows.

    Args:
        num_items: catalogue size I; items are 0 to I - 1 and I pads.
        verified: whether the file is the published one, for the report.

    Raises:
        DataError: when the file is no pickled frame, lacks a column, or has no usable row.
    """
    frame = read_pickled_frame(path)
    raw, targets = _numbers(frame, HISTORY, path), _numbers(frame, TARGET, path)
    rated: NDArray[np.float32] | None = None
    stars: NDArray[np.float32] | None = None
    if raw.ndim == 3:  # (item, rating)
        raw, rated = raw[..., 0], raw[..., 1].astype(np.float32)
        targets, stars = targets[..., 0], targets[..., 1].astype(np.float32)
    if raw.ndim != 2 or targets.ndim != 1:
        raise DataError(
            f"{path}: histories must be lists of one length, of items or of (item, rating) pairs."
        )
    given = _numbers(frame, LENGTH, path)
    real = (raw != num_items).sum(1)
    sound = (raw == np.floor(raw)).all(1) & (raw >= 0).all(1) & (raw <= num_items).all(1)
    kinds = {
        "bad target": (targets == np.floor(targets)) & (targets >= 0) & (targets < num_items),
        "bad history": sound & ((np.arange(raw.shape[1]) < real[:, None]) == (raw != num_items)).all(1),
        "bad length": given == np.maximum(real, 1),
    }
    reasons = {
        "bad target": f"the target is not one of the items 0 to {num_items - 1}",
        "bad history": f"the history must hold items 0 to {num_items - 1}, then only the padding {num_items}",
        "bad length": "the given length is not the number of real items (one for an empty history)",
    }
    good, found = np.ones(len(frame), dtype=bool), [no_findings()]
    for kind, fine in kinds.items():
        wrong = np.flatnonzero(good & ~fine)
        shown = pl.DataFrame(
            {"row": wrong + 1, "value": [f"{raw[row].tolist()} -> {targets[row]:g}" for row in wrong]},
            schema={"row": pl.Int64, "value": pl.String},
        )
        found.append(findings(shown, kind, reasons[kind], source=path.name))
        good &= fine
    if not good.any():
        raise DataError(
            f"{path} has no usable row; its first is {raw[:1].tolist()} -> {targets[:1].tolist()}."
        )
    return HistoryRows(
        raw[good].astype(np.int64),
        real[good].astype(np.int64),
        targets[good].astype(np.int64),
        num_items,
        None if stars is None else stars[good],
        SourceFile(path.name, sha256_of(path), len(frame), encoding="pickle", verified=verified),
        joined(found),
        None if rated is None else rated[good],
    )


def _numbers(frame: PickledFrame, names: tuple[str, ...], path: Path) -> NDArray[np.float64]:
    """A column of numbers, of lists of them or of lists of pairs, as float64; ids stay exact below 2^53."""
    column = frame.column(*names)
    if column.dtype != object:
        return column.astype(np.float64)
    try:
        return np.array(column.tolist(), dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{path}, column {names[0]}: {error}. Every row needs a list of one length, of numbers."
        ) from error


def item_count(path: Path) -> int:
    """Catalogue size from a released statistics record (columns ``seq_size``, ``item_num``)."""
    return int(read_pickled_frame(path).column("item_num")[0])
