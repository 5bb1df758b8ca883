"""``data-prep``: its commands and options. An error the user can mend is one line and exit code 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep import commands
from data_prep.commands import CHROMOPHORE_PROPERTIES, METHODS
from data_prep.errors import DataError
from data_prep.interactions.commands import add_interactions
from data_prep.preference_commands import add_preferences

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

FAMILIES = (
    "solvation",
    "ddi",
    "typed-ddi",
    "side-effect",
    "chromophore",
    "molecule-property",
    "molecule-class",
    "caption",
)


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
    parser = argparse.ArgumentParser(prog="data-prep", description="Raw files to checked tables.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = subparsers.add_parser("list", help="the data sets of the catalogue")
    listing.set_defaults(run=commands.show_list)
    _add_fetch(subparsers)
    _add_build(subparsers)
    _add_pairs(subparsers)
    _add_descriptions(subparsers)
    add_preferences(subparsers)
    add_interactions(subparsers)
    demo = subparsers.add_parser("demo", help="a small computed data set (not measured) in the same layout")
    demo.add_argument("--out", type=Path, required=True)
    demo.add_argument("--pairs", type=int, default=900)
    demo.add_argument("--seed", type=int, default=0)
    demo.set_defaults(run=commands.build_demo_set)
    return parser


def _add_fetch(subparsers: Subparsers) -> None:
    fetch = subparsers.add_parser(
        "fetch", help="download the files of a data set, checked against their checksums"
    )
    fetch.add_argument("name", help="a name from data-prep list")
    fetch.add_argument(
        "--out", type=Path, required=True, help="folder that will hold a folder for the data set"
    )
    fetch.add_argument(
        "--sha256", action="append", default=[], metavar="FILE=HEX", help="checksum of an unlisted file"
    )
    fetch.set_defaults(run=commands.fetch_files)


def _add_build(subparsers: Subparsers) -> None:
    build = subparsers.add_parser(
        "build", help="turn the files of a data set into tables, graphs and a report"
    )
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
    build.add_argument(
        "--property", choices=CHROMOPHORE_PROPERTIES, help="which one to read, where a set holds several"
    )
    build.add_argument(
        "--keep-solid-state", action="store_true", help="keep chromophores listed as their own solvent"
    )
    build.add_argument(
        "--protocol", help="of a recommendation set: which split and ranking; default: its published one"
    )
    build.add_argument("--variant", help="of the protocol, where it has several")
    _add_common(build)
    build.set_defaults(run=commands.build_dataset)


def _add_pairs(subparsers: Subparsers) -> None:
    pairs = subparsers.add_parser("pairs", help="the same for a table of your own (csv, tsv, parquet)")
    pairs.add_argument("--input", type=Path, required=True)
    pairs.add_argument("--family", choices=FAMILIES, required=True)
    pairs.add_argument(
        "--a", metavar="COLUMN", help="SMILES of molecule a (solute, chromophore, first drug, the molecule)"
    )
    pairs.add_argument("--b", metavar="COLUMN", help="SMILES of molecule b (solvent, second drug)")
    pairs.add_argument(
        "--dot-joined", metavar="COLUMN", help="one column solvent.solute in place of --a and --b"
    )
    pairs.add_argument(
        "--label", metavar="COLUMN", required=True, help="number, 0/1, class number or caption"
    )
    pairs.add_argument("--query", metavar="COLUMN", help="side effect the row asks about")
    pairs.add_argument(
        "--classes",
        type=Path,
        help="csv of the sentences of classes: class, text with {a} and {b}, symmetric",
    )
    pairs.add_argument(
        "--property", help="what the label is, where the family knows several (absorption, lipophilicity)"
    )
    pairs.add_argument("--name", help="name of the data set; default: the file's name")
    pairs.add_argument(
        "--split", metavar="METHOD|COLUMN", help=f"{', '.join(METHODS)}, or a column of the input"
    )
    _add_common(pairs)
    pairs.set_defaults(run=commands.build_table)


def _add_descriptions(subparsers: Subparsers) -> None:
    texts = subparsers.add_parser(
        "descriptions", help="random pairs of molecules of built folders, described by their property texts"
    )
    texts.add_argument(
        "--from", dest="folders", type=Path, nargs="+", required=True, metavar="FOLDER", help="built folders"
    )
    texts.add_argument("--pairs", type=int, default=100_000, help="how many (default: 100,000)")
    texts.add_argument("--name", default="descriptions", help="name of the data set")
    _add_output(texts)
    _add_exclusion(texts)
    texts.set_defaults(run=commands.build_descriptions)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split-file", type=Path, help="stored split: column row, or smiles_a and smiles_b")
    parser.add_argument("--split-column", help="its column with train, valid, test or none")
    _add_exclusion(parser)
    _add_output(parser)


def _add_exclusion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--exclude-tests",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="built folders whose test pairs must not be in train or valid here",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder for the result")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fractions", type=float, nargs=3, metavar=("TRAIN", "VALID", "TEST"))
    parser.add_argument(
        "--properties", type=Path, help="csv of property texts: key or smiles, text, optional name"
    )
    parser.add_argument("--cache", type=Path, help="folder for featurised molecules; default: OUT/.cache")
    parser.add_argument("--max-atoms", type=int, default=512, help="larger molecules are rejected")
    parser.add_argument("--workers", type=int, help="processes; default: all cores for large sets")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


if __name__ == "__main__":
    raise SystemExit(main())
