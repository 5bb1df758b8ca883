"""The shapes of pair data: what a family's rows look like, and the raw rows that every reader returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl

from data_prep.errors import DataError, Reject
from data_prep.tables import Numbers, parse_numbers

PARTS = ("train", "valid", "test")
UNUSED = "none"

LabelKind = Literal["number", "binary", "class"]


@dataclass(frozen=True)
class FamilyShape:
    """What tells the families of pairs apart as data.

    ``symmetric`` pairs carry no order: (a, b) and (b, a) are one pair. ``sign_label`` families give the
    binary label as a number whose sign decides (side effects: positive means the effect is reported).
    """

    name: str
    role_a: str
    role_b: str
    label: LabelKind
    symmetric: bool
    default_property: str | None  # None: the caller must name it
    unit: str | None = None
    sign_label: bool = False

    @property
    def same_roles(self) -> bool:
        """Both molecules come from one population (two drugs)."""
        return self.role_a == self.role_b


FAMILIES = {
    shape.name: shape
    for shape in (
        FamilyShape("solvation", "solute", "solvent", "number", False, "solvation free energy", "kcal/mol"),
        FamilyShape("ddi", "drug", "drug", "binary", True, "interaction"),
        FamilyShape("typed-ddi", "drug", "drug", "class", False, "interaction type"),
        FamilyShape("side-effect", "drug", "drug", "binary", True, None, sign_label=True),
        FamilyShape("chromophore", "chromophore", "solvent", "number", False, None),
    )
}
UNITS = {
    "solvation free energy": "kcal/mol",
    "absorption": "nm",
    "emission": "nm",
    "lifetime": "ns",
}


def family_shape(name: str) -> FamilyShape:
    """The shape of a family; the error lists the families there are."""
    if name not in FAMILIES:
        raise DataError(f"There is no family {name!r}; the families are {', '.join(FAMILIES)}.")
    return FAMILIES[name]


@dataclass(frozen=True)
class SourceFile:
    """A file that rows came from, for the report."""

    name: str
    sha256: str
    rows: int
    encoding: str = "utf-8"
    verified: bool | None = None  # None: there is no published checksum to compare with


@dataclass(frozen=True)
class RawPairs:
    """Rows as read, before any molecule is parsed.

    ``frame`` has the columns smiles_a, smiles_b, label, property, unit, split, source, source_row; ``split``
    is null where the source gives none.
    """

    family: FamilyShape
    dataset: str
    frame: pl.DataFrame
    rejects: list[Reject]
    sources: list[SourceFile]
    computed: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def rows_read(self) -> int:
        """Data rows of the sources, kept or not."""
        return len(self.frame) + len(self.rejects)


def raw_frame(
    *,
    smiles_a: Sequence[str],
    smiles_b: Sequence[str],
    label: Sequence[float] | np.ndarray,
    property: str | Sequence[str],
    unit: str | None,
    source: str,
    split: Sequence[str | None] | str | None = None,
    source_row: Sequence[int] | np.ndarray | None = None,
) -> pl.DataFrame:
    """The frame of :class:`RawPairs`; scalars are repeated for every row."""
    rows = len(smiles_a)
    return pl.DataFrame(
        {
            "smiles_a": pl.Series(smiles_a, dtype=pl.String),
            "smiles_b": pl.Series(smiles_b, dtype=pl.String),
            "label": pl.Series(label, dtype=pl.Float64),
            "property": pl.Series(_repeated(property, rows), dtype=pl.String),
            "unit": pl.Series([unit] * rows, dtype=pl.String),
            "split": pl.Series(_repeated(split, rows), dtype=pl.String),
            "source": pl.Series([source] * rows, dtype=pl.String),
            "source_row": pl.Series(np.arange(rows) if source_row is None else source_row, dtype=pl.Int64),
        }
    )


def _repeated(value: str | Sequence[str | None] | None, rows: int) -> Sequence[str | None]:
    return [value] * rows if value is None or isinstance(value, str) else value


def parse_labels(cells: Sequence[str | None], family: FamilyShape) -> Numbers:
    """Label cells as numbers of the family's kind; one that does not fit is NaN and has a reason."""
    parsed = parse_numbers(cells)
    values, problem = parsed.values, parsed.problem
    if family.sign_label:
        values = np.where(np.isnan(values), np.nan, (values > 0).astype(float))
    elif family.label == "binary":
        _refuse(values, problem, ~np.isin(values, (0.0, 1.0)), "label is not 0 or 1")
    elif family.label == "class":
        _refuse(
            values,
            problem,
            (values < 0) | (values != np.floor(values)),
            "label is not a class number 0, 1, 2, ...",
        )
    return Numbers(values, problem)


def _refuse(values: np.ndarray, problem: list[str], bad: np.ndarray, reason: str) -> None:
    for row in np.flatnonzero(bad & ~np.isnan(values)):
        problem[row], values[row] = reason, np.nan


def label_rejects(
    cells: Sequence[str | None], problem: Sequence[str], rows: Sequence[int], source: str
) -> list[Reject]:
    """A reject for every cell with a problem; ``rows`` are the data rows of the cells."""
    return [
        Reject(row, cell or "", reason, f"{reason}: mend the cell or remove the row", source)
        for row, cell, reason in zip(rows, cells, problem, strict=True)
        if reason
    ]


def without(frame: pl.DataFrame, rejects: Sequence[Reject]) -> pl.DataFrame:
    """The rows of one source that are not among ``rejects``."""
    return frame.filter(~pl.col("source_row").is_in([reject.row for reject in rejects]))
