"""What a build of preferences says of itself: report.json, a page of the same figures, the rejected rows."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import polars as pl

from data_prep.files import replacing
from data_prep.html import document, notes, table
from data_prep.preference_records import RejectedRow
from data_prep.preferences import TABLE, PreferencePlan, Preferences
from data_prep.records import PARTS, UNUSED
from data_prep.tables import write_parquet

EXAMPLES = 5  # rejected rows of a kind that the report shows; rejects.csv lists all


def write_preferences(
    found: Preferences, plan: PreferencePlan, out: Path, name: str, remarks: Sequence[str] = ()
) -> dict:
    """Write table, rejected rows, page and report to a folder, the report last: a folder with one is whole.

    Args:
        found, plan: what was read, and how.
        out: the folder; made where it does not exist.
        name: of the data set.
        remarks: notes that the report begins with.

    Returns:
        The report.
    """
    report = preference_report(found, plan, name, remarks)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").unlink(missing_ok=True)
    write_parquet(found.frame, out / TABLE)
    rejects = pl.DataFrame(found.rejected, schema=list(RejectedRow._fields), orient="row")
    with replacing(out / "rejects.csv") as partial:
        rejects.write_csv(partial)
    with replacing(out / "report.html") as partial:
        partial.write_text(render(report), encoding="utf-8")
    with replacing(out / "report.json") as partial:
        partial.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return report


def preference_report(
    found: Preferences, plan: PreferencePlan, name: str, remarks: Sequence[str] = ()
) -> dict:
    """All that ``report.json`` says, plain values only."""
    frame = found.frame
    report = {
        "dataset": name,
        "sources": [
            {"name": one.name, "rows": one.rows, "format": found.formats[one.name]}
            | {"verified": one.verified, "sha256": one.sha256}
            for one in found.sources
        ],
        "rows": {
            "read": sum(one.rows or 0 for one in found.sources),
            "rejected": rejected_summary(found.rejected),
        },
        "duplicates": found.duplicates,
        "examples": len(frame),
        "prompts": frame["prompt_group"].n_unique(),
        "kinds": _counts(frame["kind"]),
        "dialogues": int(frame["chat"].sum()),
        "desirable": int(frame["desirable"].sum()) if frame["desirable"].count() else None,
        "completions_of_an_example": _spread(frame["completions"].list.len()),
        "characters_of_prompts": _spread(frame["prompt"].str.len_chars()),
        "characters_of_completions": _spread(frame["completions"].explode().str.len_chars()),
        "split": {
            "method": plan.split.method,
            "seed": plan.split.seed,
            "fractions": list(plan.split.fractions) if plan.split.method == "random" else [],
            "column": plan.split.column,
            "sizes": _sizes(frame),
            "shared_prompts": _shared(frame),
            "sha256": _manifest(frame),
        },
        "flips": {
            "rate": plan.flip_noise,
            "exact": plan.flip_exact,
            "parts": list(plan.flip_parts) if plan.flip_noise else [],
            "flipped": _counts(frame.filter("flipped")["split"]),
        },
        "unused_fields": found.unused,
    }
    return report | {"notes": [*remarks, *_warnings(report)]}


def rejected_summary(rejected: Sequence[RejectedRow]) -> dict:
    """Rejected rows by kind, with the first of each."""
    kinds = Counter(row.kind for row in rejected)
    return {
        "count": len(rejected),
        "by_kind": {
            kind: {
                "count": count,
                "examples": [row._asdict() for row in rejected if row.kind == kind][:EXAMPLES],
            }
            for kind, count in kinds.most_common()
        },
    }


def _counts(values: pl.Series) -> dict[str, int]:
    return dict(sorted(values.value_counts().iter_rows()))


def _spread(values: pl.Series) -> dict[str, float]:
    quantiles = {"min": 0.0, "median": 0.5, "max": 1.0}
    return {name: float(values.quantile(q, "linear") or 0) for name, q in quantiles.items()}


def _sizes(frame: pl.DataFrame) -> dict[str, dict[str, int]]:
    parts = {part: frame.filter(pl.col("split") == part)["prompt_group"] for part in (*PARTS, UNUSED)}
    return {part: {"examples": len(one), "prompts": one.n_unique()} for part, one in parts.items()}


def _shared(frame: pl.DataFrame) -> dict[str, int]:
    """Prompts that stand in two parts; none where the split was drawn."""
    prompts = {part: set(frame.filter(pl.col("split") == part)["prompt_group"]) for part in PARTS}
    pairs = (("train", "valid"), ("train", "test"), ("valid", "test"))
    return {f"{first}-{second}": len(prompts[first] & prompts[second]) for first, second in pairs}


def _manifest(frame: pl.DataFrame) -> str:
    """SHA-256 over the part of every example, in whatever order they stand."""
    parts = frame.select("example_id", "split").sort("example_id")
    return hashlib.sha256("\n".join(f"{one} {part}" for one, part in parts.iter_rows()).encode()).hexdigest()


def _warnings(report: Mapping) -> list[str]:
    """What a reader of the report should not overlook."""
    split = report["split"]
    empty = [part for part in PARTS if not split["sizes"][part]["examples"]]
    found = [f"The split has no example in: {', '.join(empty)}."] if empty else []
    found += [
        f"{count:,} prompts stand in both {pair.replace('-', ' and ')}."
        for pair, count in split["shared_prompts"].items()
        if count
    ]
    if report["unused_fields"]:
        found.append(f"Fields that are not read: {', '.join(report['unused_fields'])}.")
    if report["desirable"] == report["examples"]:
        found.append("All examples are desirable: they can be imitated, but not compared.")
    changed = [one["name"] for one in report["sources"] if one["verified"] is False]
    return found + [f"{name} differs from the published file." for name in changed]


def render(report: Mapping) -> str:
    """The page's HTML."""
    title = f"{report['dataset']}: preferences"
    return document(title, _sections(report, title))


def _sections(report: Mapping, title: str) -> Iterable[str]:
    yield f"<h1>{escape(title)}</h1>"
    yield notes(report["notes"])
    rejected = report["rows"]["rejected"]
    steps = [
        ("rows read", report["rows"]["read"]),
        ("rows rejected", rejected["count"]),
        ("examples equal to an earlier one", report["duplicates"]),
        *((f"examples: {kind}", count) for kind, count in report["kinds"].items()),
        ("prompts", report["prompts"]),
        ("dialogues", report["dialogues"]),
    ]
    yield table(("what", "count"), steps)
    if rejected["count"]:
        yield "<h2>Rejected rows</h2>" + table(
            ("kind", "count", "source", "line", "reason"),
            [
                (kind, entry["count"], example["source"], example["line"], example["reason"])
                for kind, entry in rejected["by_kind"].items()
                for example in entry["examples"]
            ],
        )
    split, flipped = report["split"], report["flips"]["flipped"]
    yield f"<h2>Split</h2><p>Method {split['method']}, seed {split['seed']}.</p>"
    sizes = split["sizes"].items()
    yield table(
        ("part", "examples", "prompts", "turned round"),
        [(part, size["examples"], size["prompts"], flipped.get(part, 0)) for part, size in sizes],
    )
    yield "<h2>Lengths</h2>"
    names = ("completions_of_an_example", "characters_of_prompts", "characters_of_completions")
    yield table(
        ("what", "min", "median", "max"),
        [(name.replace("_", " "), *map(int, report[name].values())) for name in names],
    )
    yield "<h2>Sources</h2>" + table(
        ("file", "rows", "format", "sha256"),
        [(one["name"], one["rows"], one["format"], one["sha256"][:16]) for one in report["sources"]],
    )
