"""The report of a build, one nested dictionary of plain values, and the table of its rejected rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import polars as pl

from data_prep import audit
from data_prep.errors import Reject
from data_prep.graphs import FEATURE_VERSION
from data_prep.molecules import MoleculeTable
from data_prep.pairs import Merged, partnered
from data_prep.records import NO_MOLECULE, PARTS, UNUSED, RawPairs
from data_prep.splits import SplitPlan


@dataclass(frozen=True)
class Outcome:
    """What a build made of its raw rows."""

    pairs: pl.DataFrame  # the finished table
    table: MoleculeTable
    rejects: list[Reject]
    merged: Merged
    excluded: list[dict]  # see exclude_tests
    unused_assignments: int  # entries of a stored split that name no row of the build


def build_report(raw: RawPairs, plan: SplitPlan, outcome: Outcome) -> dict:
    """All that ``report.json`` says, except about property texts and the cache."""
    pairs, table, family = outcome.pairs, outcome.table, raw.family
    report = {
        "dataset": raw.dataset,
        "family": family.name,
        "roles": list(family.roles),
        "computed": raw.computed,
        "notes": [*raw.notes, *_warnings(raw, plan, outcome)],
        "sources": [vars(source) for source in raw.sources],
        "rows": {
            "read": raw.rows_read,
            "without_value": raw.unlabelled,
            "rejected": audit.reject_summary(outcome.rejects),
        },
        "merged": _merging(plan, outcome),
        "pairs": len(pairs),
        "molecules": audit.molecule_summary(table),
        "split": {
            "method": plan.method,
            "seed": plan.seed,
            "fractions": [] if plan.given else list(plan.fractions),
            "column": plan.column,
            "file": plan.file.name if plan.file else None,
            "unused_assignments": outcome.unused_assignments,
            "sizes": audit.split_sizes(pairs),
            "rows": _rows_of_parts(pairs),
            "sha256": _manifest(raw, pairs, table),
        },
        "excluded_tests": outcome.excluded,
        "labels": text_summary(pairs) if family.label == "text" else audit.label_summary(pairs, family),
        "leakage": audit.leakage(partnered(pairs), table, family),
        "versions": {"features": FEATURE_VERSION, "rdkit": version("rdkit"), "polars": version("polars")},
    }
    if family.label == "class":
        symmetric = sum(one.symmetric for one in raw.classes)
        report["classes"] = {"sentences": len(raw.classes), "symmetric": symmetric}
    if family.asks:
        report["queries"] = query_summary(pairs)
    return report


def reject_frame(rejects: Sequence[Reject]) -> pl.DataFrame:
    """Every rejected row: columns source, row, kind, value, reason."""
    columns = {
        "source": pl.String,
        "row": pl.Int64,
        "kind": pl.String,
        "value": pl.String,
        "reason": pl.String,
    }
    rows = [(one.source, one.row, one.kind, one.value, one.reason) for one in rejects]
    return pl.DataFrame(rows, schema=columns, orient="row")


def text_summary(pairs: pl.DataFrame) -> dict:
    """Per property and part: rows, and words of the text labels where the rows carry them."""
    words = pl.col("text").str.split(" ").list.len()
    summary: dict[str, dict] = {}
    for name in pairs["property"].unique(maintain_order=True):
        parts = {}
        for part in (*PARTS, UNUSED):
            rows = pairs.filter((pl.col("property") == name) & (pl.col("split") == part))
            if len(rows):
                counts = rows.filter(pl.col("text").is_not_null()).select(words=words)["words"]
                parts[part] = {"rows": len(rows), "words": _spread(counts.to_numpy())}
        summary[str(name)] = parts
    return summary


def query_summary(pairs: pl.DataFrame) -> dict:
    """How many different queries there are, and rows for each."""
    rows = pairs.group_by("query").len()["len"].to_numpy()
    return {"queries": len(rows), "rows_of_each": _spread(rows)}


def _spread(values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {}
    return {"min": int(values.min()), "median": float(np.median(values)), "max": int(values.max())}


def _merging(plan: SplitPlan, outcome: Outcome) -> dict:
    pairs, merged = outcome.pairs, outcome.merged
    return {
        "duplicate_rows": merged.duplicate_rows,
        "conflict_pairs": merged.conflict_pairs,
        "conflict_rows": merged.conflict_rows,
        "conflicts": "kept" if plan.method == "published" else "dropped",
        "sampled_negatives": int((pairs["source_row"] < 0).sum()),
        "self_pairs": int((pairs["mol_a"] == pairs["mol_b"]).sum()),
    }


def _rows_of_parts(pairs: pl.DataFrame) -> dict[str, int]:
    """Source rows behind the pairs of each part, before equal ones were merged."""
    rows = dict(pairs.group_by("split").agg(pl.col("n_merged").sum()).iter_rows())
    return {part: rows.get(part, 0) for part in (*PARTS, UNUSED)}


def _manifest(raw: RawPairs, pairs: pl.DataFrame, table: MoleculeTable) -> str:
    """SHA-256 over the sources and the part of every pair, whatever order the pairs stand in."""
    smiles = pl.Series([*table.smiles, None], dtype=pl.String)  # the last entry is that of NO_MOLECULE
    number = {side: pairs[side].replace(NO_MOLECULE, len(table)) for side in ("mol_a", "mol_b")}
    lines = pairs.select(
        line=pl.concat_str(
            smiles.gather(number["mol_a"]),
            smiles.gather(number["mol_b"]),
            pl.col("property", "query", "text"),
            pl.col("label").cast(pl.String),
            pl.col("split"),
            separator="\t",
            ignore_nulls=True,
        )
    )["line"].sort()
    digest = hashlib.sha256("\n".join(source.sha256 for source in raw.sources).encode())
    digest.update("\n".join(lines).encode())
    return digest.hexdigest()


def _warnings(raw: RawPairs, plan: SplitPlan, outcome: Outcome) -> list[str]:
    """What a reader of the report should not overlook."""
    sizes = audit.split_sizes(outcome.pairs)
    empty = [part for part in PARTS if not sizes[part]]
    notes = [f"The split has no pair in: {', '.join(empty)}."] if empty else []
    if outcome.unused_assignments and plan.file:
        notes.append(f"{outcome.unused_assignments:,} entries of {plan.file.name} name no row that was kept.")
    for entry in outcome.excluded:
        if entry["compared"]:
            taken = f"{entry['train']:,} of train and {entry['valid']:,} of valid are set aside"
            notes.append(f"Pairs that {entry['folder']} tests on: {taken}.")
        else:
            notes.append(f"{entry['folder']} has pairs of other roles: it shares no pair with this set.")
    if raw.family.label == "class" and not raw.classes:
        notes.append("The classes have no sentences; pass them with --classes, or no model can name a class.")
    changed = [source.name for source in raw.sources if source.verified is False]
    return notes + [f"{name} differs from the published file." for name in changed]
