"""Pairs that must not train because another data set tests on them.

Whoever trains on several sets would otherwise see answers of one set's test part in another's train part.
Pairs are compared by their molecules, whatever is asked about them, if both sets have the same roles: as
(solute, solvent), or as two drugs in any order.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from data_prep.errors import DataError
from data_prep.molecules import MoleculeTable
from data_prep.pairs import partnered
from data_prep.records import UNUSED, FamilyShape, family_shape


def exclude_tests(
    pairs: pl.DataFrame,
    table: MoleculeTable,
    family: FamilyShape,
    tests: Sequence[tuple[str, pl.DataFrame, MoleculeTable]],
) -> tuple[pl.DataFrame, list[dict]]:
    """Take the test pairs of other builds out of train and valid: their part becomes ``none``.

    Args:
        pairs: columns mol_a, mol_b (rows of ``table``) and split.
        tests: name, pairs and molecules of each other build.

    Returns:
        the pairs, and for each other build how many it tests on and how many were taken out of each part; a
        pair that several builds test on counts for each. ``compared`` is false where the roles differ, so
        that no pair can be in both.

    Raises:
        DataError: a build has no test pair.
    """
    own = _keys(pairs, table, family)
    learnt = pairs["split"].is_in(["train", "valid"])
    excluded = pl.repeat(False, len(pairs), eager=True)
    counts = []
    for name, other, molecules in tests:
        tested = other.filter(pl.col("split") == "test")
        if tested.is_empty():
            raise DataError(
                f"{name} has no test pairs to exclude: build it with a test part, or leave it out."
            )
        shape = family_shape(tested["family"][0])
        compared = shape.roles == family.roles
        keys = _keys(tested, molecules, shape).unique()
        shared = own.is_in(keys.implode()) & learnt & compared
        excluded = excluded | shared
        taken = pairs.filter(shared)["split"]
        counts.append(
            {
                "folder": name,
                "dataset": tested["dataset"][0],
                "test_pairs": len(keys),
                "compared": compared,
                "train": int((taken == "train").sum()),
                "valid": int((taken == "valid").sum()),
            }
        )
    parts = pl.when(excluded).then(pl.lit(UNUSED)).otherwise("split")
    return pairs.with_columns(split=parts), counts


def _keys(pairs: pl.DataFrame, table: MoleculeTable, family: FamilyShape) -> pl.Series:
    """The molecules of each pair as one text, in string order where both have one role."""
    both = partnered(pairs)
    first, second = (
        pl.Series(table.smiles[both[side].to_numpy()], dtype=pl.String) for side in ("mol_a", "mol_b")
    )
    smiles = pl.DataFrame({"first": first, "second": second})
    if family.same_roles:
        smiles = smiles.select(
            first=pl.min_horizontal("first", "second"), second=pl.max_horizontal("first", "second")
        )
    return smiles.select(key=pl.concat_str("first", "second", separator="\t"))["key"]
