"""Random pairs of molecules, each to be described: what teaches a model to keep two molecules apart.

The texts are the property texts of the molecules, so the rows carry none of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_prep.build import load_pairs
from data_prep.errors import DataError
from data_prep.files import sha256_of
from data_prep.molecules import merge_tables
from data_prep.pairs import triangle_pair
from data_prep.records import FAMILIES, RawPairs, SourceFile, raw_frame

DESCRIPTION = FAMILIES["description"]
SOURCE = "(random pairs)"


def random_pairs(
    folders: Sequence[Path], count: int, *, seed: int, dataset: str = "descriptions"
) -> RawPairs:
    """``count`` different pairs of two different molecules of built folders, each pair in a random order.

    The first folder that holds a molecule gives its property text.

    Raises:
        DataError: a folder is no build, or its molecules form fewer pairs.
    """
    tables = [load_pairs(folder)[1] for folder in folders]
    table, _ = merge_tables(tables)
    possible = len(table) * (len(table) - 1) // 2
    if not 0 < count <= possible:
        raise DataError(
            f"{len(table)} molecules form {possible:,} pairs: --pairs must be 1 to that many, not {count:,}."
        )
    rng = np.random.default_rng(seed)
    first, second = triangle_pair(rng.choice(possible, count, replace=False), len(table))
    turned = rng.random(count) < 0.5
    frame = raw_frame(
        smiles_a=table.smiles[np.where(turned, second, first)].tolist(),
        smiles_b=table.smiles[np.where(turned, first, second)].tolist(),
        label=None,
        property=str(DESCRIPTION.default_property),
        unit=None,
        source=SOURCE,
    )
    sources = [
        SourceFile(f"{folder.name}/molecules.parquet", sha256_of(folder / "molecules.parquet"), len(one))
        for folder, one in zip(folders, tables, strict=True)
    ]
    note = f"{count:,} random pairs of the {len(table):,} molecules of {', '.join(f.name for f in folders)}."
    texts = dict(zip(table.smiles, table.property_text, strict=True))
    return RawPairs(DESCRIPTION, dataset, frame, [], sources, notes=[note], property_texts=texts)
