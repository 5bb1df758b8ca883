"""The build report as one self-contained page: small tables, SVG histograms, everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from data_prep.files import replacing
from data_prep.html import document, notes, table
from data_prep.records import PARTS

_COLOURS = {"train": "#4878a8", "valid": "#e0a030", "test": "#b04a4a", "none": "#999"}


def write_page(report: Mapping, path: Path) -> None:
    """Render ``report`` (the dictionary of ``report.json``) to ``path``."""
    with replacing(path) as partial:
        partial.write_text(render(report), encoding="utf-8")


def render(report: Mapping) -> str:
    """The page's HTML."""
    title = f"{report['dataset']}: build report"
    return document(title, _sections(report, title))


def _sections(report: Mapping, title: str) -> Iterable[str]:
    yield f"<h1>{escape(title)}</h1>"
    yield notes(report["notes"])
    roles = " and ".join(report["roles"])
    yield f"<p>Family <b>{escape(report['family'])}</b>, roles of the molecules: {escape(roles)}.</p>"
    rows, merged = report["rows"], report["merged"]
    yield table(
        ("step", "rows"),
        [
            ("read", rows["read"]),
            ("without a value", rows["without_value"]),
            ("rejected", rows["rejected"]["count"]),
            ("merged into an equal pair", merged["duplicate_rows"]),
            (
                f"with conflicting labels ({merged['conflict_pairs']} pairs, {merged['conflicts']})",
                merged["conflict_rows"],
            ),
            ("pairs written", report["pairs"]),
        ],
    )
    yield _rejected(rows["rejected"]["by_reason"])
    yield _split(report)
    yield _excluded(report["excluded_tests"])
    yield _labels(report["labels"])
    for name in ("queries", "classes"):
        if name in report:
            yield f"<h2>{name.capitalize()}</h2>" + table(("what", "count"), list(_flat(report[name])))
    yield _leaks(report["leakage"])
    yield _similarity(report["leakage"]["train-test"]["nearest"])
    yield "<h2>Molecules</h2>" + table(("what", "count"), list(_flat(report["molecules"])))
    yield "<h2>Property texts</h2>" + table(("what", "count"), list(_flat(report["property_text"])))
    sources = [
        (
            source["name"],
            "looked up" if source["rows"] is None else source["rows"],
            source["encoding"],
            _verified(source["verified"]),
            source["sha256"][:16],
        )
        for source in report["sources"]
    ]
    yield "<h2>Sources</h2>" + table(("file", "rows", "encoding", "checksum", "sha256"), sources)
    yield "<h2>Versions</h2>" + table(("what", "version"), list(report["versions"].items()))


def _verified(state: bool | None) -> str:
    return {True: "as published", False: "DIFFERS from the published file", None: "not published"}[state]


def _rejected(by_reason: Mapping) -> str:
    if not by_reason:
        return ""
    rows = [
        (kind, entry["count"], example["source"], example["row"], example["value"], example["reason"])
        for kind, entry in by_reason.items()
        for example in entry["examples"]
    ]
    return "<h2>Rejected rows</h2>" + table(("kind", "count", "source", "row", "value", "reason"), rows)


def _split(report: Mapping) -> str:
    split = report["split"]
    shares = ", ".join(f"{share:g}" for share in split["fractions"]) if split["fractions"] else "as given"
    how = f"<p>Method <b>{escape(split['method'])}</b>, seed {split['seed']}, shares {shares}, "
    how += f"manifest <code>{split['sha256'][:16]}</code>.</p>"
    sizes = [(part, split["rows"][part], pairs) for part, pairs in split["sizes"].items()]
    return "<h2>Split</h2>" + how + table(("part", "rows", "pairs left by merging"), sizes)


def _excluded(entries: Sequence[Mapping]) -> str:
    """Other builds whose test pairs were taken out of train and valid."""
    if not entries:
        return ""
    header = ("build", "data set", "test pairs", "taken from train", "taken from valid")
    rows = [
        tuple(one[key] for key in ("folder", "dataset", "test_pairs", "train", "valid")) for one in entries
    ]
    return "<h2>Test pairs of other sets, set aside</h2>" + table(header, rows)


def _labels(labels: Mapping) -> str:
    blocks = ["<h2>Labels</h2>"]
    for name, parts in labels.items():
        blocks.append(f"<h3>{escape(name)}</h3>")
        if all("mean" in stats for stats in parts.values()):
            keys = ("rows", "mean", "sd", "min", "max")
            blocks.append(
                table(
                    ("part", *keys), [(part, *(stats[key] for key in keys)) for part, stats in parts.items()]
                )
            )
            blocks += [_histogram(part, stats["histogram"]) for part, stats in parts.items()]
        elif all("words" in stats for stats in parts.values()):
            blocks.append(table(("what", "count"), list(_flat(parts))))
        else:
            classes = sorted({one for stats in parts.values() for one in stats["classes"]}, key=int)
            counts = [(one, *(stats["classes"].get(one, 0) for stats in parts.values())) for one in classes]
            blocks.append(table(("class", *parts), counts))
    return "".join(blocks)


def _histogram(part: str, histogram: Mapping, title: str = "") -> str:
    counts = histogram["counts"]
    tallest = max(counts) or 1
    heights = [70 * count / tallest for count in counts]
    bars = "".join(
        f'<rect x="{8 * place}" y="{70 - height:.1f}" width="7" height="{height:.1f}"/>'
        for place, height in enumerate(heights)
    )
    svg = f'<svg width="{8 * len(counts)}" height="70" fill="{_COLOURS[part]}" role="img">{bars}</svg>'
    caption = f"{title or part}: {histogram['low']:.2f} to {histogram['high']:.2f}"
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _leaks(leakage: Mapping) -> str:
    rows = []
    for parts, shared in leakage.items():
        known = shared["rows_with_known"]
        molecules = ", ".join(f"{count} ({role})" for role, count in shared["molecules"].items())
        later = f"{known['a']} / {known['b']} / {known['both']} of {known['of']}"
        scaffolds = ", ".join(f"{count} ({role})" for role, count in shared["scaffolds"].items())
        rows.append((parts, shared["pairs"], molecules, scaffolds, later))
    header = (
        "parts",
        "shared pairs",
        "shared molecules",
        "shared scaffolds",
        "rows of the later part with known a / b / both",
    )
    return f"<h2>Overlap of {', '.join(PARTS)}</h2>" + table(header, rows)


def _similarity(nearest: Mapping) -> str:
    """Test molecules by their similarity to the nearest train molecule."""
    there = {role: summary for role, summary in nearest.items() if summary}
    if not there:
        return ""
    rows = [
        (role, *("none" if value is None else value for key, value in summary.items() if key != "histogram"))
        for role, summary in there.items()
    ]
    names = [key.replace("_", " ") for key in next(iter(there.values())) if key != "histogram"]
    intro = "<p>Largest Tanimoto coefficient (Morgan, radius 2) of each test molecule to one of train.</p>"
    figures = [_histogram("test", summary["histogram"], f"{role}, test") for role, summary in there.items()]
    return "<h2>Similarity of test to train</h2>" + intro + table(("role", *names), rows) + "".join(figures)


def _flat(values: Mapping, prefix: str = "") -> Iterable[tuple[str, object]]:
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, list):
            if value:
                yield (
                    name,
                    "; ".join(
                        " = ".join(map(str, one)) if isinstance(one, list) else str(one) for one in value
                    ),
                )
        else:
            yield name, value
