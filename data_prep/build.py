"""One build: raw rows -> molecules -> distinct pairs -> split -> tables and report on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from data_prep.build_report import Outcome, build_report, reject_frame
from data_prep.cache import featurise_cached
from data_prep.errors import DataError, Reject
from data_prep.exclusion import exclude_tests
from data_prep.files import existing, replacing
from data_prep.molecules import MAX_ATOMS, MoleculeTable
from data_prep.pairs import (
    Merged,
    attach_molecules,
    merge_rows,
    order_pairs,
    partnered,
    resample_negatives,
    used_molecules,
)
from data_prep.properties import PropertyTexts
from data_prep.records import FamilyShape, RawPairs, TypedClass
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
    "query",
    "label",
    "text",
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
    exclude_tests: tuple[Path, ...] = ()  # builds whose test pairs must not train here
    cache: Path | None = None  # default: OUT/.cache
    workers: int | None = None
    max_atoms: int = MAX_ATOMS
    progress: bool = True


def build_pairs(raw: RawPairs, out: Path, options: BuildOptions | None = None) -> dict:
    """Write pairs, molecules, graphs, the rejected rows and the report (JSON and a page) to ``out``.

    Returns the report. Raises :class:`DataError` when no row is left, or the options do not fit the data.
    """
    options = options or BuildOptions()
    _check_split(raw, options.split)
    _check_negatives(raw, options)
    out = Path(out)
    tested = [(folder.name, *load_pairs(folder)) for folder in options.exclude_tests]
    strings = _strings(raw)
    featurised, reused = featurise_cached(
        strings,
        options.cache or out / ".cache",
        workers=options.workers,
        progress=options.progress,
        max_atoms=options.max_atoms,
    )
    filled = raw.frame.with_columns(pl.col("smiles_a", "smiles_b").fill_null(""))
    frame, bad_molecules = attach_molecules(filled, strings, featurised, raw.family)
    rejects = [*raw.rejects, *bad_molecules]
    if frame.is_empty():
        raise DataError(_nothing_left(rejects))
    frame, table = used_molecules(frame, featurised.table)
    frame, unused = _given_parts(frame, table, raw, options.split)
    merged = _distinct_pairs(frame, table, raw, options)
    pairs, table = used_molecules(merged.frame, table)
    pairs = _assign(pairs, table, raw.family, options.split)
    table, text_counts = _with_texts(table, raw, options.properties)
    pairs, excluded = exclude_tests(_finish(pairs, raw), table, raw.family, tested)
    report = build_report(
        raw, options.split, Outcome(pairs, table, rejects, merged, excluded, unused_assignments=unused)
    )
    report["property_text"] = text_counts
    report["cache"] = {"strings": len(strings), "reused": reused}
    _write(out, pairs, table, raw.classes, rejects, report)
    return report


def load_pairs(folder: Path, columns: Sequence[str] | None = None) -> tuple[pl.DataFrame, MoleculeTable]:
    """The pairs of a build and their molecules; files of different builds are a :class:`DataError`.

    The columns are :data:`COLUMNS`, or those asked for. ``mol_b`` is -1 in families of one molecule;
    ``query`` is null where the family asks the same of all rows, ``text`` where labels are numbers, ``label``
    where they are texts.
    """
    pairs, metadata = read_parquet(Path(folder) / "pairs.parquet", columns)
    table = MoleculeTable.load(Path(folder))
    if metadata.get("molecules_sha256") != table.sha256:
        raise DataError(
            f"{folder}: pairs.parquet and molecules.parquet are of different builds: build again."
        )
    return pairs, table


def load_classes(folder: Path) -> list[TypedClass]:
    """The sentences of a build's classes, entry i for class i; empty if it has none."""
    path = existing(Path(folder) / "pairs.parquet", mend="Run data-prep build or data-prep pairs first.")
    try:
        entries = json.loads(pl.read_parquet_metadata(path).get("classes", "[]"))
        return [TypedClass(entry["text"], entry["symmetric"]) for entry in entries]
    except (pl.exceptions.PolarsError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} has damaged classes ({error}): build it again.") from error


def _strings(raw: RawPairs) -> list[str]:
    """The distinct SMILES of the rows."""
    sides = [raw.frame["smiles_a"]] if raw.family.single else [raw.frame["smiles_a"], raw.frame["smiles_b"]]
    return pl.concat(sides).fill_null("").unique(maintain_order=True).to_list()


def _check_split(raw: RawPairs, plan: SplitPlan) -> None:
    if raw.family.single and plan.method in ("cold-1", "solvent"):
        raise DataError(
            f"Split {plan.method} needs two molecules in a row; for {raw.family.name} use random, cold-2 "
            "(molecules) or scaffold."
        )


def _check_negatives(raw: RawPairs, options: BuildOptions) -> None:
    if not options.resample_negatives:
        return
    if not (raw.family.symmetric and raw.family.label == "binary" and not raw.family.asks):
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


def _given_parts(
    frame: pl.DataFrame, table: MoleculeTable, raw: RawPairs, plan: SplitPlan
) -> tuple[pl.DataFrame, int]:
    """Rows with their part where the split is read, else null; entries of a stored split without a row."""
    unused = 0
    if plan.method == "file":
        parts, unused = stored_parts(plan, frame, table, raw.family)
    elif plan.given:
        parts = check_parts(frame["split"], f"{raw.dataset} column {plan.column or 'split'!r}")
    else:
        parts = pl.Series([None] * len(frame), dtype=pl.String)
    return frame.with_columns(split=parts), unused


def _distinct_pairs(
    frame: pl.DataFrame, table: MoleculeTable, raw: RawPairs, options: BuildOptions
) -> Merged:
    plan = options.split
    merged = merge_rows(order_pairs(frame, raw.family), raw.family, merge=plan.method != "published")
    return resample_negatives(merged, len(table), seed=plan.seed) if options.resample_negatives else merged


def _assign(pairs: pl.DataFrame, table: MoleculeTable, family: FamilyShape, plan: SplitPlan) -> pl.DataFrame:
    if plan.given:
        return pairs
    both = partnered(pairs)
    columns = PairColumns.of(
        both["mol_a"].to_numpy(),
        both["mol_b"].to_numpy(),
        table.scaffold.astype(str),
        same_roles=family.same_roles,
        classes=pairs["label"].to_numpy() if family.label in ("binary", "class") else None,
    )
    return pairs.with_columns(split=pl.Series(draw_split(plan, columns), dtype=pl.String))


def _with_texts(table: MoleculeTable, raw: RawPairs, path: Path | None) -> tuple[MoleculeTable, dict]:
    """Property texts: the user's, else those that came with the rows, else the computed ones."""
    supplied = PropertyTexts.from_csv(path) if path else PropertyTexts()
    came = np.array([raw.property_texts.get(smiles, "") for smiles in table.smiles], dtype=object)
    fallback = np.where(came == "", table.property_text, came)
    texts, counts = supplied.apply(table.smiles, table.keys, fallback)
    if raw.property_texts:
        carried = int(((texts == came) & (came != "")).sum())
        counts |= {"carried_over": carried, "computed": counts["computed"] - carried}
    return replace(table, property_text=texts), counts


def _finish(pairs: pl.DataFrame, raw: RawPairs) -> pl.DataFrame:
    """Columns of the contract, in its order."""
    width = max(6, len(str(len(pairs))))
    return pairs.with_columns(
        pair_id=pl.lit(f"{raw.dataset}-") + pl.int_range(len(pairs)).cast(pl.String).str.zfill(width),
        family=pl.lit(raw.family.name),
        dataset=pl.lit(raw.dataset),
        role_a=pl.lit(raw.family.role_a),
        role_b=pl.lit(raw.family.role_b or None, pl.String),
    ).select(COLUMNS)


def _write(
    out: Path,
    pairs: pl.DataFrame,
    table: MoleculeTable,
    classes: tuple[TypedClass, ...],
    rejects: list[Reject],
    report: dict,
) -> None:
    """Tables first, the report last: a folder with a report is whole."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").unlink(missing_ok=True)
    table.save(out)
    metadata = {"molecules_sha256": table.sha256}
    if classes:
        metadata["classes"] = json.dumps([asdict(one) for one in classes], ensure_ascii=False)
    write_parquet(pairs, out / "pairs.parquet", metadata=metadata)
    with replacing(out / "rejects.csv") as partial:
        reject_frame(rejects).write_csv(partial)
    write_page(report, out / "report.html")
    with replacing(out / "report.json") as partial:
        partial.write_text(
            json.dumps(report, indent=2, ensure_ascii=False, default=_plain) + "\n", encoding="utf-8"
        )


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} does not belong in a report")
