"""From files of preferences to one checked table: split by prompt, with flip noise where it is asked for.

Rows that cannot be used are set aside with their line and the reason, repeated examples are merged, and
every count stands in the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data_prep.errors import DataError
from data_prep.files import sha256_of
from data_prep.flips import draw_flips, swapped_with
from data_prep.preference_records import BadRow, Example, RejectedRow, check_example
from data_prep.readers.preferences import FORMATS, detect_format, unused_fields
from data_prep.readers.record_files import Record, checked_object, read_records
from data_prep.records import PARTS, SourceFile
from data_prep.splits import Fractions, SplitPlan, check_parts, random_split

TABLE = "preferences.parquet"
COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "example_id": pl.Int64,
    "prompt": pl.String,
    "chat": pl.Boolean,
    "completions": pl.List(pl.String),
    "kind": pl.String,
    "desirable": pl.Boolean,
    "sft_target": pl.String,
    "prompt_group": pl.Int64,
    "split": pl.String,
    "flipped": pl.Boolean,
    "source": pl.String,
    "source_row": pl.Int64,
}


@dataclass(frozen=True)
class PreferencePlan:
    """How records become a table.

    Attributes
    ----------
    format : of the records; "auto" sees it from a file's first record.
    split : "random" draws parts by prompt; "column" reads them from a field of the records.
    flip_noise : probability that an example is turned round: chosen and rejected change places, a desirable
        completion becomes an undesirable one.
    flip_exact : turn round exactly that share, rounded.
    flip_parts : parts that are flipped.
    drop_identical : set rows aside whose chosen response is also a rejected one.
    unpair : each completion becomes an example of its own, the chosen one desirable, the others not.
    """

    format: str = "auto"
    split: SplitPlan = field(default_factory=SplitPlan)
    flip_noise: float = 0.0
    flip_exact: bool = False
    flip_parts: tuple[str, ...] = ("train",)
    drop_identical: bool = True
    unpair: bool = False

    def __post_init__(self) -> None:
        if self.format not in ("auto", *FORMATS):
            raise DataError(
                f"There is no format {self.format!r}; choose auto or one of {', '.join(FORMATS)}."
            )
        if self.split.method not in ("random", "column"):
            raise DataError(f"Preferences are split by prompt or by a column, not by {self.split.method!r}.")
        if unknown := [part for part in self.flip_parts if part not in PARTS]:
            raise DataError(f"There is no part {unknown[0]!r} to flip; parts are {', '.join(PARTS)}.")
        if not 0 <= self.flip_noise < 1:
            raise DataError(f"Flip noise must be at least 0 and below 1, not {self.flip_noise}.")


@dataclass(frozen=True)
class Source:
    """Records with a name for the report; ``part`` where all of them belong to one."""

    file: SourceFile
    records: Iterable[Record]
    part: str | None = None


@dataclass(frozen=True)
class Preferences:
    """What the records gave.

    Attributes
    ----------
    frame : one row an example, with the columns :data:`COLUMNS`.
    rejected : rows that are not used.
    sources : what was read, with its number of records.
    formats : format of each source, by name.
    unused : fields that no reader looked at.
    duplicates : examples left out because an equal one stands before them.
    """

    frame: pl.DataFrame
    rejected: list[RejectedRow]
    sources: list[SourceFile]
    formats: dict[str, str]
    unused: list[str]
    duplicates: int


def file_source(path: Path, *, part: str | None = None, verified: bool | None = None) -> Source:
    """The records of a file."""
    records = read_records(path)
    return Source(SourceFile(path.name, sha256_of(path), None, verified=verified), records, part)


def record_source(records: Iterable[Any], name: str = "records", *, part: str | None = None) -> Source:
    """Records in memory, such as the rows of a Hugging Face data set."""
    numbered = (Record(number, checked_object(one)) for number, one in enumerate(records, start=1))
    return Source(SourceFile(name, "", None), numbered, part)


def collect(sources: Sequence[Source], plan: PreferencePlan) -> Preferences:
    """Read, check, merge, split and flip.

    Raises
    ------
    DataError : no row can be used, or the split is not one.
    """
    readings = [_read(source, plan) for source in sources]
    rows = [row for reading in readings for row in reading.rows]
    rejected = [one for reading in readings for one in reading.rejected]
    if not rows:
        raise DataError(_nothing_left(sources, rejected))
    frame = pl.DataFrame(rows, schema=COLUMNS | {"part": pl.String}, orient="row")
    unique = frame.unique("example_id", keep="first", maintain_order=True)
    split = _split(unique, plan.split, [source.part for source in sources])
    flipped = _flip(unique.drop("part").with_columns(split=split), plan)
    return Preferences(
        frame=flipped,
        rejected=rejected,
        sources=[reading.file for reading in readings],
        formats={reading.file.name: reading.format for reading in readings},
        unused=sorted({name for reading in readings for name in reading.unused}),
        duplicates=len(frame) - len(unique),
    )


@dataclass(frozen=True)
class _Reading:
    file: SourceFile
    format: str
    rows: list[tuple]
    rejected: list[RejectedRow]
    unused: set[str]


def _read(source: Source, plan: PreferencePlan) -> _Reading:
    name, rows, rejected = source.file.name, [], []
    chosen = None if plan.format == "auto" else plan.format
    unused: set[str] = set()
    count = 0
    for line, content in source.records:
        count += 1
        try:
            if isinstance(content, BadRow):
                raise content
            chosen = chosen or _detected(content, name)
            examples, part = FORMATS[chosen].parse(content), _part(content, source, plan)
            for example in examples:
                check_example(example, drop_identical=plan.drop_identical)
            kept = _unpaired(examples) if plan.unpair else examples
            rows += [(*_row(example, name, line), part) for example in kept]
            unused |= unused_fields(chosen, content) - {plan.split.column}
        except BadRow as error:
            rejected.append(RejectedRow(name, line, error.kind, str(error)))
    return _Reading(replace(source.file, rows=count), chosen or plan.format, rows, rejected, unused)


def _detected(record: Mapping[str, Any], name: str) -> str:
    found = detect_format(record)
    if found is None:
        raise DataError(
            f"{name}: records with the fields {', '.join(map(str, record)) or '(none)'} are of no known "
            f"format; rename the fields, or name one of {', '.join(FORMATS)} as the format."
        )
    return found


def _unpaired(examples: Sequence[Example]) -> list[Example]:
    """The completions of examples as examples of their own."""
    return [
        Example(
            one.prompt, (text,), "unpaired", one.chat, place == 0 if one.desirable is None else one.desirable
        )
        for one in examples
        for place, text in enumerate(one.completions)
    ]


def _row(example: Example, source: str, line: int) -> tuple:
    """Values of :data:`COLUMNS`, split and flips still open."""
    return (
        example.example_id,
        example.prompt,
        example.chat,
        list(example.completions),
        example.kind,
        example.desirable,
        example.sft_target,
        example.prompt_group,
        None,
        False,
        source,
        line,
    )


def _part(record: Mapping[str, Any], source: Source, plan: PreferencePlan) -> str | None:
    if plan.split.column is None:
        return source.part
    if plan.split.column not in record:
        raise BadRow("missing field", f"{plan.split.column}, which says the part, is missing")
    part = record[plan.split.column]
    return None if part is None else str(part)


def _nothing_left(sources: Sequence[Source], rejected: Sequence[RejectedRow]) -> str:
    names = ", ".join(source.file.name for source in sources)
    if not rejected:
        return f"{names} holds no record."
    first = rejected[0]
    return (
        f"No row of {names} can be used ({len(rejected):,} are set aside); "
        f"the first is {first.source} line {first.line}: {first.reason}."
    )


def _split(frame: pl.DataFrame, plan: SplitPlan, given: Sequence[str | None]) -> pl.Series:
    """Part of every example: as given, else drawn; examples of one prompt are drawn together."""
    if plan.method == "column":
        return check_parts(frame["part"], f"column {plan.column!r}").alias("split")
    fractions = _of_the_rest(plan.fractions, given)
    free = frame.filter(pl.col("part").is_null())
    drawn = random_split(free["prompt_group"].to_numpy(), None, fractions=fractions, seed=plan.seed)
    parts = frame["part"].to_numpy().copy()
    parts[frame["part"].is_null().to_numpy()] = drawn
    return pl.Series("split", parts, dtype=pl.String)


def _of_the_rest(fractions: Fractions, given: Sequence[str | None]) -> Fractions:
    """Shares of what is still to be drawn where some parts have files of their own."""
    left = [0.0 if part in given else share for part, share in zip(PARTS, fractions, strict=True)]
    if not sum(left):
        raise DataError("The shares of the parts that have no file of their own are zero: raise --fractions.")
    train, valid, test = (share / sum(left) for share in left)
    return train, valid, test


def _flip(frame: pl.DataFrame, plan: PreferencePlan) -> pl.DataFrame:
    """The table with its flip noise; column ``flipped`` keeps what was done, for analysis only."""
    if not plan.flip_noise:
        return frame
    may = np.flatnonzero(frame["split"].is_in(plan.flip_parts).to_numpy())
    ids = frame["example_id"].to_numpy()
    turned = np.zeros(len(frame), dtype=bool)
    turned[may] = draw_flips(ids[may], plan.flip_noise, seed=plan.split.seed, exact=plan.flip_exact)
    other = swapped_with(ids, frame["completions"].list.len().to_numpy(), seed=plan.split.seed)
    completions = frame["completions"].to_list()
    for row in np.flatnonzero(turned):
        texts = completions[row]
        if len(texts) > 1:
            texts[0], texts[other[row]] = texts[other[row]], texts[0]
    return frame.with_columns(
        completions=pl.Series(completions, dtype=COLUMNS["completions"]),
        desirable=pl.col("desirable") ^ pl.Series(turned),
        flipped=pl.Series(turned),
    )
