"""Featurised molecules kept between builds: a molecule table and the strings that led to its rows.

The folder's name holds everything the rows depend on (features, RDKit, atom limit), so an old cache is never
mixed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from rdkit import rdBase

from data_prep.errors import DataError
from data_prep.graphs import FEATURE_VERSION
from data_prep.molecules import MAX_ATOMS, Featurised, MoleculeTable, featurise, merge_tables
from data_prep.tables import read_parquet, write_parquet


def featurise_cached(
    smiles: Sequence[str],
    folder: Path,
    *,
    workers: int | None = None,
    progress: bool = True,
    max_atoms: int = MAX_ATOMS,
) -> tuple[Featurised, int]:
    """:func:`~data_prep.molecules.featurise` that parses only strings ``folder`` does not know yet.

    Returns the result and how many of the distinct strings came from the cache. A damaged cache is made anew.
    """
    place = folder / f"{FEATURE_VERSION}-rdkit{rdBase.rdkitVersion}-atoms{max_atoms}"
    known, table = _load(place)
    fresh = [text for text in dict.fromkeys(smiles) if text not in known]
    result = featurise(fresh, workers=workers, progress=progress, max_atoms=max_atoms)
    reused = len(set(smiles)) - len(fresh)
    if table is not None:
        whole, rows = merge_tables([table, result.table])
        known = {text: int(rows[row]) for text, row in known.items()}
        fresh_rows = rows[len(table) :]
    else:
        whole, fresh_rows = result.table, np.arange(len(result.table))
    known |= {text: int(fresh_rows[row]) for text, row in zip(fresh, result.row_of, strict=True) if row >= 0}
    if fresh:
        _save(place, known, whole)
    row_of = np.array([known.get(text, -1) for text in smiles], dtype=np.int64)
    why = {reject.value: reject for reject in result.rejects}
    rejects = [why[smiles[row]]._replace(row=row) for row in np.flatnonzero(row_of < 0).tolist()]
    used = np.unique(row_of[row_of >= 0])
    return Featurised(
        whole.take(used), np.where(row_of < 0, -1, np.searchsorted(used, row_of)), rejects
    ), reused


def _load(place: Path) -> tuple[dict[str, int], MoleculeTable | None]:
    if not (place / "strings.parquet").exists():
        return {}, None
    try:
        strings, metadata = read_parquet(place / "strings.parquet")
        table = MoleculeTable.load(place)
    except DataError:
        return {}, None
    if metadata.get("molecules_sha256") != table.sha256:
        return {}, None
    return dict(zip(strings["string"], strings["row"], strict=True)), table


def _save(place: Path, known: dict[str, int], table: MoleculeTable) -> None:
    table.save(place)
    frame = pl.DataFrame(
        {"string": pl.Series(list(known), dtype=pl.String), "row": pl.Series(known.values(), dtype=pl.Int64)}
    )
    write_parquet(frame, place / "strings.parquet", metadata={"molecules_sha256": table.sha256})
