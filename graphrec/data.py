"""A recommendation folder as ``data-prep`` writes it: catalogue, fitted interactions, rows to be ranked.

Parts are read when they are first asked for, as flat arrays of numbers; ten million interactions stay well
below a gigabyte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_prep.errors import DataError
from data_prep.files import existing
from graphrec.catalogue import Catalogue
from graphrec.evaluation import Ties
from graphrec.histories import Histories, Integers

KIND = "recommendation"
MEND = "Build it with data-prep interactions or data-prep build."
COLUMNS = ("time", "rating", "event", "reward")
"""What may stand beside an interaction or a row to be ranked."""


class Words(NamedTuple):
    """A column of few distinct words, such as kinds of events."""

    codes: NDArray[np.uint32]
    """Which word, ``[N]``."""
    names: tuple[str, ...]

    def is_word(self, name: str) -> NDArray[np.bool_]:
        """Where the column holds a word, ``[N]``."""
        if name not in self.names:
            raise ValueError(f"{name!r} does not occur; there are {', '.join(self.names)}")
        return self.codes == self.names.index(name)


Column = NDArray[Any] | Words


@dataclass(frozen=True)
class Rows:
    """B rows to be ranked: what came before, and the one item that came next.

    Attributes:
        histories: whole histories, oldest first, ``B`` rows.
        targets: the item that came next, ``[B]``.
        candidates: item numbers in the order shown, ``[B, draws, C]``; None: the whole catalogue is ranked.
        columns: further columns, ``[B]`` each, by name.
    """

    histories: Histories
    targets: Integers
    candidates: Integers | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.targets)

    def select(self, rows: Integers | NDArray[np.bool_]) -> Rows:
        """Rows by number or by mask."""
        return Rows(
            self.histories.select(rows),
            self.targets[rows],
            None if self.candidates is None else self.candidates[rows],
            {
                name: Words(column.codes[rows], column.names) if isinstance(column, Words) else column[rows]
                for name, column in self.columns.items()
            },
        )


@dataclass(frozen=True)
class Interactions:
    """Sequences that a recommender is fitted on.

    Attributes:
        histories: one row for each sequence, oldest interaction first.
        columns: further columns, ``[N]`` each, aligned with ``histories.items``.
    """

    histories: Histories
    columns: Mapping[str, Column] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What decides a ranking task; figures of two tasks with different hashes must not be compared.

    Attributes:
        name, protocol: of the data set and of how it was split.
        metric: what settings and epochs are chosen by on the validation rows.
        ks: list lengths that are reported.
        filter_seen: whether items of the history are removed before ranking.
        ties: "against": tied items count against the target; "average": they share their mean rank.
        hash: of catalogue, rows and rules.
    """

    name: str
    protocol: str
    num_items: int
    metric: str
    ks: tuple[int, ...]
    filter_seen: bool
    hash: str
    ties: Ties = "against"

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """The manifest of a built folder."""
        existing(path, mend=MEND)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is not valid JSON ({error}). {MEND}") from error
        if not isinstance(content, dict) or content.get("kind") != KIND:
            raise DataError(f"{path} does not describe recommendation data. {MEND}")
        names = ("name", "protocol", "num_items", "metric", "ks", "filter_seen", "hash")
        if missing := [name for name in names if name not in content]:
            raise DataError(f"{path} lacks {', '.join(missing)}. {MEND}")
        values = {name: content[name] for name in names} | {"ks": tuple(content["ks"])}
        ties = content.get("ties", "against")
        if ties not in ("average", "against"):
            raise DataError(f"{path}: ties {ties!r} is not known; it is 'average' or 'against'. {MEND}")
        return cls(**values, ties=ties)


class RecommendationData:
    """A built folder.

    Args:
        folder: holds manifest.json, items.parquet, {train,trainval,valid,test}.parquet.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = Manifest.read(self.folder / "manifest.json")

    @classmethod
    def load(cls, folder: str | Path) -> RecommendationData:
        """Open a folder; tables are read when they are needed."""
        return cls(folder)

    @property
    def num_items(self) -> int:
        return self.manifest.num_items

    @cached_property
    def catalogue(self) -> Catalogue:
        """The items, with titles and groups."""
        path = self.folder / "items.parquet"
        table = _read(path).sort("item")
        if not np.array_equal(table["item"].to_numpy(), np.arange(self.num_items)):
            raise DataError(f"{path}: items are not numbered 0 to {self.num_items - 1}. {MEND}")
        titles = table["title"].to_list() if "title" in table.columns else []
        groups = {
            name: table[name].fill_null([]).to_list()
            for name, dtype in table.schema.items()
            if dtype == pl.List(pl.String)
        }
        return Catalogue(table["item_id"].cast(pl.String).to_list(), titles, groups)

    @cached_property
    def train_interactions(self) -> Interactions:
        """The training part with its columns (time, rating, event), as far as the data have them."""
        return self._interactions("train")

    @cached_property
    def trainval_interactions(self) -> Interactions:
        """The training part and what validation adds, with its columns."""
        return self._interactions("trainval")

    @property
    def train(self) -> Histories:
        """Sequences of the training part."""
        return self.train_interactions.histories

    @property
    def trainval(self) -> Histories:
        """Sequences of the training part and what validation adds."""
        return self.trainval_interactions.histories

    def fitted(self, *, refit_on_trainval: bool = False) -> Interactions:
        """What a model may be fitted on."""
        return self.trainval_interactions if refit_on_trainval else self.train_interactions

    @cached_property
    def valid(self) -> Rows:
        """Rows that settings and epochs are chosen on."""
        return self._rows("valid")

    @cached_property
    def test(self) -> Rows:
        """Rows that are ranked once, at the end."""
        return self._rows("test")

    def rows(self, split: str) -> Rows:
        """Rows of a split, "valid" or "test"."""
        if split not in ("valid", "test"):
            raise ValueError(f"split={split!r} holds no rows to rank; choose 'valid' or 'test'")
        return self.valid if split == "valid" else self.test

    def _interactions(self, part: str) -> Interactions:
        path = self.folder / f"{part}.parquet"
        table = _read(path, ["sequence", "item", *COLUMNS])
        sequence, items = table["sequence"].to_numpy(), table["item"].to_numpy()
        if not len(items):
            raise DataError(f"{path} has no interaction: there is nothing to fit on. {MEND}")
        change = np.flatnonzero(sequence[1:] != sequence[:-1]) + 1
        first = np.concatenate([[0], change])
        if len(np.unique(sequence[first])) != len(first):
            raise DataError(f"{path} is not sorted by sequence. {MEND}")
        ends = np.append(change, len(items)).astype(np.int64)
        histories = Histories(self._checked(items, path), ends)
        return Interactions(histories, _columns(table))

    def _rows(self, split: str) -> Rows:
        path = self.folder / f"{split}.parquet"
        table = _read(path, ["history", "target", "candidates", *COLUMNS])
        history = table["history"].fill_null([])
        items = self._checked(history.explode(empty_as_null=False).to_numpy(), path)
        histories = Histories.from_lengths(items, history.list.len().to_numpy())
        targets = self._checked(table["target"].to_numpy(), path)
        candidates = self._candidates(table, targets, path) if "candidates" in table.columns else None
        return Rows(histories, targets, candidates, _columns(table))

    def _candidates(self, table: pl.DataFrame, targets: Integers, path: Path) -> Integers:
        lists = table["candidates"]
        draws, sizes = lists.list.len(), lists.explode().list.len()
        if draws.n_unique() > 1 or sizes.n_unique() > 1:
            raise DataError(f"{path}: candidate lists differ in number or length. {MEND}")
        flat = self._checked(lists.explode().explode().to_numpy(), path)
        candidates = flat.reshape(len(table), draws[0] if len(table) else 0, -1)
        without = np.flatnonzero(((candidates == targets[:, None, None]).sum(2) != 1).any(1))
        if without.size:
            raise DataError(f"{path} row {without[0]}: each list must hold the target once. {MEND}")
        return candidates

    def _checked(self, items: NDArray[Any], path: Path) -> Integers:
        """Item numbers within the catalogue, as an array that may be written to, which torch wants."""
        outside = np.flatnonzero((items < 0) | (items >= self.num_items)) if len(items) else np.empty(0)
        if outside.size:
            value = items[int(outside[0])]
            raise DataError(
                f"{path}: entry {int(outside[0])} is item {value}, not 0 to {self.num_items - 1}. {MEND}"
            )
        return items.astype(np.int64, copy=not items.flags.writeable)


def _read(path: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """A table of the folder: all of its columns, or those of some names that it has."""
    existing(path, mend=MEND)
    try:
        there = pl.read_parquet_schema(path)
        wanted = list(there) if columns is None else [name for name in columns if name in there]
        return pl.read_parquet(path, columns=wanted)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} is damaged or cut short ({error}). {MEND}") from error


def _columns(table: pl.DataFrame) -> dict[str, Column]:
    return {name: _column(table[name]) for name in COLUMNS if name in table.columns}


def _column(values: pl.Series) -> Column:
    if values.dtype != pl.String:
        return values.to_numpy()
    if values.null_count():
        raise DataError(f"column {values.name} has {values.null_count()} empty cells. {MEND}")
    names = values.unique().sort().to_list()
    return Words(values.cast(pl.Enum(names)).to_physical().to_numpy().astype(np.uint32), tuple(names))
