"""Raw rows -> distinct pairs of molecules: keys, merged duplicates, label conflicts, sampled negatives.

Binary interactions follow the protocol of CGIB and CMRL (Lee et al., ICML 2023 and KDD 2023): unordered keys,
negatives drawn one to one from the pairs that are not known to interact. Pairs published with both labels are
dropped here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from data_prep.errors import DataError, Reject
from data_prep.molecules import Featurised, MoleculeTable
from data_prep.records import NO_MOLECULE, FamilyShape

SAMPLED = "(sampled negative)"


def attach_molecules(
    frame: pl.DataFrame, strings: list[str], featurised: Featurised, family: FamilyShape
) -> tuple[pl.DataFrame, list[Reject]]:
    """Replace the SMILES columns by rows of the molecule table; rows with a rejected molecule are listed.

    ``strings`` are the distinct SMILES that ``featurised`` was made from. Families of one molecule have
    :data:`~data_prep.records.NO_MOLECULE` as molecule b.
    """
    row_of = pl.DataFrame(
        {"smiles": pl.Series(strings, dtype=pl.String), "mol": featurised.row_of.astype(np.int32)}
    )
    sides = "a" if family.single else "ab"
    joined = frame.with_columns(mol_b=pl.lit(NO_MOLECULE, pl.Int32)) if family.single else frame
    for side in sides:
        renamed = row_of.rename({"smiles": f"smiles_{side}", "mol": f"mol_{side}"})
        joined = joined.join(renamed, on=f"smiles_{side}", how="left", maintain_order="left")
    unknown = pl.any_horizontal(pl.col(f"mol_{side}") < 0 for side in sides)
    why = {reject.value: reject for reject in featurised.rejects}
    rejects = []
    for row in joined.filter(unknown).iter_rows(named=True):
        side = "a" if row["mol_a"] < 0 else "b"
        reject = why[row[f"smiles_{side}"]]
        rejects.append(reject._replace(row=row["source_row"], source=row["source"]))
    return joined.filter(~unknown).drop("smiles_a", "smiles_b"), rejects


def used_molecules(frame: pl.DataFrame, table: MoleculeTable) -> tuple[pl.DataFrame, MoleculeTable]:
    """Keep the molecules that pairs use, sorted by SMILES: the table does not depend on row order."""
    used = np.unique(frame.select("mol_a", "mol_b").to_numpy())
    used = used[used != NO_MOLECULE]
    used = used[np.argsort(table.smiles[used].astype(str), kind="stable")]
    new_row = np.full(len(table) + 1, NO_MOLECULE, np.int32)  # the last entry is that of NO_MOLECULE = -1
    new_row[used] = np.arange(len(used), dtype=np.int32)
    renumbered = {side: new_row[frame[side].to_numpy()] for side in ("mol_a", "mol_b")}
    return frame.with_columns(**{side: pl.Series(rows) for side, rows in renumbered.items()}), table.take(
        used
    )


def partnered(frame: pl.DataFrame) -> pl.DataFrame:
    """A molecule without a partner as its own partner, for rules and counts that look at two molecules."""
    alone = pl.col("mol_b") == NO_MOLECULE
    return frame.with_columns(mol_b=pl.when(alone).then("mol_a").otherwise("mol_b"))


@dataclass(frozen=True)
class Merged:
    """Distinct pairs and what happened on the way."""

    frame: pl.DataFrame  # raw columns with mol_a and mol_b for the SMILES; label_std, n_merged
    duplicate_rows: int = 0  # rows that were merged into another
    conflict_pairs: int = 0  # keys with both labels
    conflict_rows: int = 0
    conflict_keys: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int32))  # [conflicts, 2]


def order_pairs(frame: pl.DataFrame, family: FamilyShape) -> pl.DataFrame:
    """Symmetric pairs with the smaller molecule number first, so that their order carries no meaning."""
    if not family.symmetric:
        return frame
    return frame.with_columns(
        mol_a=pl.min_horizontal("mol_a", "mol_b"), mol_b=pl.max_horizontal("mol_a", "mol_b")
    )


def merge_rows(frame: pl.DataFrame, family: FamilyShape, *, merge: bool = True) -> Merged:
    """One row per pair, property, query and given split; numbers become their mean, with the sample sd kept.

    Binary pairs with both labels are dropped, in whichever splits the rows stand. A typed pair may have
    several types, a molecule several captions: each is a row of its own. With ``merge=False`` every row
    stays as it is and conflicts are only counted.
    """
    key = ["mol_a", "mol_b", "property", "query"]
    contradicted = pl.lit(False)
    if family.label == "binary":
        contradicted = pl.col("label").n_unique().over(key) > 1
    marked = frame.with_columns(
        label_std=pl.lit(None, pl.Float64), n_merged=pl.lit(1, pl.Int32), conflict=contradicted
    )
    conflicts = marked.filter("conflict")
    found = Merged(
        marked.drop("conflict"),
        conflict_pairs=len(conflicts.unique(key)),
        conflict_rows=len(conflicts),
        conflict_keys=conflicts.select("mol_a", "mol_b").unique(maintain_order=True).to_numpy(),
    )
    if not merge:
        return found
    consistent = marked.filter(~pl.col("conflict"))
    numbers = family.label in ("number", "binary")
    key += ["text"] if numbers else ["text", "label"]
    merged = consistent.group_by([*key, "split"], maintain_order=True).agg(
        *([pl.col("label").mean()] if numbers else []),
        label_std=pl.col("label").std(),
        n_merged=pl.len().cast(pl.Int32),
        unit=pl.col("unit").first(),
        source=pl.col("source").first(),
        source_row=pl.col("source_row").first(),
    )
    return replace(found, frame=merged, duplicate_rows=len(consistent) - len(merged))


def resample_negatives(merged: Merged, molecules: int, *, seed: int) -> Merged:
    """Replace the published negatives of a symmetric binary set by as many sampled ones as positives.

    Candidates are the unordered pairs of two different molecules, out of all ``molecules`` of the sources,
    that are no positive; pairs dropped for carrying both labels are no candidates. Memory: half of
    ``molecules`` squared bytes.
    """
    positives = merged.frame.filter(pl.col("label") == 1)
    known = np.concatenate([positives.select("mol_a", "mol_b").to_numpy(), merged.conflict_keys]).astype(
        np.int64
    )
    known = known[known[:, 0] != known[:, 1]]
    free = np.ones(molecules * (molecules - 1) // 2, dtype=bool)
    free[triangle_index(known[:, 0], known[:, 1], molecules)] = False
    candidates = np.flatnonzero(free)
    wanted = len(positives)
    if wanted > len(candidates):
        raise DataError(f"{wanted} negatives are wanted but only {len(candidates)} pairs are not positive.")
    chosen = np.sort(np.random.default_rng(seed).choice(candidates, wanted, replace=False))
    first, second = triangle_pair(chosen, molecules)
    filled = positives.clear(wanted).with_columns(
        mol_a=pl.Series(first, dtype=pl.Int32),
        mol_b=pl.Series(second, dtype=pl.Int32),
        property=pl.lit(positives["property"][0] if wanted else ""),
        label=pl.lit(0.0),
        n_merged=pl.lit(1, pl.Int32),
        source=pl.lit(SAMPLED),
        source_row=pl.lit(-1, pl.Int64),
    )
    return replace(merged, frame=pl.concat([positives, filled]))


def triangle_index(first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray:
    """Number of the pair first < second among all such pairs of ``size`` molecules, row by row."""
    low, high = np.minimum(first, second), np.maximum(first, second)
    return low * (2 * size - low - 1) // 2 + high - low - 1


def triangle_pair(index: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of :func:`triangle_index`."""
    row_starts = np.concatenate([[0], np.cumsum(np.arange(size - 1, 0, -1))])
    first = np.searchsorted(row_starts, index, side="right") - 1
    return first, index - row_starts[first] + first + 1
