"""The ``graphrec`` command: fit, validate, test, predict, recommend, compare, and studies of models.

Libraries are imported by the command that needs them, so that help is quick.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it succeeded, 2 when its input has to be mended first."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given and given[0] == "fit":
        from graphrec.fit_command import run

        return run(given[1:])
    arguments = _parser().parse_args(given)
    try:
        return _command(arguments.command)(arguments)
    except (ValueError, OSError) as error:
        print(f"graphrec {arguments.command}: {error}", file=sys.stderr)
        return 2


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    from graphrec import commands
    from graphrec.fairness import command as fairness
    from graphrec.llara import command as answers
    from graphrec.offline_rl import commands as offline_rl
    from graphrec.recinterpreter import command as interpret

    named: dict[str, Callable[[argparse.Namespace], int]] = {
        "validate": lambda options: commands.ranked(options, "valid"),
        "test": lambda options: commands.ranked(options, "test"),
        "predict": commands.predict,
        "recommend": commands.recommend,
        "compare": commands.compared,
        "baselines": commands.baselines,
        "fairness": fairness.run,
        "answers": answers.run,
        "interpret": interpret.run,
        **offline_rl.RUN,
    }
    return named[name]


def _parser() -> argparse.ArgumentParser:
    from graphrec.fairness.command import add_fairness_command
    from graphrec.llara.command import add_answers_command
    from graphrec.offline_rl.commands import add_commands
    from graphrec.recinterpreter.command import add_interpret_command

    parser = argparse.ArgumentParser(prog="graphrec", description="Recommenders and their evaluation.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser(
        "fit",
        help="fit, test and save a model: graphrec fit --config configs/graphrec/NAME.yaml",
        add_help=False,
    )
    for name, words in (
        ("validate", "rank the valid split with a saved model"),
        ("test", "the same on the test split, with intervals and groups apart"),
    ):
        ranked = _reads_model(commands, name, words)
        ranked.add_argument("--data", required=True, metavar="FOLDER", help="folder written by data-prep")
        ranked.add_argument("--out", metavar="FOLDER", help="where ranks go (default: beside the model)")
        ranked.add_argument("--label", help="what tables call the model (default: its name)")
        ranked.add_argument("--seed", type=int, default=0, help="of the bootstrap intervals (default: 0)")
        ranked.add_argument("--candidates-only", action="store_true", help="not the whole catalogue too")
    predict = _reads_model(commands, "predict", "the best items for every row of a split, as Parquet")
    predict.add_argument("--data", required=True, metavar="FOLDER", help="folder written by data-prep")
    predict.add_argument("--split", choices=["valid", "test"], default="test")
    predict.add_argument("--out", required=True, metavar="FILE", help="Parquet file to write")
    _lists(predict)
    recommend = _reads_model(commands, "recommend", "the best items for a history")
    recommend.add_argument("history", nargs="*", metavar="ITEM", help="item ids, oldest first")
    recommend.add_argument("--input", metavar="FILE", help="histories, one JSON list of item ids a line")
    recommend.add_argument("--out", metavar="FILE", help="JSONL file to write (default: print)")
    recommend.add_argument("--allow", nargs="+", metavar="ITEM", help="choose among these items only")
    recommend.add_argument("--skip-unknown", action="store_true", help="skip unknown ids, with a warning")
    _lists(recommend)
    compare = commands.add_parser(
        "compare",
        help="several runs on the same rows, with paired differences",
        description="Metrics of several tested runs with intervals, and paired differences to the first one. "
        "Runs whose ranking task differs are refused.",
    )
    compare.add_argument("runs", nargs="+", metavar="RUN", help="folder of a tested run")
    compare.add_argument(
        "--metrics", nargs="+", metavar="NAME", help="e.g. HR@10 NDCG@10 (default: the main)"
    )
    compare.add_argument("--join-seeds", action="store_true", help="average runs with the same label")
    compare.add_argument("--seed", type=int, default=0, help="of the intervals (default: 0)")
    baselines = commands.add_parser(
        "baselines",
        help="all simple models, their settings chosen on validation",
        description="Fit popularity, last item, repeated history, item-kNN, co-occurrence, VSKNN and EASE, "
        "choose their settings on the validation rows, rank the test rows once.",
    )
    baselines.add_argument("--data", required=True, metavar="FOLDER", help="folder written by data-prep")
    baselines.add_argument("--out", metavar="FOLDER", help="where ranks go, for graphrec compare")
    baselines.add_argument("--only", nargs="+", metavar="NAME", help="these models only")
    baselines.add_argument("--metrics", nargs="+", metavar="NAME", help="shown (default: the main ones)")
    baselines.add_argument(
        "--refit-on-trainval", action="store_true", help="fit on validation too, once chosen"
    )
    add_fairness_command(commands)
    add_answers_command(commands)
    add_interpret_command(commands)
    add_commands(commands)
    return parser


def _reads_model(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, words: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
    parser.add_argument("--model", required=True, metavar="DIR", help="saved model, e.g. runs/mine/export")
    return parser


def _lists(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-k", type=int, default=10, help="length of a list (default: 10)")
    parser.add_argument("--offer-seen", action="store_true", help="also offer items of the history")


if __name__ == "__main__":
    sys.exit(main())
