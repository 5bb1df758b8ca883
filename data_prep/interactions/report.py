"""What a build of a ranking task says of itself: sizes, drift, repeats, leaks, findings; as JSON and page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl

from data_prep.interactions.drift import drift, id_rules, leaks, repeats
from data_prep.interactions.findings import summary
from data_prep.interactions.task import RankingTask

MANY_ROWS = 1_000  # fewer test targets have favourites of their own by chance


def task_report(task: RankingTask) -> dict:
    """All that ``report.json`` says, plain values only."""
    parts = task.parts
    report = {
        "name": task.name,
        "protocol": task.protocol.name,
        "counts": counts(task),
        "lengths": {name: _spread(getattr(parts, name)) for name in ("train", "trainval")},
        "items_with": _known(task.items),
        "drift": drift(parts, task.num_items),
        "repeats": {"valid": repeats(parts.valid), "test": repeats(parts.test)},
        "leaks": leaks(parts),
        "ids": {"valid": id_rules(parts.valid, task.num_items), "test": id_rules(parts.test, task.num_items)},
        "ties": _ties(task),
        "findings": summary(task.findings),
        "sources": [
            {"file": one.name, "rows": one.rows, "encoding": one.encoding}
            | {"verified": one.verified, "sha256": one.sha256}
            for one in task.sources
        ],
    }
    return report | {"notes": [*task.notes, *_warnings(report)]}


def counts(task: RankingTask) -> dict:
    """Sizes of the parts."""
    parts = task.parts
    return {
        "items": task.num_items,
        "train": {"sequences": parts.train["sequence"].n_unique(), "interactions": len(parts.train)},
        "trainval": {"sequences": parts.trainval["sequence"].n_unique(), "interactions": len(parts.trainval)},
        "valid": {"rows": len(parts.valid), "sequences": parts.valid["sequence"].n_unique()},
        "test": {"rows": len(parts.test), "sequences": parts.test["sequence"].n_unique()},
        "rejected": int((~task.findings["kept"]).sum()),
    }


def _spread(interactions: pl.DataFrame) -> dict[str, float]:
    lengths = interactions.group_by("sequence").len()["len"]
    quantiles = {"min": 0.0, "median": 0.5, "max": 1.0}
    found = {name: float(lengths.quantile(share, "linear") or 0) for name, share in quantiles.items()}
    return found | {"mean": len(interactions) / max(len(lengths), 1)}


def _known(items: pl.DataFrame) -> dict[str, int]:
    """Of how many items the source gives a title, and a group of each kind."""
    found = {"title": int(items["title"].count())}
    for name in items.columns[3:]:
        found[name] = int((items[name].list.len().fill_null(0) > 0).sum())
    repeated = items["title"].drop_nulls()
    return found | {"title that another item has too": int(repeated.is_duplicated().sum())}


def _ties(task: RankingTask) -> dict[str, int] | None:
    """Test targets whose time is that of the interaction before them: their order is the source's."""
    parts = task.parts
    if "time" not in parts.test.columns:
        return None
    before = parts.trainval.group_by("sequence").agg(last=pl.col("time").last())
    tied = parts.test.join(before, on="sequence").filter(pl.col("time") == pl.col("last"))
    every = parts.trainval
    equal = (np.diff(every["time"].to_numpy()) == 0) & (np.diff(every["sequence"].to_numpy()) == 0)
    return {"test targets": len(tied), "fitted interactions": int(equal.sum())}


def _warnings(report: Mapping) -> list[str]:
    """What a reader of the report should not overlook."""
    found = []
    cold = report["drift"]["cold targets"]["test, not in train"]
    if cold["share"] > 0.05:
        found.append(
            f"{cold['share']:.1%} of the test targets never occur in the training part: no model fitted on "
            f"it alone can pass HR {1 - cold['share']:.3f}."
        )
    top = report["drift"]["popular targets"]["top 20"]
    enough = report["counts"]["test"]["rows"] >= MANY_ROWS
    if enough and top["of test"]["share"] > 3 * top["of train"]["share"]:
        found.append(
            f"Popularity has moved: the 20 items most frequent in train are {top['of train']['share']:.1%} "
            f"of the test targets, those most frequent in test {top['of test']['share']:.1%}."
        )
    empty = report["repeats"]["test"]["without history"]
    if empty["count"]:
        found.append(
            f"{empty['count']:,} test rows ({empty['share']:.1%}) have no history: report them apart."
        )
    again = report["repeats"]["test"]["target in history"]
    if again["share"] > 0.01:
        found.append(f"In {again['share']:.1%} of the test rows the target is an item of the history.")
    for name, value in report["ids"]["test"].items():
        best = max(value) if isinstance(value, list) else value
        if name == "next numbers, HR@10" and best > 0.02:
            found.append(f"The item numbers alone tell targets ({name} {best:.3f}): no model may see them.")
    ties = report["ties"]
    if ties and ties["test targets"]:
        found.append(f"{ties['test targets']:,} test targets have the time of the interaction before them.")
    titled = report["items_with"]["title"]
    if 0 < titled < report["counts"]["items"]:
        found.append(f"{report['counts']['items'] - titled:,} items have no title.")
    changed = [one["file"] for one in report["sources"] if one["verified"] is False]
    found += [f"{name} differs from the published file." for name in changed]
    if not report["counts"]["valid"]["rows"]:
        found.append("No validation rows: take settings and epochs from another variant of the protocol.")
    left_out = report["findings"]["left_out"]["count"]
    return found + (
        [f"{left_out:,} rows of the sources are left out; rejects.csv lists them."] if left_out else []
    )


def render(report: Mapping) -> str:
    """The page, as Markdown."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Mapping) -> Iterable[str]:
    yield f"# {report['name']}, protocol {report['protocol']}"
    if report["notes"]:
        yield ""
        yield from (f"- **{note}**" for note in report["notes"])
    for title, content in (
        ("Sizes", report["counts"]),
        ("Lengths of fitted sequences", report["lengths"]),
        ("Items with", report["items_with"]),
        ("Drift", report["drift"]),
        ("Repeats", report["repeats"]),
        ("Leaks", report["leaks"]),
        ("What item numbers give away", report["ids"]),
        ("Equal times", report["ties"] or {}),
    ):
        if content:
            yield from _section(title, content)
    yield from _findings(report["findings"])
    yield from ("", "## Sources", "", "| file | rows | sha256 |", "|---|--:|---|")
    for one in report["sources"]:
        rows = "" if one["rows"] is None else f"{one['rows']:,}"
        yield f"| {one['file']} | {rows} | `{one['sha256'][:16]}` |"


def _section(title: str, content: Mapping) -> Iterable[str]:
    yield from ("", f"## {title}", "", "| what | value |", "|---|--:|")
    for name, value in _flat(content):
        yield f"| {name} | {value} |"


def _flat(content: Mapping, above: str = "") -> Iterable[tuple[str, str]]:
    for name, value in content.items():
        full = f"{above}, {name}" if above else str(name)
        if isinstance(value, Mapping) and set(value) == {"count", "share"}:
            yield full, f"{value['count']:,} ({value['share']:.2%})"
        elif isinstance(value, Mapping):
            yield from _flat(value, full)
        elif isinstance(value, list):
            yield full, ", ".join(f"{one:.3f}" for one in value)
        elif isinstance(value, float):
            yield full, f"{value:.4g}"
        else:
            yield full, f"{value:,}" if isinstance(value, int) else str(value)


def _findings(found: Mapping) -> Iterable[str]:
    for name, title in (("left_out", "Rows left out"), ("changed", "Rows kept with a change")):
        if found[name]["count"]:
            yield from ("", f"## {title}", "", "| kind | count | first | why |", "|---|--:|---|---|")
        for kind, entry in found[name]["by_kind"].items():
            first = entry["examples"][0]
            value = first["value"].replace("|", "\\|")[:60]
            where = f"{first['source']} row {first['row']}: `{value}`"
            yield f"| {kind} | {entry['count']:,} | {where} | {first['reason']} |"
