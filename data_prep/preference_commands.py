"""``data-prep preferences``: options, and what the command does. Heavy libraries wait until it runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.errors import DataError

if TYPE_CHECKING:
    from data_prep.preferences import PreferencePlan, Source

FORMATS = (
    "candidates",
    "sharegpt",
    "alpaca-eval",
    "autoj",
    "pandalm",
    "stack-exchange",
    "alpaca",
    "multi",
    "hh",
    "pairs",
    "unpaired",
    "demonstrations",
)
DESCRIPTION = """Files of preferences to one checked table, split by prompt. Records are pairs (prompt,
chosen, rejected), lists with several rejected responses, responses with their comparisons (responses, pairs),
or completions that are desirable or not (prompt, completion, label); texts or chat messages, with or without
a prompt of their own, as TRL reads them. Formats of published sets are known too. A set of the catalogue
(data-prep list) is named with --dataset and --root in place of --input."""


def add_preferences(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``data-prep``."""
    parser = subparsers.add_parser(
        "preferences", help="preference data: pairs, lists, judgements, dialogues", description=DESCRIPTION
    )
    parser.add_argument(
        "--input", type=Path, nargs="+", metavar="FILE", help="jsonl, json, csv, tsv, parquet, arrow"
    )
    for part in ("valid", "test"):
        parser.add_argument(
            f"--{part}",
            type=Path,
            nargs="+",
            default=[],
            metavar="FILE",
            help=f"files that are the {part} part",
        )
    parser.add_argument("--dataset", metavar="NAME", help="a set of the catalogue in place of files")
    parser.add_argument("--root", type=Path, help="folder with its raw files, or with a folder of them")
    parser.add_argument(
        "--allow-changed", action="store_true", help="go on with files that differ from the published ones"
    )
    parser.add_argument(
        "--format", choices=("auto", *FORMATS), help="default: seen from the first record of a file"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the result")
    parser.add_argument("--name", help="name of the data set; default: that of the first file")
    parser.add_argument("--seed", type=int, default=0, help="of the split and of flips")
    parser.add_argument(
        "--fractions", type=float, nargs=3, metavar=("TRAIN", "VALID", "TEST"), help="default: 0.8 0.1 0.1"
    )
    parser.add_argument("--split-column", help="field of the records with train, valid, test or none")
    parser.add_argument(
        "--flip-noise", type=float, default=0.0, metavar="RATE", help="turn preferences round with this odds"
    )
    parser.add_argument("--flip-exact", action="store_true", help="turn round exactly that share")
    parser.add_argument(
        "--flip-parts",
        nargs="+",
        choices=("train", "valid", "test"),
        default=["train"],
        help="parts with flips (default: train)",
    )
    parser.add_argument(
        "--keep-identical", action="store_true", help="keep rows whose chosen response is also rejected"
    )
    parser.add_argument(
        "--unpair", action="store_true", help="each response on its own, desirable if chosen (for KTO)"
    )
    parser.set_defaults(run=build_preference_set)


def build_preference_set(arguments: argparse.Namespace) -> None:
    """Files or a published set to a folder with table and report."""
    from data_prep.preference_cards import REMARKS
    from data_prep.preference_report import write_preferences
    from data_prep.preferences import collect

    sources, name = _sources(arguments)
    plan = _plan(arguments)
    found = collect(sources, plan)
    remarks = [REMARKS[arguments.dataset]] if arguments.dataset in REMARKS else []
    _summarise(write_preferences(found, plan, arguments.out, name, remarks), arguments.out)


def _sources(arguments: argparse.Namespace) -> tuple[list[Source], str]:
    """What is read, parts with files of their own first, and the name of the whole."""
    from data_prep.preferences import file_source

    if arguments.dataset:
        if arguments.input or arguments.valid or arguments.test or arguments.format:
            raise DataError("--dataset names files and format: leave --input, --valid, --test, --format out.")
        return _published(arguments), arguments.name or arguments.dataset
    if not arguments.input:
        raise DataError("Name the files with --input, or a set of the catalogue with --dataset and --root.")
    if arguments.root or arguments.allow_changed:
        raise DataError("--root and --allow-changed go with --dataset; leave them out.")
    if arguments.split_column and (arguments.valid or arguments.test):
        raise DataError("--split-column says the parts already; leave --valid and --test out.")
    files = [*arguments.input, *arguments.valid, *arguments.test]
    if twice := sorted({file.name for file in files if [f.name for f in files].count(file.name) > 1}):
        raise DataError(f"Several files are called {twice[0]}: give each a name of its own.")
    parts = {"test": arguments.test, "valid": arguments.valid, None: arguments.input}
    sources = [file_source(file, part=part) for part, ours in parts.items() for file in ours]
    return sources, arguments.name or arguments.input[0].name.partition(".")[0]


def _published(arguments: argparse.Namespace) -> list[Source]:
    from data_prep.catalog import check_file, locate
    from data_prep.preference_cards import PREFERENCE_CARDS
    from data_prep.preferences import file_source

    card = PREFERENCE_CARDS.get(arguments.dataset)
    if card is None:
        known = ", ".join(PREFERENCE_CARDS)
        raise DataError(f"There is no preference set {arguments.dataset!r} in the catalogue; it has {known}.")
    if arguments.root is None:
        raise DataError(f"Say where the files of {card.name} are: --root FOLDER.")
    arguments.format = card.reader
    sources = []
    for file in card.files:
        path = locate(card, file, arguments.root)
        verified = check_file(path, file, allow_changed=arguments.allow_changed)
        sources.append(file_source(path, verified=verified))
    return sources


def _plan(arguments: argparse.Namespace) -> PreferencePlan:
    from data_prep.preferences import PreferencePlan
    from data_prep.splits import SplitPlan

    if arguments.split_column and arguments.fractions:
        raise DataError("--fractions has no effect on a split that is read; leave it out.")
    if arguments.flip_exact and not arguments.flip_noise:
        raise DataError("--flip-exact has no effect without --flip-noise; leave it out.")
    split = SplitPlan(
        method="column" if arguments.split_column else "random",
        seed=arguments.seed,
        fractions=tuple(arguments.fractions or (0.8, 0.1, 0.1)),
        column=arguments.split_column,
    )
    return PreferencePlan(
        format=arguments.format or "auto",
        split=split,
        flip_noise=arguments.flip_noise,
        flip_exact=arguments.flip_exact,
        flip_parts=tuple(arguments.flip_parts),
        drop_identical=not arguments.keep_identical,
        unpair=arguments.unpair,
    )


def _summarise(report: Mapping, out: Path) -> None:
    """The report's main figures, warnings first."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for note in report["notes"]:
        console.print(note, style="bold yellow", markup=False)
    table = Table("", "count", title=f"{report['dataset']} (preferences)")
    rejected, flipped = report["rows"]["rejected"], report["flips"]["flipped"]
    table.add_row("rows read", f"{report['rows']['read']:,}")
    table.add_row("rejected", f"{rejected['count']:,}")
    for kind, entry in rejected["by_kind"].items():
        table.add_row(f"  {kind}", f"{entry['count']:,}")
    table.add_row("equal to an earlier example", f"{report['duplicates']:,}")
    table.add_row("examples", f"{report['examples']:,}")
    for part, sizes in report["split"]["sizes"].items():
        turned = f" ({flipped[part]:,} turned round)" if part in flipped else ""
        table.add_row(f"  {part}", f"{sizes['examples']:,}{turned}")
    table.add_row("prompts", f"{report['prompts']:,}")
    console.print(table)
    for kind, entry in rejected["by_kind"].items():
        first = entry["examples"][0]
        console.print(f"e.g. {kind}: {first['source']} line {first['line']}: {first['reason']}", markup=False)
    console.print(f"Report: {out / 'report.html'}", markup=False)
