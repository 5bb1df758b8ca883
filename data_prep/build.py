"""One build: raw rows -> molecules -> distinct pairs -> split -> tables and report on disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl

from data_prep import audit
from data_prep.cache import featurise_cached
from data_prep.errors import DataError, Reject
from data_prep.files import replacing
from data_prep.graphs import FEATURE_VERSION
from data_prep.molecules import MAX_ATOMS, MoleculeTable
from data_prep.pairs import (
    Merged,
    attach_molecules,
    merge_rows,
    order_pairs,
    resample_negatives,
    used_molecules,
)
from data_prep.properties import PropertyTexts
from data_prep.records import PARTS, FamilyShape, RawPairs
from data_prep.report_page import write_page
from data_prep.splits import PairColumns, SplitPlan, check_parts, draw_split
from data_prep.stored_splits import stored_parts
from data_prep.tables import read_parquet, write_parquet

COLUMNS = (
    "pair_id",
    "family",
    "dataset",
    "role_a",
    "role_b",
    "mol_a",
    "mol_b",
    "property",
    "label",
    "label_std",
    "n_merged",
    "unit",
    "split",
    "source",
    "source_row",
)


@dataclass(frozen=True)
class BuildOptions:
    """Choices of a build that do not depend on the data set."""

    split: SplitPlan = field(default_factory=SplitPlan)
    resample_negatives: bool = (
        False  # binary symmetric families: replace the given negatives by sampled ones, 1:1
    )
    properties: Path | None = None  # user's property texts, see PropertyTexts.from_csv
    cache: Path | None = None  # default: OUT/.cache
    workers: int | None = None
    max_atoms: int = MAX_ATOMS
    progress: bool = True


def build_pairs(raw: RawPairs, out: Path, options: BuildOptions | None = None) -> dict:
    """Write the pairs, the molecules, their graphs and the report (JSON and a page) to ``out``.

    Returns the report. Raises :class:`DataError` when no row is left, or the options do not fit the data.
    """
    options = options or BuildOptions()
    _check(raw, options)
    out = Path(out)
    strings = (
        pl.concat([raw.frame["smiles_a"], raw.frame["smiles_b"]])
        .fill_null("")
        .unique(maintain_order=True)
        .to_list()
    )
    featurised, reused = featurise_cached(
        strings,
        options.cache or out / ".cache",
        workers=options.workers,
        progress=options.progress,
        max_atoms=options.max_atoms,
    )
    filled = raw.frame.with_columns(pl.col("smiles_a", "smiles_b").fill_null(""))
    frame, bad_molecules = attach_molecules(filled, strings, featurised)
    rejects = [*raw.rejects, *bad_molecules]
    if frame.is_empty():
        raise DataError(_nothing_left(rejects))
    frame, table = used_molecules(frame, featurised.table)
    merged = _distinct_pairs(frame, table, raw, options)
    pairs, table = used_molecules(merged.frame, table)
    pairs = _assign(pairs, table, raw.family, options.split)
    table, text_counts = _with_texts(table, options.properties)
    pairs = _finish(pairs, raw)
    report = _report(raw, options, rejects, merged, pairs, table)
    report["property_text"] = text_counts
    report["cache"] = {"strings": len(strings), "reused": reused}
    _write(out, pairs, table, report)
    return report


def load_pairs(folder: Path) -> tuple[pl.DataFrame, MoleculeTable]:
    """The pairs of a build and their molecules; files of different builds are a :class:`DataError`."""
    pairs, metadata = read_parquet(Path(folder) / "pairs.parquet")
    table = MoleculeTable.load(Path(folder))
    if metadata.get("molecules_sha256") != table.sha256:
        raise DataError(
            f"{folder}: pairs.parquet and molecules.parquet are of different builds: build again."
        )
    return pairs, table


def _check(raw: RawPairs, options: BuildOptions) -> None:
    if not options.resample_negatives:
        return
    if not (raw.family.symmetric and raw.family.label == "binary" and raw.frame["property"].n_unique() <= 1):
        raise DataError(
            f"Negatives can only be resampled for one symmetric yes/no property, not for {raw.family.name}."
        )
    if options.split.given:
        raise DataError(
            "Sampled negatives have no place in a stored split. Build with a drawn split or --legacy-split, "
            "or pass a file that lists both labels to: data-prep pairs --input FILE --split COLUMN"
        )


def _nothing_left(rejects: list[Reject]) -> str:
    first = "; ".join(str(reject) for reject in rejects[:3])
    return (
        f"No row is left: {len(rejects)} were rejected. {first}"
        if rejects
        else "The source has no data rows."
    )


def _distinct_pairs(
    frame: pl.DataFrame, table: MoleculeTable, raw: RawPairs, options: BuildOptions
) -> Merged:
    plan = options.split
    if plan.method == "file":
        frame = frame.with_columns(split=stored_parts(plan, frame, table, raw.family))
    elif plan.given:
        frame = frame.with_columns(
            split=check_parts(frame["split"], f"{raw.dataset} column {plan.column or 'split'!r}")
        )
    else:
        frame = frame.with_columns(split=pl.lit(None, pl.String))
    merged = merge_rows(order_pairs(frame, raw.family), raw.family, merge=plan.method != "published")
    return resample_negatives(merged, len(table), seed=plan.seed) if options.resample_negatives else merged


def _assign(pairs: pl.DataFrame, table: MoleculeTable, family: FamilyShape, plan: SplitPlan) -> pl.DataFrame:
    if plan.given:
        return pairs
    columns = PairColumns.of(
        pairs["mol_a"].to_numpy(),
        pairs["mol_b"].to_numpy(),
        table.scaffold.astype(str),
        same_roles=family.same_roles,
        classes=None if family.label == "number" else pairs["label"].to_numpy(),
    )
    return pairs.with_columns(split=pl.Series(draw_split(plan, columns), dtype=pl.String))


def _with_texts(table: MoleculeTable, path: Path | None) -> tuple[MoleculeTable, dict]:
    supplied = PropertyTexts.from_csv(path) if path else PropertyTexts()
    texts, counts = supplied.apply(table.smiles, table.keys, table.property_text)
    return MoleculeTable(
        table.smiles, table.keys, table.scaffold, table.num_atoms, table.num_fragments, texts, table.graphs
    ), counts


def _finish(pairs: pl.DataFrame, raw: RawPairs) -> pl.DataFrame:
    """Columns of the contract, in its order."""
    width = max(6, len(str(len(pairs))))
    return pairs.with_columns(
        pair_id=pl.lit(f"{raw.dataset}-") + pl.int_range(len(pairs)).cast(pl.String).str.zfill(width),
        family=pl.lit(raw.family.name),
        dataset=pl.lit(raw.dataset),
        role_a=pl.lit(raw.family.role_a),
        role_b=pl.lit(raw.family.role_b),
    ).select(COLUMNS)


def _manifest(raw: RawPairs, pairs: pl.DataFrame, table: MoleculeTable) -> str:
    """SHA-256 over the sources and the part of every pair, whatever order the pairs stand in."""
    lines = pairs.select(
        line=pl.concat_str(
            pl.Series(table.smiles[pairs["mol_a"].to_numpy()], dtype=pl.String),
            pl.Series(table.smiles[pairs["mol_b"].to_numpy()], dtype=pl.String),
            pl.col("property"),
            pl.col("label").cast(pl.String),
            pl.col("split"),
            separator="\t",
        )
    )["line"].sort()
    digest = hashlib.sha256("\n".join(source.sha256 for source in raw.sources).encode())
    digest.update("\n".join(lines).encode())
    return digest.hexdigest()


def _report(
    raw: RawPairs,
    options: BuildOptions,
    rejects: list[Reject],
    merged: Merged,
    pairs: pl.DataFrame,
    table: MoleculeTable,
) -> dict:
    plan = options.split
    return {
        "dataset": raw.dataset,
        "family": raw.family.name,
        "roles": [raw.family.role_a, raw.family.role_b],
        "computed": raw.computed,
        "notes": [*raw.notes, *_warnings(raw, pairs)],
        "sources": [vars(source) for source in raw.sources],
        "rows": {"read": raw.rows_read, "rejected": audit.reject_summary(rejects)},
        "merged": {
            "duplicate_rows": merged.duplicate_rows,
            "conflict_pairs": merged.conflict_pairs,
            "conflict_rows": merged.conflict_rows,
            "conflicts": "kept" if plan.method == "published" else "dropped",
            "sampled_negatives": int((pairs["source_row"] < 0).sum()),
            "self_pairs": int((pairs["mol_a"] == pairs["mol_b"]).sum()),
        },
        "pairs": len(pairs),
        "molecules": audit.molecule_summary(table),
        "split": {
            "method": plan.method,
            "seed": plan.seed,
            "fractions": [] if plan.given else list(plan.fractions),
            "column": plan.column,
            "file": plan.file.name if plan.file else None,
            "sizes": audit.split_sizes(pairs),
            "sha256": _manifest(raw, pairs, table),
        },
        "labels": audit.label_summary(pairs, raw.family),
        "leakage": audit.leakage(pairs, table, raw.family),
        "versions": {"features": FEATURE_VERSION, "rdkit": version("rdkit"), "polars": version("polars")},
    }


def _warnings(raw: RawPairs, pairs: pl.DataFrame) -> list[str]:
    """What a reader of the report should not overlook."""
    sizes = audit.split_sizes(pairs)
    empty = [part for part in PARTS if not sizes[part]]
    notes = [f"The split has no pair in: {', '.join(empty)}."] if empty else []
    changed = [source.name for source in raw.sources if source.verified is False]
    return notes + [f"{name} differs from the published file." for name in changed]


def _write(out: Path, pairs: pl.DataFrame, table: MoleculeTable, report: dict) -> None:
    """Tables first, the report last: a folder with a report is whole."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").unlink(missing_ok=True)
    table.save(out)
    write_parquet(pairs, out / "pairs.parquet", metadata={"molecules_sha256": table.sha256})
    write_page(report, out / "report.html")
    with replacing(out / "report.json") as partial:
        partial.write_text(
            json.dumps(report, indent=2, ensure_ascii=False, default=_plain) + "\n", encoding="utf-8"
        )


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} does not belong in a report")
