"""A table of the user's (or a published one) whose columns are named by the caller."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from data_prep.errors import DataError, Reject
from data_prep.files import sha256_of
from data_prep.readers.dot_joined import split_dot_joined
from data_prep.readers.sentences import read_classes, without_sentence
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
from data_prep.tables import column_of, parse_numbers, read_table


@dataclass(frozen=True)
class PairColumnNames:
    """Where a table keeps what.

    ``a`` and ``b`` follow the family's roles (solute, solvent). ``dot_joined`` names a column
    ``solvent.solute`` that replaces both. ``query`` names the column with the side effect; ``property`` is
    what the labels of all rows are, where the family knows several.
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
    path: Path,
    names: PairColumnNames,
    family: FamilyShape,
    *,
    dataset: str,
    verified: bool | None = None,
    classes: Path | None = None,
) -> RawPairs:
    """Read one csv, tsv or parquet file by column name; rows with a bad cell become rejects.

    ``classes`` is a file of sentences for class families, see
    :func:`~data_prep.readers.sentences.read_classes`.
    """
    table = read_table(path)
    frame = table.frame
    cells = column_of(frame, names.label, path).to_list()
    labels = parse_labels(cells, family)
    rejects = label_rejects(cells, labels.problem, range(len(frame)), path.name)
    sentences = read_classes(classes) if classes else ()
    rejects += without_sentence(labels.values.tolist(), sentences, path.name)
    property = family.property_name(names.property)
    queries = _queries(frame, names, family, path)
    rejects += _unasked(queries or [], path)
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
        property=property,
        unit=UNITS.get(property),
        query=queries,
        source=path.name,
        split=column_of(frame, names.split, path).to_list() if names.split else None,
    )
    first_reason = list({reject.row: reject for reject in reversed(rejects)}.values())[::-1]
    sources = [SourceFile(path.name, sha256_of(path), len(frame), table.encoding, verified)]
    if classes:
        sources.append(SourceFile(classes.name, sha256_of(classes), None))
    kept = without(raw, first_reason)
    notes = _sign_note(cells, kept["source_row"].to_numpy(), path) if family.sign_label else []
    return RawPairs(family, dataset, kept, first_reason, sources, notes=notes, classes=sentences)


def _sign_note(cells: list[str | None], rows: np.ndarray, path: Path) -> list[str]:
    """How many labels are numbers whose sign was taken for yes or no."""
    values = parse_numbers(cells).values[rows]
    turned = int((~np.isin(values, (0.0, 1.0))).sum())
    if not turned:
        return []
    return [
        f"{turned:,} labels of {path.name} are neither 0 nor 1: positive ones count as yes, others as no."
    ]


def _unasked(asked: list[str], path: Path) -> list[Reject]:
    """Rows whose query is empty."""
    reason = "empty query: name the side effect or remove the row"
    return [Reject(row, text, "empty query", reason, path.name) for row, text in enumerate(asked) if not text]


def _queries(
    frame: pl.DataFrame, names: PairColumnNames, family: FamilyShape, path: Path
) -> list[str] | None:
    if family.asks != bool(names.query):
        wish = (
            "needs --query COLUMN: what each row asks" if family.asks else "has no query: leave --query out"
        )
        raise DataError(f"Family {family.name} {wish}.")
    if not names.query:
        return None
    return column_of(frame, names.query, path).fill_null("").str.strip_chars().to_list()
