"""Pairs in memory: index columns over a table of distinct molecules, from one built folder or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from data_prep.build import load_classes, load_pairs
from data_prep.molecules import MoleculeTable
from data_prep.records import TypedClass
from data_prep.tables import read_parquet
from moltc.prompt_writer import PairText
from moltc.task import Task, with_shared_scales

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Asked:
    """What the rows of one task ask."""

    family: str
    property: str
    dataset: str
    classes: tuple[TypedClass, ...] = ()

    @cached_property
    def computed(self) -> bool:
        """Labels come from a formula; data sets made so say it in their name."""
        return self.dataset.endswith("computed")


@dataclass(frozen=True)
class PairTable:
    """P pairs over a molecule table, as index columns.

    Attributes
    ----------
    molecules : the distinct molecules.
    mol_a, mol_b : int32 [P], rows of ``molecules`` in the family's order; mol_b is -1 for a single molecule.
    label : float64 [P], as measured; NaN where unknown (prediction).
    split : str [P].
    pair_id : str [P].
    asked : what the tasks ask.
    task : int16 [P], number of each row's task.
    query : str [P] or None, what each row asks.
    answer : str [P] or None, the answers of free-text tasks.
    """

    molecules: MoleculeTable
    mol_a: np.ndarray
    mol_b: np.ndarray
    label: np.ndarray
    split: np.ndarray
    pair_id: np.ndarray
    asked: tuple[Asked, ...]
    task: np.ndarray
    query: np.ndarray | None = None
    answer: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.mol_a)

    @classmethod
    def load(cls, folders: str | Path | Sequence[str | Path]) -> PairTable:
        """Read one folder that ``data-prep`` wrote, or several as one table.

        Raises
        ------
        ValueError : a folder is not a build, or two ask the same of one data set.
        """
        if isinstance(folders, (str, Path)):
            return cls._load_one(Path(folders))
        if not folders:
            raise ValueError("name at least one folder of pairs")
        return cls.join([cls._load_one(Path(folder)) for folder in folders])

    @classmethod
    def _load_one(cls, folder: Path) -> PairTable:
        file = folder / "pairs.parquet"
        if not file.is_file():
            raise ValueError(
                f"{folder} holds no pairs.parquet; make it with `data-prep build` or `data-prep pairs`"
            )
        frame, molecules = load_pairs(folder, ("mol_a", "mol_b", "label"))
        asked, task = _tasks_of(file, tuple(load_classes(folder)))
        names, codes = _coded(_column(file, "split"))
        return cls(
            molecules=molecules,
            mol_a=frame["mol_a"].to_numpy(),
            mol_b=frame["mol_b"].to_numpy(),
            label=frame["label"].to_numpy(),
            split=np.array(names)[codes],
            pair_id=_compact(_column(file, "pair_id")),
            asked=asked,
            task=task,
            query=_texts(file, "query"),
            answer=_texts(file, "text"),
        )

    @classmethod
    def join(cls, tables: Sequence[PairTable]) -> PairTable:
        """Tables end to end; a molecule that several hold is kept once.

        Raises
        ------
        ValueError : two tables ask the same of one data set.
        """
        if len(tables) == 1:
            return tables[0]
        asked = tuple(a for table in tables for a in table.asked)
        names = [(a.family, a.property, a.dataset) for a in asked]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two folders ask for {twice[0][1]} of {twice[0][2]}: leave one out")
        molecules, rows = joined_molecules([table.molecules for table in tables])
        starts = np.cumsum([0, *(len(table.asked) for table in tables)])

        def column(name: str) -> np.ndarray | None:
            parts = [getattr(table, name) for table in tables]
            if all(part is None for part in parts):
                return None
            empty = [
                np.full(len(t), None, dtype=object) if p is None else p
                for t, p in zip(tables, parts, strict=True)
            ]
            return np.concatenate([part.astype(object) for part in empty])

        return cls(
            molecules=molecules,
            mol_a=np.concatenate([row[t.mol_a] for row, t in zip(rows, tables, strict=True)]),
            mol_b=np.concatenate(
                [np.where(t.mol_b < 0, -1, row[t.mol_b]) for row, t in zip(rows, tables, strict=True)]
            ).astype(np.int32),
            label=np.concatenate([t.label for t in tables]),
            split=np.concatenate([t.split for t in tables]),
            pair_id=np.concatenate([t.pair_id for t in tables]),
            asked=asked,
            task=np.concatenate([t.task + s for t, s in zip(tables, starts, strict=False)]).astype(np.int16),
            query=column("query"),
            answer=column("answer"),
        )

    def rows(self, split: str, task: int | None = None) -> np.ndarray:
        """Row numbers of one split, of all tasks or one, int64."""
        chosen = self._split_codes[split]
        return chosen if task is None else chosen[self.task[chosen] == task]

    @cached_property
    def _split_codes(self) -> dict[str, np.ndarray]:
        return {name: np.flatnonzero(self.split == name) for name in SPLITS}

    def text(self, row: int) -> PairText:
        """What the prompt of a row is written from."""
        a, b = self.mol_a[row], self.mol_b[row]
        m = self.molecules
        query = None if self.query is None else self.query[row]
        if b < 0:
            return PairText(m.smiles[a], properties_a=m.property_text[a], query=query)
        return PairText(m.smiles[a], m.smiles[b], m.property_text[a], m.property_text[b], query)

    def tasks(self, train: np.ndarray) -> tuple[Task, ...]:
        """The tasks of the table, with what the labels of the rows ``train`` say about them.

        Raises
        ------
        ValueError : a task has no training rows, or labels that are not its own.
        """
        parts = [train[self.task[train] == n] for n in range(len(self.asked))]
        tasks = [
            Task.from_labels(
                a.family, a.property, a.dataset, self.label[rows], computed=a.computed, classes=a.classes
            )
            for a, rows in zip(self.asked, parts, strict=True)
        ]
        return with_shared_scales(tasks, [len(rows) for rows in parts])


def _column(file: Path, name: str) -> pl.Series:
    """One column of a table; column by column, so that no more is in memory at a time than is kept."""
    return read_parquet(file, [name])[0].to_series()


def _coded(texts: pl.Series) -> tuple[list[str], np.ndarray]:
    """Distinct texts by first appearance and each row's number among them, int [P]; null counts as empty."""
    texts = texts.fill_null("")
    names = texts.unique(maintain_order=True)
    return names.to_list(), texts.cast(pl.Enum(names)).to_physical().to_numpy()


def _tasks_of(file: Path, classes: tuple[TypedClass, ...]) -> tuple[tuple[Asked, ...], np.ndarray]:
    """What the rows of a table ask, by first appearance, and each row's number among it, int16 [P]."""
    columns = [_coded(_column(file, name)) for name in ("family", "property", "dataset")]
    sizes = [len(names) for names, _ in columns]
    key = np.ravel_multi_index([codes.astype(np.int64) for _, codes in columns], sizes)
    values, first, number = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first)
    places = np.stack(np.unravel_index(values[order], sizes), axis=1)  # [tasks, 3]
    (families, _), (properties, _), (datasets, _) = columns
    asked = [Asked(families[f], properties[p], datasets[d], classes) for f, p, d in places.tolist()]
    return tuple(asked), np.argsort(order)[number].astype(np.int16)


def _texts(file: Path, name: str) -> np.ndarray | None:
    """A column of texts, object [P], equal ones one object; None where the table has none."""
    if name not in pl.read_parquet_schema(file):
        return None
    column = _column(file, name)
    if column.null_count() == len(column):
        return None
    names, codes = _coded(column)
    texts = np.array(names, dtype=object)[codes]
    texts[column.is_null().to_numpy()] = None
    return texts


def _compact(texts: pl.Series, rows: int = 100_000) -> np.ndarray:
    """Distinct texts in one block of memory, StringDType [P]; a Python object for each would take thrice as
    much, and data processes would copy it."""
    kind = np.dtypes.StringDType()
    parts = [texts[at : at + rows].to_numpy().astype(kind) for at in range(0, len(texts), rows)]
    return np.concatenate(parts) if parts else np.empty(0, kind)


def joined_molecules(tables: Sequence[MoleculeTable]) -> tuple[MoleculeTable, list[np.ndarray]]:
    """Several molecule tables as one without repeats, and each one's rows in it (int32).

    The first table that holds a molecule gives its property text.
    """
    smiles = np.concatenate([table.smiles.astype(str) for table in tables])
    _, first, where = np.unique(smiles, return_index=True, return_inverse=True)
    kept = np.sort(first)
    number = np.searchsorted(kept, first)[where].astype(np.int32)
    ends = np.cumsum([len(table) for table in tables])
    starts = ends - [len(table) for table in tables]
    parts = [t.take(kept[(kept >= s) & (kept < e)] - s) for t, s, e in zip(tables, starts, ends, strict=True)]

    joined = MoleculeTable.concat(parts)
    return joined, [number[s:e] for s, e in zip(starts, ends, strict=True)]
