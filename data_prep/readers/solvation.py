"""Solvation free energies: FreeSolv's text file, CombiSolv's tables, SolvBERT's joined strings.

Published tables put the solvent first; here molecule a is the solute and molecule b the solvent. Values in
kcal/mol.
"""

from __future__ import annotations

from pathlib import Path

from data_prep.errors import Reject
from data_prep.files import existing, sha256_of
from data_prep.readers.columns import PairColumnNames, read_columns
from data_prep.records import FAMILIES, RawPairs, SourceFile, label_rejects, parse_labels, raw_frame, without
from data_prep.tables import read_text

SOLVATION = FAMILIES["solvation"]
WATER = "O"
_FREESOLV_FIELDS = 4  # id; SMILES; name; measured value; ... the rest is not read


def read_freesolv(path: Path, *, dataset: str, verified: bool | None = None) -> RawPairs:
    """FreeSolv ``database.txt`` (Mobley & Guthrie 2014): semicolons, ``#`` comment lines, water as solvent.

    A ``#`` inside a line is a triple bond.
    """
    text, encoding = read_text(existing(path, mend="It is FreeSolv's database.txt."))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rows = [[cell.strip() for cell in line.split(";")] for line in lines]
    short = [row for row, cells in enumerate(rows) if len(cells) < _FREESOLV_FIELDS]
    rejects = [
        Reject(row, lines[row], "short line", "fewer than four fields between semicolons", path.name)
        for row in short
    ]
    numbered = [(row, cells) for row, cells in enumerate(rows) if len(cells) >= _FREESOLV_FIELDS]
    values = [cells[3] for _, cells in numbered]
    labels = parse_labels(values, SOLVATION)
    frame = raw_frame(
        smiles_a=[cells[1] for _, cells in numbered],
        smiles_b=[WATER] * len(numbered),
        label=labels.values,
        property=str(SOLVATION.default_property),
        unit=SOLVATION.unit,
        source=path.name,
        source_row=[row for row, _ in numbered],
    )
    rejects += label_rejects(values, labels.problem, [row for row, _ in numbered], path.name)
    source = SourceFile(path.name, sha256_of(path), len(rows), encoding, verified)
    return RawPairs(SOLVATION, dataset, without(frame, rejects), rejects, [source])


def read_combisolv(path: Path, *, dataset: str, verified: bool | None = None) -> RawPairs:
    """CombiSolv-Exp (Vermeire & Green 2021) with named columns."""
    names = PairColumnNames(a="smiles_solute", b="smiles_solvent", label="dGsolv_avg")
    return read_columns(path, names, SOLVATION, dataset=dataset, verified=verified)


def read_combisolv_numbered(path: Path, *, dataset: str, verified: bool | None = None) -> RawPairs:
    """Subsets of CombiSolv-Exp with numbered columns: 0 solvent, 1 solute."""
    names = PairColumnNames(a="1", b="0", label="dGsolv_avg")
    return read_columns(path, names, SOLVATION, dataset=dataset, verified=verified)


def read_solvbert(path: Path, *, dataset: str, verified: bool | None = None) -> RawPairs:
    """SolvBERT's layout: column ``ssid`` is ``solvent.solute``, column ``dgsolv`` the value."""
    names = PairColumnNames(dot_joined="ssid", label="dgsolv")
    return read_columns(path, names, SOLVATION, dataset=dataset, verified=verified)
