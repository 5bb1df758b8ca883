"""``data-prep interactions`` and ``data-prep build`` of recommendation sets: options, and what they do."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.errors import DataError

if TYPE_CHECKING:
    from data_prep.interactions.plan import SplitPlan

MOLECULAR = (
    *("legacy_split", "split", "property", "keep_solid_state", "split_file", "split_column"),
    *("exclude_tests", "properties", "cache", "workers"),
)
METHODS = ("leave-one-out", "global-time", "by-sequence")
DESCRIPTION = """A log of who met which item when, to a folder that recommenders are fitted and ranked on:
catalogue, split, manifest with a hash, and a report on drift, repeats, leaks and every row left out."""


def add_interactions(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``data-prep``."""
    parser = subparsers.add_parser(
        "interactions", help="a log of your own: users, items, times", description=DESCRIPTION
    )
    _add_table(parser)
    _add_split(parser)
    parser.set_defaults(run=build_interactions)


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input", type=Path, required=True, metavar="FILE", help="csv, tsv, parquet or text")
    parser.add_argument("--user", required=True, metavar="COL", help="column of users or sessions")
    parser.add_argument("--item", required=True, metavar="COL", help="column of items")
    parser.add_argument(
        "--time", metavar="COL", help="Unix times or ISO dates; without it the file's order is that of time"
    )
    parser.add_argument("--rating", metavar="COL", help="column of ratings, kept with the interactions")
    parser.add_argument("--min-rating", type=float, metavar="X", help="leave out rows with a lower rating")
    parser.add_argument("--event", metavar="COL", help="what happened (click, purchase), kept likewise")
    parser.add_argument(
        "--titles", type=Path, metavar="FILE", help="table of item ids, titles, and groups with | between"
    )
    parser.add_argument("--separator", help="between fields, such as ::; default: by the file's ending")
    parser.add_argument(
        "--columns", nargs="+", default=[], metavar="NAME", help="names for a file without a header line"
    )
    parser.add_argument("--encoding", help="default: UTF-8, and Latin-1 for lines that are not")
    parser.add_argument(
        "--keep-duplicates", action="store_true", help="keep rows that repeat user, item and time"
    )
    parser.add_argument(
        "--min-user", type=int, default=1, metavar="N", help="leave out users with fewer interactions"
    )
    parser.add_argument(
        "--min-item", type=int, default=1, metavar="N", help="leave out items with fewer interactions"
    )
    parser.add_argument("--name", help="name of the data set; default: the file's name")
    parser.add_argument("--out", type=Path, required=True, help="folder for the result")


def _add_split(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split", choices=METHODS, default="leave-one-out", help="default: leave-one-out")
    parser.add_argument(
        "--fractions", type=float, nargs=3, metavar=("TRAIN", "VALID", "TEST"), help="default: 0.8 0.1 0.1"
    )
    parser.add_argument("--seed", type=int, default=0, help="of shuffled sequences and of candidates")
    parser.add_argument(
        "--targets",
        choices=("last", "all"),
        help="interactions of a held-out sequence or period that are ranked; default: last by sequence, "
        "all by time",
    )
    parser.add_argument("--order", choices=("shuffled", "time"), help="of sequences before they are cut")
    parser.add_argument("--keep-seen", action="store_true", help="items of the history are ranked too")
    parser.add_argument("--metric", default="NDCG@10", help="that settings are chosen by (default: NDCG@10)")
    parser.add_argument("--ks", type=int, nargs="+", default=[1, 5, 10, 20], help="list lengths reported")
    parser.add_argument(
        "--candidates", type=int, default=0, metavar="N", help="rank N drawn candidates, not all items"
    )
    parser.add_argument("--draws", type=int, default=1, help="candidate lists of each row")


def build_interactions(arguments: argparse.Namespace) -> None:
    """A log of the user's to a folder."""
    from data_prep.interactions.cells import TextFormat
    from data_prep.interactions.log import drop_rare
    from data_prep.interactions.plan import log_task
    from data_prep.interactions.write import write_task
    from data_prep.readers.interaction_columns import LogColumns, read_interactions

    _check(arguments)
    raw = read_interactions(
        arguments.input,
        LogColumns(arguments.user, arguments.item, arguments.time, arguments.rating, arguments.event),
        TextFormat(arguments.separator, tuple(arguments.columns), arguments.encoding),
        titles=arguments.titles,
        keep_duplicates=arguments.keep_duplicates,
        min_rating=arguments.min_rating,
    )
    raw = drop_rare(raw, min_items=arguments.min_user, min_users=arguments.min_item)
    task = log_task(raw, _plan(arguments), arguments.name or arguments.input.stem)
    _summarise(write_task(task, arguments.out), arguments.out)


def _check(arguments: argparse.Namespace) -> None:
    """Options that would have no effect."""
    if arguments.min_rating is not None and not arguments.rating:
        raise DataError("--min-rating needs --rating COL.")
    if arguments.keep_duplicates and not arguments.time:
        raise DataError("--keep-duplicates has no effect without --time; leave it out.")
    if min(arguments.min_user, arguments.min_item) < 1:
        raise DataError("--min-user and --min-item are counts of one or more.")
    if arguments.separator == "":
        raise DataError("--separator is empty; leave it out for that of the file's ending.")
    if arguments.titles and not arguments.titles.is_file():
        raise DataError(f"--titles: there is no file {arguments.titles}.")


def _plan(arguments: argparse.Namespace) -> SplitPlan:
    from data_prep.interactions.plan import SplitPlan

    return SplitPlan(
        arguments.split,
        fractions=tuple(arguments.fractions) if arguments.fractions else None,
        seed=arguments.seed,
        targets=arguments.targets,
        order=arguments.order,
        filter_seen=not arguments.keep_seen,
        metric=arguments.metric,
        ks=tuple(arguments.ks),
        candidates=arguments.candidates,
        draws=arguments.draws,
    )


def build_recommendation(arguments: argparse.Namespace) -> None:
    """A recommendation set of the catalogue to a folder."""
    from data_prep.interactions.card_files import CardFiles
    from data_prep.interactions.cards import RECOMMENDATION_CARDS
    from data_prep.interactions.plan import SplitPlan
    from data_prep.interactions.protocols import build_task
    from data_prep.interactions.write import write_task

    _check_molecular(arguments)
    plan = None
    if arguments.protocol in METHODS:
        fractions = tuple(arguments.fractions) if arguments.fractions else None
        plan = SplitPlan(arguments.protocol, fractions=fractions, seed=arguments.seed)
    elif arguments.fractions or arguments.seed:
        raise DataError("A fixed protocol has its own split; leave --fractions and --seed out.")
    card = RECOMMENDATION_CARDS[arguments.name]
    files = CardFiles(card, arguments.root, arguments.allow_changed)
    task = build_task(files, arguments.protocol, arguments.variant, plan)
    _summarise(write_task(task, arguments.out), arguments.out)


def _check_molecular(arguments: argparse.Namespace) -> None:
    """Options of molecular builds, which would be ignored here."""
    for name in MOLECULAR:
        if getattr(arguments, name):
            option = f"--{name.replace('_', '-')}"
            raise DataError(
                f"{option} is for sets of molecules; {arguments.name} takes --protocol and --variant."
            )


def _summarise(report: Mapping, out: Path) -> None:
    """The report's main figures, warnings first."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for note in report["notes"]:
        console.print(note, style="bold yellow", markup=False)
    table = Table("", "count", title=f"{report['name']}, {report['protocol']}")
    counts = report["counts"]
    table.add_row("items", f"{counts['items']:,}")
    for part in ("train", "trainval"):
        table.add_row(f"{part}: sequences", f"{counts[part]['sequences']:,}")
        table.add_row(f"{part}: interactions", f"{counts[part]['interactions']:,}")
    for part in ("valid", "test"):
        table.add_row(f"{part}: rows", f"{counts[part]['rows']:,}")
    for word, found in (
        ("left out", report["findings"]["left_out"]),
        ("changed", report["findings"]["changed"]),
    ):
        for kind, entry in found["by_kind"].items():
            table.add_row(f"rows {word}: {kind}", f"{entry['count']:,}")
    console.print(table)
    for found in report["findings"].values():
        for kind, entry in found["by_kind"].items():
            first = entry["examples"][0]
            place = f"{first['source']} row {first['row']}"
            example = f"e.g. {kind}: {place}: {first['value']!r}: {first['reason']}"
            console.print(example, markup=False, soft_wrap=True)
    console.print(f"Report: {out / 'report.md'}", markup=False, soft_wrap=True)
