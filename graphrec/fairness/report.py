"""The fairness report of a recommender: ``report.json``, ``report.md``, curves and plots in one folder."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_prep.files import replacing
from graphrec.data import Manifest
from graphrec.fairness.calibration import Calibration
from graphrec.fairness.plots import gaps_plot, trade_off_plot
from graphrec.fairness.study import Arm, FairnessOptions, GroupStudy
from moltc.backbone.bootstrap import Metric

REPORT, PAGE = "report.json", "report.md"
COUNTING = {
    "full": "an item counts 1 in each of its groups",
    "fractional": "an item shares 1 among its groups",
}
TARGET_WORDS = {
    "history": "the groups' shares of the histories of the ranked rows",
    "history-once": "the groups' shares of the histories of the ranked rows, each item once in a row",
    "train": "the groups' shares of the training interactions",
    "catalogue": "the groups' shares of the catalogue",
    "uniform": "equal shares",
}


def check_place(folder: Path, manifest: Manifest) -> None:
    """Reports of other data are not overwritten.

    Raises:
        ValueError: the folder has one.
    """
    path = folder / REPORT
    if not path.is_file():
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    if before.get("hash") != manifest.hash:
        raise ValueError(
            f"{folder} has the report of other data ({before.get('data')}, {before.get('protocol')}); "
            "give --out for this one"
        )


@dataclass(frozen=True)
class FairnessReport:
    """What was studied, and what was found.

    Attributes:
        label: what the model is called.
        manifest: of the data.
        options: of the study.
        studies: by system of groups.
    """

    label: str
    manifest: Manifest
    options: FairnessOptions
    studies: Mapping[str, GroupStudy]

    def write(self, folder: Path) -> list[Path]:
        """Write everything; the paths written."""
        written = [folder / REPORT, folder / PAGE]
        with replacing(written[0]) as partial:
            partial.write_text(json.dumps(self.content(), indent=2) + "\n", encoding="utf-8")
        with replacing(written[1]) as partial:
            partial.write_text("\n".join(self._lines()) + "\n", encoding="utf-8")
        for name, study in self.studies.items():
            written += [self._curve(folder, name, study), *self._plots(folder, name, study)]
        return written

    def content(self) -> dict[str, Any]:
        """All figures, as plain values."""
        return {
            "model": self.label,
            "data": self.manifest.name,
            "protocol": self.manifest.protocol,
            "hash": self.manifest.hash,
            "filter_seen": self.manifest.filter_seen,
            "options": asdict(self.options),
            "groups": {name: _content(study) for name, study in self.studies.items()},
        }

    def _curve(self, folder: Path, name: str, study: GroupStudy) -> Path:
        path = folder / f"{_stem(name)}_curve.csv"
        columns, rows = curve_rows(study, self.options.ks)
        with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([columns, *rows])
        return path

    def _plots(self, folder: Path, name: str, study: GroupStudy) -> list[Path]:
        stem = _stem(name)
        said = f"{self.label} on {self.manifest.name}, {name}"
        written = [
            gaps_plot(folder / f"{stem}_gaps_{k}.png", study, k, title=f"{said}, lists of {k}")
            for k in self.options.ks
        ]
        options, path = self.options, folder / f"{stem}_trade_off.png"
        k = options.fairness_ks[-1]
        return [*written, trade_off_plot(path, study, k, options.accuracy_k, title=f"{said}, validation")]

    def _lines(self) -> Iterator[str]:
        options, manifest = self.options, self.manifest
        target = options.target if isinstance(options.target, str) else "given shares"
        yield f"# Fairness of {self.label} on {manifest.name} ({manifest.protocol})"
        yield ""
        yield f"Target: {TARGET_WORDS.get(target, target)}. Counting: {COUNTING[options.counting]}."
        yield ""
        yield "GU is a group's share of the lists minus its target, MGU the mean of its absolute values over"
        yield "groups, DGU its range. Intervals are percentiles"
        yield f"({options.bootstrap.level:.0%}) of {options.bootstrap.resamples} resamples of the test rows;"
        yield "resampling adds gaps of its own, so a MGU or DGU close to zero may lie below its interval."
        for name, study in self.studies.items():
            yield from ("", f"## {name}", "")
            if study.groups.without_group:
                yield f"{study.groups.without_group} items are in no group and count nowhere."
                yield ""
            yield from _arm_lines(study, options)
            yield from _calibration_lines(study)
            for k in options.ks:
                yield from ("", f"### Lists of {k}", "", *_group_lines(study, k))
            yield from ("", "### Trade-off on validation", "", *_curve_lines(study, options))


def curve_rows(study: GroupStudy, ks: Sequence[int]) -> tuple[list[str], list[list[float]]]:
    """The curve on validation as a table: its columns, and a row for each alpha."""
    columns = ["alpha", *(f"{kind}@{k}" for kind in ("MGU", "DGU", "NDCG", "HR") for k in ks)]
    rows = [
        [point.alpha, *(found[k] for found in (point.mgu, point.dgu, point.ndcg, point.hr) for k in ks)]
        for point in study.curve
    ]
    return columns, rows


def _stem(name: str) -> str:
    return re.sub(r"\W+", "_", name)


def _content(study: GroupStudy) -> dict[str, Any]:
    return {
        "names": list(study.groups.names),
        "sizes": study.groups.sizes.tolist(),
        "items_without_group": study.groups.without_group,
        "punishment": study.punishment.tolist(),
        "alpha": study.chosen.alpha,
        "validation_curve": [asdict(point) for point in study.curve],
        "calibration": _calibration_content(study.calibration),
        "decoding": _calibration_content(study.decoding),
        "arms": {name: _arm_content(arm) for name, arm in study.arms.items()},
    }


def _calibration_content(found: Calibration | None) -> dict[str, Any] | None:
    if found is None:
        return None
    names = ("tolerance", "largest_gap", "reached", "cost", "cost_before", "bound")
    return {name: getattr(found, name) for name in names}


def _arm_content(arm: Arm) -> dict[str, Any]:
    return {
        "ks": list(arm.unfairness.ks),
        "target": arm.unfairness.target.tolist(),
        "shares": arm.unfairness.shares.tolist(),
        "metrics": {name: metric._asdict() for name, metric in arm.metrics.items()},
        "changes": {name: metric._asdict() for name, metric in arm.changes.items()},
    }


def _arm_lines(study: GroupStudy, options: FairnessOptions) -> Iterator[str]:
    """Metrics of every arm, and their paired changes."""
    names = [f"{kind}@{k}" for kind in ("MGU", "DGU", "NDCG", "HR") for k in options.ks]
    heads = [
        f"reranked (alpha {study.chosen.alpha:g})" if name == "reranked" else name for name in study.arms
    ]
    changed = [name for name, arm in study.arms.items() if arm.changes]
    yield from _table_head(["metric", *heads, *(f"{name} - model" for name in changed)])
    for name in names:
        cells = [_shown(arm.metrics.get(name)) for arm in study.arms.values()]
        cells += [_shown(study.arms[arm].changes.get(name), sign="+") for arm in changed]
        yield _row([name, *cells])


def _calibration_lines(study: GroupStudy) -> Iterator[str]:
    whats = {
        "Calibrated lists of {size}": study.calibration,
        "Answers held to groups while they are written (decoded)": study.decoding,
    }
    for what, found in whats.items():
        if found is None:
            continue
        said = "reached" if found.reached else "NOT reached: these rows and lists are too few for it"
        yield ""
        yield (
            f"{what.format(size=found.lists.shape[1])}: the tolerance of {found.tolerance:g} is {said} "
            f"(largest gap {found.largest_gap:.4f}). Their mean cost of a place is {found.cost:.4f}, against "
            f"{found.cost_before:.4f} before; within the tolerance it cannot be below {found.bound:.4f}."
        )


def _group_lines(study: GroupStudy, k: int) -> Iterator[str]:
    arms = {name: arm for name, arm in study.arms.items() if k in arm.unfairness.ks}
    target = next(iter(arms.values())).unfairness.target
    yield from _table_head(["group", "items", "target", *(f"GU, {name}" for name in arms)])
    for number, group in enumerate(study.groups.names):
        cells = [_shown(arm.metrics[f"GU@{k} {group}"], sign="+") for arm in arms.values()]
        yield _row([group, str(study.groups.sizes[number]), f"{target[number]:.4f}", *cells])


def _curve_lines(study: GroupStudy, options: FairnessOptions) -> Iterator[str]:
    ks = options.ks
    yield from _table_head(["alpha", *(f"MGU@{k}" for k in ks), *(f"NDCG@{k}" for k in ks)])
    for point in study.curve:
        mark = f"**{point.alpha:g}**" if point.alpha == study.chosen.alpha else f"{point.alpha:g}"
        values = [*(point.mgu[k] for k in ks), *(point.ndcg[k] for k in ks)]
        yield _row([mark, *(f"{value:.4f}" for value in values)])


def _table_head(cells: Sequence[str]) -> Iterator[str]:
    yield _row(cells)
    yield _row(["---"] * len(cells))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _shown(metric: Metric | None, sign: str = "") -> str:
    if metric is None:
        return ""
    return f"{metric.value:{sign}.4f} ({metric.low:{sign}.4f} to {metric.high:{sign}.4f})"
