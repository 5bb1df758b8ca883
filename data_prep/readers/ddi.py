"""Binary drug-drug interactions in the layouts of MIRACLE (Wang et al., WWW 2021) and CASTER (Huang et al.,
AAAI 2020), read by column name.

The order of the two SMILES columns differs between MIRACLE's data sets, so positions are never used.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from data_prep.readers.columns import PairColumnNames, read_columns
from data_prep.records import FAMILIES, RawPairs

_CASTER_NOTE = (
    "Of CASTER's split of BIOSNAP only the test part is read. Train, valid and test parts drawn from it are "
    "not the published ones, and figures are not comparable."
)


def read_miracle(path: Path, *, dataset: str, verified: bool | None = None) -> RawPairs:
    """One file with columns ``smiles_1``, ``smiles_2`` and ``label`` (0 or 1)."""
    names = PairColumnNames(a="smiles_1", b="smiles_2", label="label")
    return read_columns(path, names, FAMILIES["ddi"], dataset=dataset, verified=verified)


def read_caster(path: Path, *, dataset: str, verified: bool | None = None) -> RawPairs:
    """One part of BIOSNAP: columns ``Drug1_SMILES``, ``Drug2_SMILES`` and ``label``.

    Its drug ids, DrugBank's and plain numbers in one column, are not read. The sampled negatives are kept as
    published; a note counts those that pair two drugs which occur in an interaction too.
    """
    names = PairColumnNames(a="Drug1_SMILES", b="Drug2_SMILES", label="label")
    raw = read_columns(path, names, FAMILIES["ddi"], dataset=dataset, verified=verified)
    return replace(raw, notes=[_CASTER_NOTE, _populations(raw.frame, path.name), *raw.notes])


def _populations(frame: pl.DataFrame, source: str) -> str:
    """How far the drugs of a pair tell its label, because negatives were drawn from other drugs."""
    sides = ("smiles_a", "smiles_b")
    positive, negative = frame.filter(pl.col("label") == 1), frame.filter(pl.col("label") == 0)
    interacting = pl.concat([positive[side] for side in sides]).unique().implode()
    both = negative.filter(pl.all_horizontal(pl.col(side).is_in(interacting) for side in sides))
    return (
        f"In {len(both):,} of {len(negative):,} pairs with label 0 in {source} both drugs also occur in a "
        "pair with label 1; in the others the drugs alone tell the label."
    )
