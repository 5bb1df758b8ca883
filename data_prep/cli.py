"""``data-prep``: list, fetch, build, pairs, demo. An error the user can mend is one line and exit code 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.errors import DataError

if TYPE_CHECKING:
    from data_prep.build import BuildOptions
    from data_prep.splits import Fractions

FAMILIES = ("solvation", "ddi", "typed-ddi", "side-effect", "chromophore")
CHROMOPHORE_PROPERTIES = ("absorption", "emission", "lifetime")
METHODS = ("random", "cold-1", "cold-2", "scaffold", "solvent")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except DataError as error:
        print(f"data-prep: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"data-prep: {error.strerror or error}: {error.filename or ''}".rstrip(": "), file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="data-prep", description="Raw molecular files to checked tables.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="the data sets of the catalogue")
    listing.set_defaults(run=_list)

    fetch = commands.add_parser(
        "fetch", help="download the files of a data set, checked against their checksums"
    )
    fetch.add_argument("name", help="a name from data-prep list")
    fetch.add_argument(
        "--out", type=Path, required=True, help="folder that will hold a folder for the data set"
    )
    fetch.add_argument(
        "--sha256", action="append", default=[], metavar="FILE=HEX", help="checksum of an unlisted file"
    )
    fetch.set_defaults(run=_fetch)

    build = commands.add_parser("build", help="turn the files of a data set into tables, graphs and a report")
    build.add_argument("name", help="a name from data-prep list")
    build.add_argument(
        "--root", type=Path, required=True, help="folder with the raw files, or with a folder of them"
    )
    build.add_argument(
        "--legacy-split", action="store_true", help="keep the published files' own split, rows and labels"
    )
    build.add_argument(
        "--allow-changed", action="store_true", help="go on with files that differ from the published ones"
    )
    build.add_argument("--split", choices=(*METHODS, "file"), help="default: random")
    _add_common(build)
    build.set_defaults(run=_build)

    pairs = commands.add_parser("pairs", help="the same for a table of your own (csv, tsv, parquet)")
    pairs.add_argument("--input", type=Path, required=True)
    pairs.add_argument("--family", choices=FAMILIES, required=True)
    pairs.add_argument("--a", metavar="COLUMN", help="SMILES of molecule a (solute, chromophore, first drug)")
    pairs.add_argument("--b", metavar="COLUMN", help="SMILES of molecule b (solvent, second drug)")
    pairs.add_argument(
        "--dot-joined", metavar="COLUMN", help="one column solvent.solute in place of --a and --b"
    )
    pairs.add_argument("--label", metavar="COLUMN", required=True)
    pairs.add_argument("--query", metavar="COLUMN", help="side effect the row asks about")
    pairs.add_argument(
        "--property", help="what the label is, where the family knows several (absorption, lifetime)"
    )
    pairs.add_argument("--name", help="name of the data set; default: the file's name")
    pairs.add_argument(
        "--split", metavar="METHOD|COLUMN", help=f"{', '.join(METHODS)}, or a column of the input"
    )
    _add_common(pairs)
    pairs.set_defaults(run=_pairs)

    demo = commands.add_parser("demo", help="a small computed data set (not measured) in the same layout")
    demo.add_argument("--out", type=Path, required=True)
    demo.add_argument("--pairs", type=int, default=900)
    demo.add_argument("--seed", type=int, default=0)
    demo.set_defaults(run=_demo)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder for the result")
    parser.add_argument("--split-file", type=Path, help="stored split: column row, or smiles_a and smiles_b")
    parser.add_argument("--split-column", help="its column with train, valid, test or none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fractions", type=float, nargs=3, metavar=("TRAIN", "VALID", "TEST"))
    parser.add_argument(
        "--properties", type=Path, help="csv of property texts: key or smiles, text, optional name"
    )
    parser.add_argument("--cache", type=Path, help="folder for featurised molecules; default: OUT/.cache")
    parser.add_argument("--max-atoms", type=int, default=512, help="larger molecules are rejected")
    parser.add_argument("--workers", type=int, help="processes; default: all cores for large sets")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def _list(_: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    from data_prep.cards import CARDS

    table = Table("name", "family", "what", "files", "build", "terms")
    for card in CARDS.values():
        size = sum(file.bytes or 0 for file in card.files) / 1e6
        checked = all(file.sha256 for file in card.files)
        files = f"{len(card.files)}, {size:.1f} MB" if checked else f"{len(card.files)}, unverified"
        table.add_row(
            card.name, card.family, card.title, files, "yes" if card.reader else "not yet", card.terms
        )
    Console().print(table)


def _fetch(arguments: argparse.Namespace) -> None:
    from data_prep.catalog import get_card, with_hashes
    from data_prep.download import fetch

    given = dict(_hash_pair(text) for text in arguments.sha256)
    card = with_hashes(get_card(arguments.name), given)
    print(f"{card.title}. Terms: {card.terms}. Cite: {card.citation}.")
    for path in fetch(card, arguments.out):
        print(path)


def _hash_pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or len(value) != 64:
        raise DataError(f"--sha256 takes FILE=HEX with 64 hexadecimal digits, not {text!r}.")
    return name, value.lower()


def _build(arguments: argparse.Namespace) -> None:
    from data_prep.build import build_pairs
    from data_prep.catalog import get_card, read_dataset

    card = get_card(arguments.name)
    legacy = arguments.legacy_split
    if legacy and (arguments.split or arguments.split_file or arguments.fractions):
        raise DataError(
            "--legacy-split keeps the published parts; leave --split, --split-file and --fractions out."
        )
    if arguments.split_file and arguments.split not in (None, "file"):
        raise DataError("--split-file already says how to split; leave --split out.")
    method = "published" if legacy else "file" if arguments.split_file else arguments.split or "random"
    options = _options(arguments, method, card.fractions, resample=card.resample_negatives and not legacy)
    raw = read_dataset(
        arguments.name, arguments.root, published_split=legacy, allow_changed=arguments.allow_changed
    )
    _summarise(build_pairs(raw, arguments.out, options), arguments.out)


def _pairs(arguments: argparse.Namespace) -> None:
    from data_prep.build import build_pairs
    from data_prep.readers.columns import PairColumnNames, read_columns
    from data_prep.records import family_shape

    shape = family_shape(arguments.family)
    if arguments.property and arguments.property != (shape.default_property or arguments.property):
        raise DataError(
            f"Family {shape.name} has one property, {shape.default_property!r}: leave --property out."
        )
    if arguments.family == "chromophore" and arguments.property not in (*CHROMOPHORE_PROPERTIES, None):
        known = ", ".join(CHROMOPHORE_PROPERTIES)
        raise DataError(f"Family chromophore has no property {arguments.property!r}; choose from {known}.")
    if arguments.query and arguments.family != "side-effect":
        raise DataError(f"--query is for family side-effect; leave it out for {arguments.family}.")
    method, column = _pairs_split(arguments)
    arguments.split_column = column
    names = PairColumnNames(
        a=arguments.a,
        b=arguments.b,
        dot_joined=arguments.dot_joined,
        label=arguments.label,
        query=arguments.query,
        property=arguments.property,
        split=column if method == "column" else None,
    )
    options = _options(arguments, method, (0.8, 0.1, 0.1), resample=False)
    dataset = arguments.name or arguments.input.stem
    raw = read_columns(arguments.input, names, shape, dataset=dataset)
    _summarise(build_pairs(raw, arguments.out, options), arguments.out)


def _pairs_split(arguments: argparse.Namespace) -> tuple[str, str | None]:
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
        cache=arguments.cache,
        workers=arguments.workers,
        max_atoms=arguments.max_atoms,
        progress=not arguments.quiet,
    )


def _demo(arguments: argparse.Namespace) -> None:
    from data_prep.demo import build_demo

    _summarise(build_demo(arguments.out, seed=arguments.seed, pairs=arguments.pairs), arguments.out)


def _summarise(report: dict, out: Path) -> None:
    """The report's main figures, warnings first."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for note in report["notes"]:
        console.print(note, style="bold yellow")
    table = Table("", "count", title=f"{report['dataset']} ({report['family']})")
    rejected, merged = report["rows"]["rejected"], report["merged"]
    table.add_row("rows read", f"{report['rows']['read']:,}")
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


if __name__ == "__main__":
    raise SystemExit(main())
