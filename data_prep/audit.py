"""What a build did and what its splits share, as one nested dictionary of plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import polars as pl

from data_prep.errors import Reject
from data_prep.graphs import ATOM_COLUMNS, ATOM_DIMS, PackedGraphs
from data_prep.molecules import MoleculeTable
from data_prep.records import PARTS, UNUSED, FamilyShape
from data_prep.similarity import similarity_summary

EXAMPLES = 5
_BINS = 30


def reject_summary(rejects: Sequence[Reject]) -> dict:
    """Rejected rows by kind of reason, with the first examples of each."""
    kinds = Counter(reject.kind for reject in rejects)
    summary = {}
    for kind, count in kinds.most_common():
        first = [reject for reject in rejects if reject.kind == kind][:EXAMPLES]
        rows = [{"source": r.source, "row": r.row, "value": r.value[:120], "reason": r.reason} for r in first]
        summary[kind] = {"count": count, "examples": rows}
    return {"count": len(rejects), "by_reason": summary}


def label_summary(frame: pl.DataFrame, family: FamilyShape) -> dict:
    """Per property and part: rows and mean, sd, range of numbers, or rows of each class."""
    summary: dict[str, dict] = {}
    for (name,), of_property in frame.group_by(["property"], maintain_order=True):
        parts = {}
        for part in (*PARTS, UNUSED):
            labels = of_property.filter(pl.col("split") == part)["label"].to_numpy()
            if len(labels):
                parts[part] = _number_stats(labels) if family.label == "number" else _class_stats(labels)
        summary[str(name)] = parts
        if len(summary) == 20:  # side effects may have hundreds of properties; the totals stand beside
            break
    return summary


def _number_stats(labels: np.ndarray) -> dict:
    edges = np.histogram_bin_edges(labels, bins=_BINS)
    return {
        "rows": len(labels),
        "mean": float(labels.mean()),
        "sd": float(labels.std()),
        "min": float(labels.min()),
        "max": float(labels.max()),
        "histogram": {
            "low": float(edges[0]),
            "high": float(edges[-1]),
            "counts": np.histogram(labels, edges)[0].tolist(),
        },
    }


def _class_stats(labels: np.ndarray) -> dict:
    classes, counts = np.unique(labels.astype(np.int64), return_counts=True)
    by_class = {str(one): int(count) for one, count in zip(classes, counts, strict=True)}
    return {"rows": len(labels), "classes": by_class}


def split_sizes(frame: pl.DataFrame) -> dict[str, int]:
    """Rows of each part."""
    counts = Counter(frame["split"].to_list())
    return {part: counts.get(part, 0) for part in (*PARTS, UNUSED)}


def leakage(frame: pl.DataFrame, table: MoleculeTable, family: FamilyShape) -> dict:
    """What each two parts have in common: pairs, molecules (by role and in any role) and scaffolds.

    ``rows_with_known`` counts the rows of the later part whose molecule a, molecule b, or both occur, in that
    role, in the earlier part (for symmetric families in any role). ``nearest`` says, by role, how similar
    molecules of the test part are to the most similar one of the train part.
    """
    sides = {part: _Side(frame.filter(pl.col("split") == part), table, family) for part in PARTS}
    shared = {f"{one}-{other}": sides[one].shared_with(sides[other]) for one, other in combinations(PARTS, 2)}
    train, test = sides["train"].molecules, sides["test"].molecules
    shared["train-test"]["nearest"] = {
        role: similarity_summary(test[role], train[role], table.graphs.fingerprint) for role in test
    }
    return shared


class _Side:
    """The sets of one part: pairs, and by role (or in any) molecules and scaffolds."""

    def __init__(self, rows: pl.DataFrame, table: MoleculeTable, family: FamilyShape) -> None:
        self.a, self.b = rows["mol_a"].to_numpy(), rows["mol_b"].to_numpy()
        first, second = self.a, self.b
        if family.same_roles:
            first, second = np.minimum(self.a, self.b), np.maximum(self.a, self.b)
        self.pairs = np.unique(first.astype(np.int64) * (len(table) + 1) + second)
        self.molecules = {"any role": np.unique(np.concatenate([self.a, self.b]))}
        if not family.same_roles:
            self.molecules |= {family.role_a: np.unique(self.a), family.role_b: np.unique(self.b)}
        self.scaffolds = {role: set(table.scaffold[rows]) - {""} for role, rows in self.molecules.items()}
        self.known_a, self.known_b = (
            self.molecules["any role" if family.same_roles else role]
            for role in (family.role_a, family.role_b)
        )

    def shared_with(self, other: _Side) -> dict:
        """Counts of what ``other``, the later part, has in common with this one."""
        known_a, known_b = np.isin(other.a, self.known_a), np.isin(other.b, self.known_b)
        return {
            "pairs": len(np.intersect1d(self.pairs, other.pairs, assume_unique=True)),
            "molecules": {
                role: len(np.intersect1d(mine, other.molecules[role], assume_unique=True))
                for role, mine in self.molecules.items()
            },
            "scaffolds": {role: len(mine & other.scaffolds[role]) for role, mine in self.scaffolds.items()},
            "rows_with_known": {
                "a": int(known_a.sum()),
                "b": int(known_b.sum()),
                "both": int((known_a & known_b).sum()),
                "of": len(other.a),
            },
        }


def molecule_summary(table: MoleculeTable) -> dict:
    """Counts over the molecule table, InChIKey collisions and unusual atoms and bonds among them."""
    keys = Counter(table.keys)
    shared = [key for key, count in keys.items() if count > 1]
    examples = [list(table.smiles[table.keys == key]) for key in shared[:EXAMPLES]]
    return {
        "molecules": len(table),
        "several_fragments": int((table.num_fragments > 1).sum()),
        "no_bond": int((np.diff(table.graphs.edge_ptr) == 0).sum()),
        "acyclic": int((table.scaffold == "").sum()),
        "scaffolds": len(set(table.scaffold) - {""}),
        "atoms": _quantiles(table.num_atoms),
        "without_inchikey": sum(key.startswith("SMILES:") for key in keys),
        "inchikey_shared": {"keys": len(shared), "examples": examples},
        "unusual": unusual_features(table.graphs),
    }


def _quantiles(values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {}
    return {"min": int(values.min()), "median": float(np.median(values)), "max": int(values.max())}


def unusual_features(graphs: PackedGraphs) -> dict[str, int]:
    """Atoms and bonds outside the feature lists; the two-plus-two view replaces the first three."""
    counts = {
        "dummy atoms (*)": int((graphs.atoms[:, 0] == ATOM_DIMS[0] - 1).sum()),
        "chirality other than tetrahedral": int((graphs.atoms[:, 1] > 2).sum()),
        "bonds of another type": int((graphs.bonds[:, 0] == 4).sum()) // 2,
    }
    for column in (2, 3, 4, 5, 6):  # the last value of these columns means "outside the list"
        outside = int((graphs.atoms[:, column] == ATOM_DIMS[column] - 1).sum())
        counts[f"atoms with another {ATOM_COLUMNS[column]}"] = outside
    return counts
