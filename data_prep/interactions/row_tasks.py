"""Ranking tasks from published history rows: LLaRA's, and DreamRec's in its protocols.

The rows to be ranked show at most ten items; what came before is in no file. What is fitted are the sequences
that the training rows are rebuilt to.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from data_prep.errors import DataError
from data_prep.interactions.candidates import draw_candidates
from data_prep.interactions.findings import joined
from data_prep.interactions.log import numbered_items
from data_prep.interactions.splits import Parts
from data_prep.interactions.task import Protocol, RankingTask
from data_prep.readers.history_rows import HistoryRows

ZHIHU_VARIANTS = ("train", "train+val", "val-window")


@dataclass(frozen=True)
class PublishedRows:
    """The row files of one set; a part that is not published is None."""

    train: HistoryRows | None
    valid: HistoryRows
    test: HistoryRows

    @property
    def files(self) -> list[HistoryRows]:
        return [one for one in (self.train, self.valid, self.test) if one is not None]


def unnamed_items(num_items: int) -> pl.DataFrame:
    """A catalogue whose ids are the numbers themselves and that has no titles."""
    ids = pl.int_range(num_items, eager=True).cast(pl.String)
    return pl.DataFrame({"item_id": ids, "title": pl.Series([None] * num_items, dtype=pl.String)})


def rows_task(
    name: str,
    protocol: Protocol,
    rows: PublishedRows,
    parts: Parts,
    items: pl.DataFrame | None = None,
    notes: tuple[str, ...] = (),
) -> RankingTask:
    """A task of published rows with its sources and findings."""
    catalogue = unnamed_items(rows.test.num_items) if items is None else items
    return RankingTask(
        name,
        protocol,
        numbered_items(catalogue),
        parts,
        sources=tuple(one.source for one in rows.files),
        findings=joined(one.findings for one in rows.files),
        notes=notes,
    )


def after(frame: pl.DataFrame, *before: pl.DataFrame) -> pl.DataFrame:
    """The frame with its sequences numbered after those of other frames."""
    shift = sum(one["sequence"].n_unique() for one in before)
    return frame.with_columns(pl.col("sequence") + shift)


def train_test_rows(rows: PublishedRows) -> Parts:
    """Fitted on the training rows, with and without the validation rows; both kinds of rows are ranked."""
    if rows.train is None:
        raise DataError("The training rows of this set are not published: choose another protocol.")
    train = rows.train.interactions()
    added = after(rows.valid.interactions(), train)
    trainval = pl.concat([train, added], how="diagonal")
    test = after(rows.test.ranked(), train, added)
    return Parts(train, trainval, after(rows.valid.ranked(), train), test)


def zhihu_parts(rows: PublishedRows, variant: str) -> Parts:
    """DreamRec's Zhihu rows: "train" is the published protocol; "train+val" fits on both, "val-window" on the
    validation rows alone.

    The last two take settings and epochs from the first: what they fit includes the validation rows, so none
    are left to choose on.
    """
    parts = train_test_rows(rows)
    if variant == "train":
        return parts
    fitted = parts.trainval if variant == "train+val" else rows.valid.interactions()
    return Parts(fitted, fitted, parts.valid.clear(), parts.test)


def window_parts(rows: PublishedRows, *, share: float = 0.9) -> Parts:
    """Fitted on the validation window, tested on the window after it.

    Settings are chosen with the first ``share`` of the window's sequences fitted and the rest ranked.
    """
    whole, ranked = rows.valid.interactions(), rows.valid.ranked()
    sequences = whole["sequence"].n_unique()
    first = pl.col("sequence") < int(sequences * share)
    held = ranked.filter(~first).with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    return Parts(whole.filter(first), whole, held, after(rows.test.ranked(), whole))


def with_candidates(
    parts: Parts, num_items: int, *, size: int = 20, draws: int = 1, seed: int = 2024
) -> Parts:
    """The parts with candidate lists drawn for validation and test rows."""
    drawn = {
        split: rows.with_columns(
            draw_candidates(rows, num_items, split=split, size=size, draws=draws, seed=seed)
        )
        for split, rows in (("valid", parts.valid), ("test", parts.test))
    }
    return Parts(parts.train, parts.trainval, drawn["valid"], drawn["test"])
