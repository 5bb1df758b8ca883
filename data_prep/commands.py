"""What the commands of ``data-prep`` do; their options stand in :mod:`data_prep.cli`.

Everything heavy is imported when a command runs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.errors import DataError

if TYPE_CHECKING:
    from data_prep.build import BuildOptions
    from data_prep.records import FamilyShape, RawPairs
    from data_prep.splits import Fractions

CHROMOPHORE_PROPERTIES = ("absorption", "emission", "lifetime")
METHODS = ("random", "cold-1", "cold-2", "scaffold", "solvent")
DESCRIPTION_FRACTIONS = (0.98, 0.01, 0.01)


def show_list(_: argparse.Namespace) -> None:
    """The catalogue as a table."""
    from rich.console import Console
    from rich.table import Table

    from data_prep.cards import CARDS
    from data_prep.interactions.cards import RECOMMENDATION_CARDS
    from data_prep.preference_cards import PREFERENCE_CARDS

    table = Table()
    for title in ("name", "family", "what", "files", "terms"):
        table.add_column(title, no_wrap=title in ("name", "family"))
    for card in (*CARDS.values(), *PREFERENCE_CARDS.values(), *RECOMMENDATION_CARDS.values()):
        size = sum(file.bytes or 0 for file in card.files) / 1e6
        checked = all(file.sha256 for file in card.files)
        files = f"{len(card.files)}, {size:.1f} MB" if checked else f"{len(card.files)}, unverified"
        table.add_row(card.name, card.family, card.title, files, card.terms)
    Console().print(table)


def fetch_files(arguments: argparse.Namespace) -> None:
    """Download the files of a data set."""
    from data_prep.catalog import get_card, with_hashes
    from data_prep.download import fetch
    from data_prep.interactions.cards import RECOMMENDATION_CARDS
    from data_prep.preference_cards import PREFERENCE_CARDS

    given = dict(_hash_pair(text) for text in arguments.sha256)
    others = PREFERENCE_CARDS | RECOMMENDATION_CARDS
    card = with_hashes(others.get(arguments.name) or get_card(arguments.name), given)
    print(f"{card.title}. Terms: {card.terms}. Cite: {card.citation}.")
    for path in fetch(card, arguments.out):
        print(path)


def _hash_pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or len(value) != 64:
        raise DataError(f"--sha256 takes FILE=HEX with 64 hexadecimal digits, not {text!r}.")
    return name, value.lower()


def build_dataset(arguments: argparse.Namespace) -> None:
    """A data set of the catalogue."""
    from data_prep.build import build_pairs
    from data_prep.catalog import get_card, read_dataset
    from data_prep.interactions.cards import RECOMMENDATION_CARDS
    from data_prep.interactions.commands import build_recommendation
    from data_prep.preference_cards import PREFERENCE_CARDS

    if arguments.name in PREFERENCE_CARDS:
        raise DataError(
            f"{arguments.name} holds preferences: data-prep preferences --dataset {arguments.name}"
        )
    if arguments.name in RECOMMENDATION_CARDS:
        return build_recommendation(arguments)
    card = get_card(arguments.name)
    if arguments.protocol or arguments.variant:
        raise DataError(f"--protocol and --variant are for recommendation sets; {card.name} is none.")
    legacy = arguments.legacy_split
    if legacy and (arguments.split or arguments.split_file or arguments.fractions):
        raise DataError(
            "--legacy-split keeps the published parts; leave --split, --split-file and --fractions out."
        )
    if arguments.split_file and arguments.split not in (None, "file"):
        raise DataError("--split-file already says how to split; leave --split out.")
    method = "published" if legacy else "file" if arguments.split_file else arguments.split or "random"
    options = _options(arguments, method, card.fractions, resample=card.resample_negatives and not legacy)
    wanted = {"property": arguments.property, "keep_solid_state": arguments.keep_solid_state}
    raw = read_dataset(
        arguments.name,
        arguments.root,
        published_split=legacy,
        allow_changed=arguments.allow_changed,
        options={name: value for name, value in wanted.items() if value},
    )
    _summarise(build_pairs(raw, arguments.out, options), arguments.out)


def build_table(arguments: argparse.Namespace) -> None:
    """A table of the user's."""
    from data_prep.build import build_pairs
    from data_prep.records import family_shape

    shape = family_shape(arguments.family)
    _check_names(arguments, shape)
    method, column = _table_split(arguments)
    arguments.split_column = column
    options = _options(arguments, method, (0.8, 0.1, 0.1), resample=False)
    raw = _read_table(arguments, shape, column if method == "column" else None)
    _summarise(build_pairs(raw, arguments.out, options), arguments.out)


def _check_names(arguments: argparse.Namespace, shape: FamilyShape) -> None:
    """Options that the family would ignore are errors."""
    if arguments.property is not None:
        shape.property_name(arguments.property)
    if arguments.query and not shape.asks:
        raise DataError(f"--query is for family side-effect; leave it out for {shape.name}.")
    if arguments.classes and shape.label != "class":
        raise DataError(f"--classes is for family typed-ddi; leave it out for {shape.name}.")
    if shape.single and (arguments.b or arguments.dot_joined or not arguments.a):
        raise DataError(
            f"Family {shape.name} has one molecule in a row: give --a, and no --b or --dot-joined."
        )


def _read_table(arguments: argparse.Namespace, shape: FamilyShape, split: str | None) -> RawPairs:
    from data_prep.readers.captions import read_captions
    from data_prep.readers.columns import PairColumnNames, read_columns
    from data_prep.readers.single_molecules import read_labelled

    dataset = arguments.name or arguments.input.stem
    if shape.single and shape.label != "text":
        return read_labelled(
            arguments.input,
            shape,
            smiles=arguments.a,
            label=arguments.label,
            property=arguments.property,
            split=split,
            dataset=dataset,
        )
    if shape.single:
        return read_captions(
            arguments.input, smiles=arguments.a, text=arguments.label, split=split, dataset=dataset
        )
    names = PairColumnNames(
        a=arguments.a,
        b=arguments.b,
        dot_joined=arguments.dot_joined,
        label=arguments.label,
        query=arguments.query,
        property=arguments.property,
        split=split,
    )
    return read_columns(arguments.input, names, shape, dataset=dataset, classes=arguments.classes)


def _table_split(arguments: argparse.Namespace) -> tuple[str, str | None]:
    """Method and column: a word that is no method names a column of the input."""
    if arguments.split_file:
        if arguments.split not in (None, "file"):
            raise DataError("--split-file already says how to split; leave --split out.")
        return "file", arguments.split_column
    if arguments.split is None and arguments.split_column:
        return "column", arguments.split_column
    if arguments.split is None or arguments.split in (*METHODS, "file"):
        return arguments.split or "random", arguments.split_column
    if arguments.split_column:
        raise DataError(
            f"Both --split {arguments.split} and --split-column {arguments.split_column} name a column."
        )
    return "column", arguments.split


def build_descriptions(arguments: argparse.Namespace) -> None:
    """Random pairs of molecules, each with its property text."""
    from data_prep.build import build_pairs
    from data_prep.descriptions import random_pairs

    arguments.split_file = arguments.split_column = None
    options = _options(arguments, "random", DESCRIPTION_FRACTIONS, resample=False)
    raw = random_pairs(arguments.folders, arguments.pairs, seed=arguments.seed, dataset=arguments.name)
    _summarise(build_pairs(raw, arguments.out, options), arguments.out)


def _options(
    arguments: argparse.Namespace, method: str, fractions: Fractions, *, resample: bool
) -> BuildOptions:
    from data_prep.build import BuildOptions
    from data_prep.splits import SplitPlan

    given = method in ("file", "column", "published")
    if given and arguments.fractions:
        raise DataError("--fractions has no effect on a split that is read; leave it out.")
    if not given and arguments.split_column:
        raise DataError("--split-column needs --split-file, or a split that is read from a column.")
    plan = SplitPlan(
        method=method,
        seed=arguments.seed,
        fractions=tuple(arguments.fractions or fractions),
        column=arguments.split_column,
        file=arguments.split_file,
    )
    return BuildOptions(
        split=plan,
        resample_negatives=resample,
        properties=arguments.properties,
        exclude_tests=tuple(arguments.exclude_tests),
        cache=arguments.cache,
        workers=arguments.workers,
        max_atoms=arguments.max_atoms,
        progress=not arguments.quiet,
    )


def build_demo_set(arguments: argparse.Namespace) -> None:
    """The computed demo set."""
    from data_prep.demo import build_demo

    _summarise(build_demo(arguments.out, seed=arguments.seed, pairs=arguments.pairs), arguments.out)


def _summarise(report: dict, out: Path) -> None:
    """The report's main figures, warnings first."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for note in report["notes"]:
        console.print(note, style="bold yellow", markup=False)
    table = Table("", "count", title=f"{report['dataset']} ({report['family']})")
    rejected, merged = report["rows"]["rejected"], report["merged"]
    table.add_row("rows read", f"{report['rows']['read']:,}")
    table.add_row("rows without a value", f"{report['rows']['without_value']:,}")
    table.add_row("rejected", f"{rejected['count']:,}")
    for kind, entry in rejected["by_reason"].items():
        table.add_row(f"  {kind}", f"{entry['count']:,}")
    table.add_row("merged into an equal pair", f"{merged['duplicate_rows']:,}")
    table.add_row(f"pairs with conflicting labels ({merged['conflicts']})", f"{merged['conflict_pairs']:,}")
    table.add_row("sampled negatives", f"{merged['sampled_negatives']:,}")
    table.add_row("molecules", f"{report['molecules']['molecules']:,}")
    table.add_row("pairs", f"{report['pairs']:,}")
    for part, rows in report["split"]["sizes"].items():
        table.add_row(f"  {part}", f"{rows:,}")
    table.add_row("pairs shared by train and test", f"{report['leakage']['train-test']['pairs']:,}")
    console.print(table)
    for kind, entry in rejected["by_reason"].items():
        example = entry["examples"][0]
        console.print(
            f"e.g. {kind}: {example['source']} row {example['row']}: {example['reason']}", markup=False
        )
    console.print(f"Report: {out / 'report.html'}", markup=False)
