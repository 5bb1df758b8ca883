"""Binary drug-drug interactions in the layout of MIRACLE (Wang et al., WWW 2021), read by column name.

The order of the two SMILES columns differs between its data sets, so positions are never used.
"""

from __future__ import annotations

from pathlib import Path

from data_prep.readers.columns import PairColumnNames, read_columns
from data_prep.records import FAMILIES, RawPairs


def read_miracle(path: Path, *, dataset: str, verified: bool | None = None) -> RawPairs:
    """One file with columns ``smiles_1``, ``smiles_2`` and ``label`` (0 or 1)."""
    names = PairColumnNames(a="smiles_1", b="smiles_2", label="label")
    return read_columns(path, names, FAMILIES["ddi"], dataset=dataset, verified=verified)
