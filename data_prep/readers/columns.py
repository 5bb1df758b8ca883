"""A table of the user's (or a published one) whose columns are named by the caller."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_prep.errors import DataError, Reject
from data_prep.files import sha256_of
from data_prep.readers.dot_joined import split_dot_joined
from data_prep.records import (
    UNITS,
    FamilyShape,
    RawPairs,
    SourceFile,
    label_rejects,
    parse_labels,
    raw_frame,
    without,
)
from data_prep.tables import column_of, read_table


@dataclass(frozen=True)
class PairColumnNames:
    """Where a table keeps what.

    ``a`` and ``b`` follow the family's roles (solute, solvent). ``dot_joined`` names a column
    ``solvent.solute`` that replaces both. ``query`` names the column with the side effect; ``property`` is
    one name for all rows.
    """

    label: str
    a: str | None = None
    b: str | None = None
    dot_joined: str | None = None
    query: str | None = None
    property: str | None = None
    split: str | None = None

    def __post_init__(self) -> None:
        if (self.dot_joined is None) == (self.a is None or self.b is None):
            raise DataError("Name either both molecule columns (--a and --b) or one --dot-joined column.")


def read_columns(
    path: Path, names: PairColumnNames, family: FamilyShape, *, dataset: str, verified: bool | None = None
) -> RawPairs:
    """Read one csv, tsv or parquet file by column name; rows with a bad cell become rejects."""
    table = read_table(path)
    frame = table.frame
    cells = column_of(frame, names.label, path).to_list()
    labels = parse_labels(cells, family)
    rejects = label_rejects(cells, labels.problem, range(len(frame)), path.name)
    asked, unit = _property(frame, names, family, path)
    rejects += _unasked(asked, path)
    if names.dot_joined:
        joined = column_of(frame, names.dot_joined, path).fill_null("").to_list()
        smiles_b, smiles_a, trouble = split_dot_joined(joined)
        rejects += [Reject(row, joined[row], "joined SMILES", why, path.name) for row, why in trouble.items()]
    else:
        smiles_a, smiles_b = (column_of(frame, str(side), path).to_list() for side in (names.a, names.b))
    raw = raw_frame(
        smiles_a=smiles_a,
        smiles_b=smiles_b,
        label=labels.values,
        property=asked,
        unit=unit,
        source=path.name,
        split=column_of(frame, names.split, path).to_list() if names.split else None,
    )
    first_reason = list({reject.row: reject for reject in reversed(rejects)}.values())[::-1]
    source = SourceFile(path.name, sha256_of(path), len(frame), table.encoding, verified)
    return RawPairs(family, dataset, without(raw, first_reason), first_reason, [source])


def _unasked(asked: str | list[str], path: Path) -> list[Reject]:
    """Rows whose query is empty."""
    if isinstance(asked, str):
        return []
    reason = "empty query: name the side effect or remove the row"
    return [Reject(row, text, "empty query", reason, path.name) for row, text in enumerate(asked) if not text]


def _property(
    frame: pl.DataFrame, names: PairColumnNames, family: FamilyShape, path: Path
) -> tuple[str | list[str], str | None]:
    if names.query:
        if names.property:
            raise DataError("Give either one --property for all rows or a --query column, not both.")
        return column_of(frame, names.query, path).fill_null("").str.strip_chars().to_list(), None
    name = names.property or family.default_property
    if name is None:
        how = "--query COLUMN" if family.sign_label else f"--property, for example {list(UNITS)[1]!r}"
        raise DataError(f"Family {family.name} needs to know what is asked: give {how}.")
    return name, UNITS.get(name, family.unit)
