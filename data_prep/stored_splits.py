"""Assignments stored earlier: by row number of the source, or by the two molecules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from data_prep.errors import DataError, Reject
from data_prep.molecules import MoleculeTable, parse
from data_prep.records import UNUSED, FamilyShape
from data_prep.splits import SplitPlan, check_parts
from data_prep.tables import column_of, read_table


def stored_parts(
    plan: SplitPlan, frame: pl.DataFrame, table: MoleculeTable, family: FamilyShape
) -> tuple[pl.Series, int]:
    """Part of every row of ``frame`` (with mol_a, mol_b, source, source_row) by the file of ``plan``.

    The file names rows (column ``row``, 0-based data row of the single source file) or molecules (columns
    ``smiles_a`` and ``smiles_b``). Rows it does not name become ``none``. Also returns how many of the file's
    entries with a part name no row of ``frame``.
    """
    if plan.file is None or plan.column is None:
        raise DataError("A stored split needs both --split-file and --split-column.")
    stored = read_table(plan.file).frame
    parts = check_parts(column_of(stored, plan.column, plan.file), f"{plan.file} column {plan.column!r}")
    if "row" in stored.columns:
        return _by_row(stored["row"], parts, frame, plan.file)
    if {"smiles_a", "smiles_b"} <= set(stored.columns):
        return _by_pair(stored.with_columns(part=parts), frame, table, family, plan.file)
    raise DataError(f"{plan.file} needs a column row, or smiles_a and smiles_b, beside {plan.column!r}.")


def _by_row(cells: pl.Series, parts: pl.Series, frame: pl.DataFrame, path: Path) -> tuple[pl.Series, int]:
    if frame["source"].n_unique() > 1:
        raise DataError(
            f"{path} numbers rows, but the data come from several files; store smiles_a and smiles_b instead."
        )
    rows = cells.cast(pl.Int64, strict=False)
    if rows.null_count() or rows.n_unique() != len(rows):
        raise DataError(f"{path}: column row must hold each row number once.")
    assignment = pl.DataFrame({"source_row": rows, "part": parts})
    return _assigned(frame.select("source_row"), assignment, path)


def _by_pair(
    stored: pl.DataFrame, frame: pl.DataFrame, table: MoleculeTable, family: FamilyShape, path: Path
) -> tuple[pl.Series, int]:
    if family.single:
        raise DataError(
            f"{path} names pairs, but {family.name} has one molecule in a row; number rows instead."
        )
    row_of = {smiles: row for row, smiles in enumerate(table.smiles)}
    numbers = {
        text: _row_of(text, row_of, path) for text in set(stored["smiles_a"]) | set(stored["smiles_b"])
    }
    first = np.array([numbers[text] for text in stored["smiles_a"]])
    second = np.array([numbers[text] for text in stored["smiles_b"]])
    key = _pair_key(first, second, len(table), family)
    unknown = (first < 0) | (second < 0)
    key[unknown] = -1 - np.flatnonzero(unknown)  # matches no row and no other entry
    assignment = pl.DataFrame({"key": key, "part": stored["part"]})
    several = assignment.group_by("key").agg(pl.col("part").n_unique()).filter(pl.col("part") > 1)
    if len(several):
        raise DataError(f"{path} puts {len(several)} pairs in more than one part; each pair needs one.")
    own = pl.DataFrame(
        {"key": _pair_key(frame["mol_a"].to_numpy(), frame["mol_b"].to_numpy(), len(table), family)}
    )
    return _assigned(own, assignment.unique("key"), path)


def _row_of(text: str | None, row_of: dict[str, int], path: Path) -> int:
    """Row of the molecule table, -1 for a molecule that is not in the data."""
    if text in row_of:
        return row_of[text]
    mol = parse(text or "")
    if isinstance(mol, Reject):
        raise DataError(f"{path}: {text!r}: {mol.reason}")
    from rdkit import Chem

    return row_of.get(Chem.MolToSmiles(mol), -1)


def _pair_key(first: np.ndarray, second: np.ndarray, size: int, family: FamilyShape) -> np.ndarray:
    low, high = (
        (np.minimum(first, second), np.maximum(first, second)) if family.symmetric else (first, second)
    )
    return low.astype(np.int64) * (size + 1) + high


def _assigned(rows: pl.DataFrame, assignment: pl.DataFrame, path: Path) -> tuple[pl.Series, int]:
    """Parts of ``rows`` (one key column) and the number of entries with a part but without a row."""
    (key,) = rows.columns
    parts = rows.join(assignment, on=key, how="left", maintain_order="left")["part"]
    if len(parts) and parts.null_count() == len(parts):
        raise DataError(f"{path} names none of these rows; is it the split of another data set?")
    idle = assignment.filter(pl.col("part") != UNUSED).join(rows, on=key, how="anti")
    return parts.fill_null(UNUSED), len(idle)
