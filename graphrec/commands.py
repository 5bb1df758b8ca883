"""The plain commands of ``graphrec``: validate, test, predict, recommend, compare, baselines."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from rich.console import Console
from rich.progress import track

from data_prep.files import replacing
from graphrec.comparison import compare
from graphrec.data import RecommendationData
from graphrec.recommender import Recommendation, Recommender
from graphrec.registry import model_class
from graphrec.results import RANKS, Evaluation, Split, check_catalogue, evaluate
from graphrec.tables import print_comparison, print_metrics
from graphrec.tuning import tune
from moltc.backbone.bootstrap import Bootstrap

ROWS_AT_ONCE = 1_000


def ranked(options: Namespace, split: Split) -> int:
    """``graphrec validate`` and ``graphrec test``: rank a split with a saved model."""
    model = Recommender.from_pretrained(options.model)
    data = RecommendationData.load(options.data)
    folder = Path(options.out) if options.out else Path(options.model).parent / split
    if not options.out and (folder / RANKS).is_file():
        _check_replaced(Evaluation.load(folder), folder, data, options.candidates_only)
    found = evaluate(model, data, split, label=options.label, candidates_only=options.candidates_only)
    print_metrics(found, found.save(folder, Bootstrap(seed=options.seed)))
    Console(highlight=False).print(f"ranks: {folder}", markup=False)
    return 0


def _check_replaced(there: Evaluation, folder: Path, data: RecommendationData, candidates_only: bool) -> None:
    """What is replaced must be of the same task, and hold no more than what comes."""
    if there.task.hash != data.manifest.hash:
        raise ValueError(f"{folder} holds results of another ranking task; say where with --out FOLDER")
    if candidates_only and there.ranks is not None:
        raise ValueError(
            f"{folder} holds ranks among the whole catalogue too, which would be lost: leave "
            "--candidates-only out, or say where with --out FOLDER"
        )


def predict(options: Namespace) -> int:
    """``graphrec predict``: the best items for every row of a split, as Parquet."""
    model = Recommender.from_pretrained(options.model)
    data = RecommendationData.load(options.data)
    check_catalogue(model, data)
    ids, histories = data.catalogue.item_ids, data.rows(options.split).histories
    rows = [[ids[number] for number in row] for row in histories.lists()]
    parts = [rows[first : first + ROWS_AT_ONCE] for first in range(0, len(rows), ROWS_AT_ONCE)]
    lists = [
        found
        for part in track(parts, description="recommending")
        for found in model.recommend(part, options.k, exclude_seen=not options.offer_seen)
    ]
    table = pl.DataFrame(
        {
            "row": range(len(lists)),
            "items": pl.Series([[r.item_id for r in found] for found in lists], dtype=pl.List(pl.String)),
            "scores": pl.Series([[r.score for r in found] for found in lists], dtype=pl.List(pl.Float64)),
        }
    )
    with replacing(Path(options.out)) as partial:
        table.write_parquet(partial)
    Console(highlight=False).print(f"{len(lists)} lists: {options.out}", markup=False)
    return 0


def recommend(options: Namespace) -> int:
    """``graphrec recommend``: the best items for one history, or for each line of a file."""
    model = Recommender.from_pretrained(options.model)
    histories = _histories(options.history, options.input)
    lists = model.recommend(
        histories,
        options.k,
        exclude_seen=not options.offer_seen,
        allow=options.allow,
        unknown="skip" if options.skip_unknown else "error",
    )
    if options.out:
        lines = [
            json.dumps({"history": h, "items": _plain(found)})
            for h, found in zip(histories, lists, strict=True)
        ]
        with replacing(Path(options.out)) as partial:
            partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
        Console(highlight=False).print(f"{len(lists)} lists: {options.out}", markup=False)
        return 0
    for found in lists:
        for place, entry in enumerate(found, 1):
            print(f"{place}\t{entry.item_id}\t{entry.title or ''}\t{entry.score:.4f}")
    return 0


def _plain(found: Sequence[Recommendation]) -> list[dict[str, Any]]:
    return [entry._asdict() for entry in found]


def _histories(given: Sequence[str] | None, path: str | None) -> list[list[str]]:
    """One history from the command line, or one from each line of a file: a JSON list of ids."""
    if bool(given) == (path is not None):
        raise ValueError("give a history (item ids, oldest first) or --input FILE, and not both")
    if given:
        return [list(given)]
    if not Path(str(path)).is_file():
        raise ValueError(f"{path} is not a file: give one with a JSON list of item ids in each line")
    histories = []
    for number, line in enumerate(Path(str(path)).read_text(encoding="utf-8").splitlines()):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} row {number}: {line[:60]!r} is no JSON list of item ids") from error
        if not isinstance(row, list):
            raise ValueError(f"{path} row {number}: {line[:60]!r} is no JSON list of item ids")
        histories.append([str(item) for item in row])
    return histories


def compared(options: Namespace) -> int:
    """``graphrec compare``: several runs on the same rows."""
    found = [Evaluation.load(Path(run)) for run in options.runs]
    sides = compare(found, join_seeds=options.join_seeds, bootstrap=Bootstrap(seed=options.seed))
    print_comparison(sides, _shown_metrics(found, options.metrics))
    return 0


def _shown_metrics(evaluations: Sequence[Evaluation], asked: list[str] | None) -> list[str]:
    """Those that were asked for, or the metric that decides and its companion."""
    if asked:
        for evaluation in evaluations:
            known = evaluation.columns
            if unknown := [name for name in asked if name not in known]:
                raise ValueError(
                    f"{evaluation.task.label} has no {', '.join(unknown)}; it has {'; '.join(known)}"
                )
        return asked
    metric = evaluations[0].task.metric
    if metric.startswith("HitRatio"):
        return [metric]
    length = metric.partition("@")[2]
    return [f"HR@{length}", f"NDCG@{length}"]


class Baseline(NamedTuple):
    """A simple model and what is tried of it."""

    label: str
    name: str
    grid: dict[str, Sequence[Any]]


WINDOWS = (1, 2, 3, 5, 10, 20)
SHARES = (0.5, 0.2, 0.1, 0.05)


def _baselines() -> Iterator[Baseline]:
    yield Baseline("popularity", "popularity", {})
    yield Baseline("popularity, last items", "popularity", {"last_items": WINDOWS})
    yield Baseline("popularity, latest sequences", "popularity", {"latest_share": SHARES})
    for name in ("last_item", "repeat_history", "item_knn", "cooccurrence", "vsknn", "ease"):
        yield Baseline(name, name, dict(model_class(name).grid))


def baselines(options: Namespace) -> int:
    """``graphrec baselines``: every simple model with settings chosen on validation, in one table."""
    data = RecommendationData.load(options.data)
    known = dict.fromkeys(baseline.name for baseline in _baselines())
    if unknown := [name for name in options.only or () if name not in known]:
        raise ValueError(f"{', '.join(unknown)}: no simple model; there are {', '.join(known)}")
    chosen = [baseline for baseline in _baselines() if not options.only or baseline.name in options.only]
    say, found, names = Console(highlight=False), list[Evaluation](), list[str]()
    for baseline in track(chosen, description="simple models"):
        model = model_class(baseline.name)()
        if baseline.grid:
            best = tune(model, data, baseline.grid)[0]
            say.print(f"{baseline.label}: {best.settings}, validation {best.score:.4f}", markup=False)
        model.fit(data, refit_on_trainval=options.refit_on_trainval)
        result = evaluate(model, data, "test", label=baseline.label)
        names = names or _shown_metrics([result], options.metrics)
        if options.out:
            result.save(Path(options.out) / baseline.label.replace(", ", "_").replace(" ", "_") / "test")
        found.append(result)
    print_comparison(compare(found), names)
    return 0
