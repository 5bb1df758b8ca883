"""Fixed protocols of sets that are published as rows of history and next item: LLaRA's and DreamRec's."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from data_prep.interactions.card_files import CardFiles
from data_prep.interactions.row_tasks import (
    PublishedRows,
    after,
    rows_task,
    train_test_rows,
    window_parts,
    with_candidates,
    zhihu_parts,
)
from data_prep.interactions.task import Protocol, RankingTask
from data_prep.readers.candidate_lists import read_candidate_lists
from data_prep.readers.history_rows import HistoryRows, item_count, read_history_rows
from data_prep.readers.lastfm import read_names

DRAWS = 10  # candidate lists of each held-out row; the first is the main figure's
SHORTEST = 3  # items in the history of a row that LLaRA keeps
SDPO_LISTS = "sdpo_lastfm/lastfm-val.json"
_RENAMED = {"Florence and the Machine": "Florence + the Machine", "Plus 44": "+44"}
_FITTED = {"train": "the training sequences", "trainval": "the training and validation sequences"}
_WINDOW = {
    "train": "the first 90 % of the sequences of the validation window",
    "trainval": "all sequences of the validation window",
}


def zhihu_rows(files: CardFiles, variant: str) -> RankingTask:
    """DreamRec's Zhihu; see :func:`~data_prep.interactions.row_tasks.zhihu_parts` for the variants."""
    rows = _read(files, "train_data.df", "val_data.df", "test_data.df", _size(files))
    fitted = {
        "train": _FITTED,
        "train+val": dict.fromkeys(("train", "trainval"), "training and validation sequences"),
        "val-window": dict.fromkeys(("train", "trainval"), "validation sequences alone"),
    }
    name = "zhihu-rows" if variant == "train" else f"zhihu-rows/{variant}"
    protocol = Protocol(name, "NDCG@20", (10, 20, 50), filter_seen=False, variants=fitted[variant])
    return rows_task(files.card.name, protocol, rows, zhihu_parts(rows, variant))


def yoochoose_windows(files: CardFiles, _: str) -> RankingTask:
    """DreamRec's YooChoose, whose training rows are not published: fitted on the validation window."""
    rows = _read(files, None, "val_data.df", "test_data.df", _size(files))
    protocol = Protocol("yc-valfit", "NDCG@20", (10, 20, 50), filter_seen=False, variants=_WINDOW)
    note = "Fitted on the validation window: not the published protocol, whose training rows are not at hand."
    return rows_task(files.card.name, protocol, rows, window_parts(rows), notes=(note,))


def lastfm_20(files: CardFiles, variant: str) -> RankingTask:
    """LLaRA's Last.fm: twenty candidates, ten draws of them, one row for each held-out sequence.

    Variant "sdpo-lists" validates on the lists that S-DPO released: further rows of the same validation
    sequences, each with one draw of candidates.
    """
    task = _llara(files, "lastfm-20", 4_606, "train_data.df")
    if variant == "llara":
        return task
    lists = read_candidate_lists(files.path(SDPO_LISTS), task.items, renamed=_RENAMED)
    valid = after(lists.insert_column(1, _sequences(lists)), task.parts.train)
    protocol = replace(task.protocol, name=f"lastfm-20/{variant}")
    task = replace(task, protocol=protocol, parts=replace(task.parts, valid=valid))
    return task.with_sources(files.looked_up(SDPO_LISTS))


def _sequences(lists: pl.DataFrame) -> pl.Series:
    """Number of each row's sequence: a row continues the one before it, or opens a new one."""
    grown = pl.concat_list("history", "target").list.tail(10).shift(1)
    opens = (pl.col("history") != grown).fill_null(True)
    return lists.select(sequence=opens.cum_sum().cast(pl.Int64) - 1)["sequence"]


def steam_20(files: CardFiles, _: str) -> RankingTask:
    """LLaRA's Steam with the thousand training rows that are published."""
    return _llara(files, "steam-20-thousand", 3_581, "train_data.df1000")


def _llara(files: CardFiles, name: str, num_items: int, train: str) -> RankingTask:
    rows = _read(files, train, "Val_data.df", "Test_data.df", num_items)
    items = read_names(files.path("id2name.txt"), num_items)
    whole = train_test_rows(rows)
    long = {split: _long(getattr(whole, split)) for split in ("valid", "test")}
    left_out = sum(len(getattr(whole, split)) - len(kept) for split, kept in long.items())
    note = (
        f"{left_out} held-out rows with fewer than {SHORTEST} items in the history are left out, as in LLaRA."
    )
    parts = with_candidates(replace(whole, **long), num_items, draws=DRAWS)
    protocol = Protocol(name, "HitRatio@1", (1, 10, 20), variants=_FITTED)
    task = rows_task(files.card.name, protocol, rows, parts, items, notes=(note,) if left_out else ())
    return task.with_sources(files.looked_up("id2name.txt"))


def _long(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("history").list.len() >= SHORTEST)


def _read(files: CardFiles, train: str | None, valid: str, test: str, num_items: int) -> PublishedRows:
    def one(name: str) -> HistoryRows:
        return read_history_rows(files.path(name), num_items, verified=files.verified(name))

    return PublishedRows(one(train) if train else None, one(valid), one(test))


def _size(files: CardFiles) -> int:
    return item_count(files.path("data_statis.df"))
