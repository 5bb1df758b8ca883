"""The shapes of molecular data: what a family's rows look like, and the raw rows that readers return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl

from data_prep.errors import DataError, Reject
from data_prep.tables import Numbers, parse_numbers

PARTS = ("train", "valid", "test")
UNUSED = "none"
NO_MOLECULE = -1  # molecule b of a family that speaks of one molecule

LabelKind = Literal["number", "binary", "class", "text"]


@dataclass(frozen=True)
class FamilyShape:
    """What tells the families apart as data.

    ``symmetric`` pairs carry no order: (a, b) and (b, a) are one pair. ``sign_label`` families give the
    binary label as a number whose sign decides (side effects: positive means the effect is reported).
    ``asks`` families have a query in every row (which side effect). Text families have no number to predict.
    ``properties`` are the choices of families without a default property.
    """

    name: str
    role_a: str
    role_b: str  # empty for families of one molecule
    label: LabelKind
    symmetric: bool
    default_property: str | None  # None: the caller must name it
    unit: str | None = None
    sign_label: bool = False
    asks: bool = False
    properties: tuple[str, ...] = ()

    def property_name(self, name: str | None = None) -> str:
        """What labels are of: ``name``, or the only one there is.

        Raises:
            DataError: the family has no property of that name, or several and none is named.
        """
        only = self.default_property
        if only is not None:
            if name not in (None, only):
                raise DataError(f"Family {self.name} has one property, {only!r}: leave --property out.")
            return only
        known = ", ".join(self.properties)
        if name is None:
            raise DataError(
                f"Family {self.name} needs to know what is asked: give --property, one of {known}."
            )
        if name not in self.properties:
            raise DataError(f"Family {self.name} has no property {name!r}; choose from {known}.")
        return name

    @property
    def same_roles(self) -> bool:
        """Both molecules come from one population (two drugs), or there is one molecule only."""
        return self.single or self.role_a == self.role_b

    @property
    def single(self) -> bool:
        """Rows name one molecule; molecule b is then :data:`NO_MOLECULE`."""
        return not self.role_b

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of the molecules, in order."""
        return (self.role_a,) if self.single else (self.role_a, self.role_b)


@dataclass(frozen=True)
class TypedClass:
    """A class of a class family as a sentence.

    ``text`` has the literal slots ``{a}`` and ``{b}``, each at least once, for the first and the second
    molecule of the pair; ``symmetric`` says that it means the same with the molecules exchanged.
    """

    text: str
    symmetric: bool

    def __post_init__(self) -> None:
        for slot in ("{a}", "{b}"):
            if slot not in self.text:
                raise DataError(f"The sentence {self.text!r} lacks {slot}: put it where the molecule stands.")


OPTICAL = ("absorption", "emission", "lifetime")
MOLECULAR = ("log solubility", "lipophilicity")
FAMILIES = {
    shape.name: shape
    for shape in (
        FamilyShape("solvation", "solute", "solvent", "number", False, "solvation free energy", "kcal/mol"),
        FamilyShape("ddi", "drug", "drug", "binary", True, "interaction"),
        FamilyShape("typed-ddi", "drug", "drug", "class", False, "interaction type"),
        FamilyShape("side-effect", "drug", "drug", "binary", True, "side effect", sign_label=True, asks=True),
        FamilyShape("chromophore", "chromophore", "solvent", "number", False, None, properties=OPTICAL),
        FamilyShape("molecule-property", "drug", "", "number", False, None, properties=MOLECULAR),
        FamilyShape("molecule-class", "drug", "", "binary", False, "blood-brain barrier"),
        FamilyShape("caption", "drug", "", "text", False, "caption"),
        FamilyShape("description", "drug", "drug", "text", False, "description"),
    )
}
UNITS = {
    "solvation free energy": "kcal/mol",
    "absorption": "nm",
    "emission": "nm",
    "lifetime": "ns",
    "log solubility": "log10(mol/L)",
    "lipophilicity": "log D",
}


def family_shape(name: str) -> FamilyShape:
    """The shape of a family; the error lists the families there are."""
    if name not in FAMILIES:
        raise DataError(f"There is no family {name!r}; the families are {', '.join(FAMILIES)}.")
    return FAMILIES[name]


@dataclass(frozen=True)
class SourceFile:
    """A file that rows came from, or were completed from, for the report."""

    name: str
    sha256: str
    rows: int | None  # None: no data rows, things are looked up in it
    encoding: str = "utf-8"
    verified: bool | None = None  # None: there is no published checksum to compare with


@dataclass(frozen=True)
class RawPairs:
    """Rows as read, before any molecule is parsed.

    ``frame`` has the columns of :func:`raw_frame`; ``split`` is null where the source gives none.
    ``classes`` are the sentences of a class family, entry i for class i; empty where there are none.
    ``property_texts`` are texts about molecules that come with the rows, by canonical SMILES.
    ``unlabelled`` counts data rows without a value of the wanted kind: they are no rows of this set.
    """

    family: FamilyShape
    dataset: str
    frame: pl.DataFrame
    rejects: list[Reject]
    sources: list[SourceFile]
    computed: bool = False
    notes: list[str] = field(default_factory=list)
    classes: tuple[TypedClass, ...] = ()
    property_texts: Mapping[str, str] = field(default_factory=dict)
    unlabelled: int = 0

    @property
    def rows_read(self) -> int:
        """Data rows of the sources, kept or not."""
        return len(self.frame) + len(self.rejects) + self.unlabelled


def raw_frame(
    *,
    smiles_a: Sequence[str],
    smiles_b: Sequence[str] | None,
    label: Sequence[float] | np.ndarray | None,
    property: str,
    unit: str | None,
    source: str,
    query: Sequence[str] | None = None,
    text: Sequence[str] | None = None,
    split: Sequence[str | None] | str | None = None,
    source_row: Sequence[int] | np.ndarray | None = None,
) -> pl.DataFrame:
    """The frame of :class:`RawPairs`; scalars are repeated for every row, None gives a column of nulls.

    ``query`` is what each row asks about, ``text`` the text label of families that have one.
    """
    rows = len(smiles_a)
    return pl.DataFrame(
        {
            "smiles_a": pl.Series(smiles_a, dtype=pl.String),
            "smiles_b": pl.Series(_repeated(smiles_b, rows), dtype=pl.String),
            "label": pl.Series([None] * rows if label is None else label, dtype=pl.Float64),
            "property": pl.Series([property] * rows, dtype=pl.String),
            "query": pl.Series(_repeated(query, rows), dtype=pl.String),
            "text": pl.Series(_repeated(text, rows), dtype=pl.String),
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


def without(frame: pl.DataFrame, rejects: Sequence[Reject], *, also: Sequence[int] = ()) -> pl.DataFrame:
    """The rows of one source that are neither among ``rejects`` nor among the row numbers ``also``."""
    return frame.filter(~pl.col("source_row").is_in([*(reject.row for reject in rejects), *also]))
