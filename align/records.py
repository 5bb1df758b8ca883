"""The table of preferences that training reads: prompts, completions, and what is known of each example."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from data_prep.errors import DataError
from data_prep.files import existing
from data_prep.flips import draw_flips, swapped_with
from data_prep.preference_records import Example
from data_prep.preferences import COLUMNS, TABLE, PreferencePlan, collect, file_source, record_source
from data_prep.records import PARTS
from data_prep.tables import read_parquet


@dataclass(frozen=True)
class PreferenceTable:
    """N examples.

    Attributes
    ----------
    frame : the columns that ``data-prep preferences`` writes, N rows.
    name : where they come from, for messages.
    swapped : int64 [N], the completion that takes the chosen one's place in an example turned round by
        :meth:`with_flips`, -1 for an unpaired one whose label is turned over, 0 for all others.
    """

    frame: pl.DataFrame
    name: str
    swapped: np.ndarray

    @classmethod
    def load(cls, path: str | Path, plan: PreferencePlan | None = None) -> Self:
        """A folder that ``data-prep preferences`` wrote, its table, or a file of records.

        Args:
            path: folder, preferences.parquet, or any file that ``data-prep preferences`` reads.
            plan: how records are read and split; for files of records only.

        Raises:
            DataError: there is no such table, or a row of a file of records cannot be used: what to do about
                bad rows is decided by ``data-prep preferences``, which reports them.
        """
        path = Path(path)
        if cls.is_built(path):
            if plan is not None:
                raise DataError(f"{path} is read and split already: a plan has no effect on it.")
            table = path / TABLE if path.is_dir() else path
            frame, _ = read_parquet(existing(table, mend="Build it with data-prep preferences."))
            return cls.of(frame, str(path))
        found = collect([file_source(path)], plan or PreferencePlan())
        if found.rejected:
            first = found.rejected[0]
            raise DataError(
                f"{len(found.rejected):,} rows of {path} cannot be used; the first is line {first.line}: "
                f"{first.reason}. Mend them, or set them aside with: data-prep preferences --input {path}"
            )
        return cls.of(found.frame, str(path))

    @staticmethod
    def is_built(path: str | Path) -> bool:
        """Whether a path is a folder or table that ``data-prep preferences`` writes, not a file of
        records."""
        path = Path(path)
        return path.is_dir() or (path.is_file() and set(COLUMNS) <= _parquet_columns(path))

    @classmethod
    def from_records(cls, records: Iterable[Any], plan: PreferencePlan | None = None) -> Self:
        """Records in memory, such as a Hugging Face data set with the columns that TRL reads.

        Raises:
            DataError: a record cannot be used; the message names it.
        """
        found = collect([record_source(records)], plan or PreferencePlan())
        if found.rejected:
            first = found.rejected[0]
            raise DataError(f"record {first.line} cannot be used: {first.reason}")
        return cls.of(found.frame, "records")

    @classmethod
    def of(cls, frame: pl.DataFrame, name: str) -> Self:
        """A table from its columns; :class:`DataError` names one that is missing."""
        if missing := [column for column in COLUMNS if column not in frame.columns]:
            raise DataError(f"{name} has no column {missing[0]!r}: build it with data-prep preferences.")
        kinds = set(frame["kind"].unique())
        if "unpaired" in kinds and len(kinds) > 1:
            raise DataError(
                f"{name} mixes single completions with pairs; build them apart, or all with --unpair."
            )
        return cls(frame, name, np.zeros(len(frame), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def is_unpaired(self) -> bool:
        """Each example is one completion, desirable or not."""
        return bool((self.frame["kind"] == "unpaired").any())

    @cached_property
    def ids(self) -> np.ndarray:
        """A number that stays with each example, int64 [N]."""
        return self.frame["example_id"].to_numpy()

    @cached_property
    def prompt_groups(self) -> np.ndarray:
        """A number for each prompt, int64 [N]."""
        return self.frame["prompt_group"].to_numpy()

    @cached_property
    def counts(self) -> np.ndarray:
        """Completions of each example, int64 [N]."""
        return self.frame["completions"].list.len().cast(pl.Int64).to_numpy()

    @cached_property
    def flipped(self) -> np.ndarray:
        """Examples turned round, when the table was built or by :meth:`with_flips`, bool [N]."""
        return self.frame["flipped"].to_numpy() | (self.swapped != 0)

    @cached_property
    def desirable(self) -> np.ndarray | None:
        """Labels of unpaired examples after flips, bool [N]; None for others."""
        if not self.is_unpaired:
            return None
        return self.frame["desirable"].to_numpy() ^ (self.swapped == -1)

    def rows(self, split: str) -> np.ndarray:
        """Rows of a split, ascending, int64."""
        return np.flatnonzero((self.frame["split"] == split).to_numpy())

    def sizes(self) -> dict[str, int]:
        """Examples of each split."""
        return {split: len(self.rows(split)) for split in PARTS}

    def digest(self) -> str:
        """A hash of the examples with their splits and flips, whatever file they lie in."""
        digest = hashlib.sha256(self.ids.tobytes())
        digest.update(self.swapped.tobytes())
        digest.update("".join(str(part)[:2] for part in self.frame["split"]).encode())
        return digest.hexdigest()[:16]

    def texts(self, row: int) -> tuple[str, bool, list[str]]:
        """Prompt, whether it is a dialogue, and completions of an example, as they are stored."""
        frame = self.frame
        return frame["prompt"][row], frame["chat"][row], frame["completions"][row].to_list()

    def order(self, row: int) -> np.ndarray:
        """Its completions with the chosen one first, after flips, int64 [K]."""
        order = np.arange(self.counts[row])
        other = max(int(self.swapped[row]), 0)
        order[[0, other]] = order[[other, 0]]
        return order

    def with_flips(
        self, rate: float, *, seed: int, splits: Sequence[str] = ("train",), exact: bool = False
    ) -> PreferenceTable:
        """The same table with flip noise: which examples is a function of (seed, example id) alone.

        Args:
            rate: probability that an example is turned round.
            splits: those that get noise.
            exact: turn round exactly that share, rounded.

        Raises:
            ValueError: the table has flips already, or the rate is no probability below 1.
        """
        if self.flipped.any():
            raise ValueError(f"{self.name} has {int(self.flipped.sum())} flips already: set flip_noise to 0")
        may = np.flatnonzero(self.frame["split"].is_in(list(splits)).to_numpy())
        turned = may[draw_flips(self.ids[may], rate, seed=seed, exact=exact)]
        swapped = np.zeros(len(self), dtype=np.int64)
        swapped[turned] = swapped_with(self.ids[turned], self.counts[turned], seed=seed)
        if self.is_unpaired:
            swapped[turned] = -1
        return PreferenceTable(self.frame, self.name, swapped)

    def targets(self) -> PreferenceTable:
        """What supervised training imitates: the chosen completion of each example, or its ``sft_target``.

        Undesirable completions are left out; one target of a prompt stands once. An example that is turned
        round gives the completion that is now in the chosen one's place.
        """
        columns = np.maximum(self.swapped, 0)
        first = self.frame["completions"].list.get(pl.Series(columns))
        target = pl.when(pl.Series(self.flipped)).then(None).otherwise(pl.col("sft_target"))
        frame = self.frame.with_columns(target=target.fill_null(first))
        if self.desirable is not None:
            frame = frame.filter(pl.Series(self.desirable))
        frame = frame.unique(["prompt_group", "target", "split"], keep="first", maintain_order=True)
        single = frame.with_columns(
            completions=pl.concat_list("target"), kind=pl.lit("unpaired"), desirable=pl.lit(True)
        )
        return PreferenceTable.of(single.select(list(COLUMNS)), self.name)

    def unpaired(self) -> PreferenceTable:
        """Each completion as an example of its own, desirable if it is the chosen one; for KTO.

        The examples are those that ``data-prep preferences --unpair`` makes of the same records, and keep
        their split. A table of single completions stays as it is.

        Raises:
            ValueError: :meth:`with_flips` has turned examples round; turn those of the result instead.
        """
        if self.is_unpaired:
            return self
        if self.swapped.any():
            raise ValueError(f"{self.name} has flips: take it apart first, then turn labels over")
        count = pl.col("completions").list.len()
        frame = self.frame.with_columns(
            desirable=pl.int_ranges(0, count).list.eval(pl.element() == 0), sft_target=pl.lit(None, pl.String)
        ).explode("completions", "desirable")
        ids = [
            Example(prompt, (text,), "unpaired", chat, desirable).example_id
            for prompt, chat, text, desirable in frame.select(
                "prompt", "chat", "completions", "desirable"
            ).iter_rows()
        ]
        single = frame.with_columns(
            example_id=pl.Series(ids, dtype=pl.Int64),
            completions=pl.concat_list("completions"),
            kind=pl.lit("unpaired"),
        )
        unique = single.unique("example_id", keep="first", maintain_order=True)
        return PreferenceTable.of(unique.select(list(COLUMNS)), self.name)


def _parquet_columns(path: Path) -> set[str]:
    return set(pl.read_parquet_schema(path)) if path.suffix == ".parquet" else set()
