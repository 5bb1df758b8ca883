"""The ``moltc`` command: ``fit | validate | test | predict`` (LightningCLI), ``answer``, ``summarise`` and
``ensemble``.

Heavy libraries are imported by the command that needs them, so that help is quick.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from moltc.backbone.command_line import LIGHTNING


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 some rows could not be answered, 2 it could not
    start."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in LIGHTNING:
        from moltc.lightning_cli import run

        return run(arguments[0], argv)
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if parsed.command == "summarise":
        return _summarise(parsed.runs)
    if parsed.command == "ensemble":
        return _ensemble(parsed.runs, parsed.out, parsed.seed)
    from moltc.answer_cli import answer_command

    return answer_command(parsed)


def _parser() -> argparse.ArgumentParser:
    from moltc import __version__

    parser = argparse.ArgumentParser(
        prog="moltc",
        description="Questions about pairs of molecules, answered in text by a graph-plus-language model.",
    )
    parser.add_argument("--version", action="version", version=f"moltc {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, words in (
        (
            "fit",
            "train on a folder of pairs, test and export: moltc fit --config configs/moltc/freesolv.yaml",
        ),
        ("validate", "loss and score on the valid split"),
        ("test", "answer the test split: metrics beside naive baselines, plots, a report page"),
        (
            "predict",
            "answer a split of a table; writes predictions/part-*.parquet",
        ),
    ):
        commands.add_parser(name, help=words, add_help=False)
    ask = commands.add_parser(
        "answer",
        help="ask an exported model about a pair, or about the pairs of a file",
        description="Ask an exported model. Give the two SMILES in the model's order (solute solvent, drug "
        "drug, ...; one where the question is about one molecule), or a file with --csv. A pair that cannot "
        "be read is reported with its row and reason; the others are answered.",
    )
    ask.add_argument("--model", required=True, metavar="DIR", help="exported model, e.g. runs/demo/export")
    ask.add_argument("smiles", nargs="*", metavar="SMILES", help="two SMILES (or one)")
    ask.add_argument("--task", metavar="NAME", help="which question, of a model that answers several")
    ask.add_argument("--query", metavar="TEXT", help="what is asked of every pair, e.g. a side effect")
    ask.add_argument("--query-column", metavar="COL", help="column of what is asked of each pair of --csv")
    ask.add_argument("--csv", metavar="FILE", help="file of pairs (csv, tsv or parquet)")
    ask.add_argument("--a", metavar="COL", help="column of the first molecule (default: the first column)")
    ask.add_argument("--b", metavar="COL", help="column of the second molecule (default: the second column)")
    ask.add_argument(
        "--out", metavar="FILE", help="where the answers to --csv go (default: FILE with .answers.csv)"
    )
    ask.add_argument(
        "--properties", metavar="FILE", help="texts about molecules, for a model whose prompts hold them"
    )
    ask.add_argument(
        "--batch-size", type=int, default=64, metavar="N", help="pairs of one pass (default: 64)"
    )
    ask.add_argument("--device", default="cpu", help="cpu (default), cuda, ...")
    join = commands.add_parser(
        "summarise",
        help="test results of several runs (seeds) in one table",
        description="Print the test results of runs as a Markdown table: mean ± standard deviation.",
    )
    join.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run, e.g. runs/freesolv-0")
    several = commands.add_parser(
        "ensemble",
        help="average the test answers of several runs (seeds) on one split",
        description="Average the test answers of runs on the same pairs: numbers, or probabilities. Writes "
        "OUT/test with predictions, metrics and a page; the spread between runs tells how sure they are.",
    )
    several.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run, e.g. runs/chchminer-0")
    several.add_argument("--out", required=True, metavar="FOLDER", help="where the results go")
    several.add_argument("--seed", type=int, default=0, help="of the intervals (default: 0)")
    return parser


def _ensemble(runs: Sequence[str], out: str, seed: int) -> int:
    from pathlib import Path

    from moltc.ensemble import ensemble

    try:
        found = ensemble([Path(run) for run in runs], seed)
        page = found.save(Path(out))
    except (ValueError, OSError) as error:
        print(f"moltc ensemble: {error}", file=sys.stderr)
        return 2
    found.print()
    print(f"report: {page}")
    return 0


def _summarise(runs: Sequence[str]) -> int:
    from pathlib import Path

    from moltc.summary import summary

    try:
        print(summary([Path(run) for run in runs]))
    except ValueError as error:
        print(f"moltc summarise: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
