"""``graphrec off-policy`` and ``graphrec offline-checks``: learners judged by logged sessions.

Libraries are imported by the command that needs them, so that help is quick.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphrec.offline_rl.estimates import EstimateOptions

if TYPE_CHECKING:
    from graphrec.offline_rl.report import PolicyReport

Commands = Any
"""What ``argparse`` calls a group of sub-commands."""

HELP = {
    "click_reward": "what a click is worth",
    "purchase_reward": "what a purchase is worth",
    "gamma": "discount of FQE",
    "temperature": "of the softmax that makes scores a policy",
    "clip": "largest importance weight of SNIPS",
    "ridge": "penalty of the regressions of FQE",
    "resamples": "of the intervals of lists and SNIPS",
    "refits": "resamples of FQE, each a regression",
    "seed": "of the resamples",
}


def add_commands(commands: Commands) -> None:
    """Add both commands to a parser's sub-commands."""
    estimates = commands.add_parser(
        "off-policy",
        help="metrics of clicks and purchases, and what a model would have collected",
        description="Rank the test sessions with saved models: metrics apart for clicks and purchases, the "
        "mean reward of the next event (SNIPS), the discounted reward from there on (FQE), with intervals.",
    )
    estimates.add_argument("models", nargs="+", metavar="DIR", help="saved models, e.g. runs/mine/export")
    estimates.add_argument("--data", required=True, metavar="FOLDER", help="folder written by data-prep")
    estimates.add_argument(
        "--judge",
        required=True,
        metavar="DIR",
        help="another saved model, by whose vectors all are judged",
    )
    estimates.add_argument("--out", metavar="FILE", help="JSON file to write")
    for field in fields(EstimateOptions):
        estimates.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            help=f"{HELP[field.name]} (default: {field.default})",
        )
    checks = commands.add_parser(
        "offline-checks",
        help="whether an offline learner does what its terms are there for",
        description="Four checks over runs of at least three seeds: losses fall, the conservative term "
        "lowers random items, the transition model beats chance, lists are no worse than those of SQN.",
    )
    checks.add_argument("--data", required=True, metavar="FOLDER", help="folder written by data-prep")
    for name, words in (
        ("full", "of the learner"),
        ("bare", "of the same without its conservative term"),
        ("sqn", "of SQN with the same encoder"),
    ):
        checks.add_argument(f"--{name}", nargs="+", required=True, metavar="RUN", help=f"run folders {words}")
    checks.add_argument("--metric", help="compared with SQN (default: the one that the data name)")


def off_policy(options: argparse.Namespace) -> int:
    """``graphrec off-policy``."""
    from data_prep.files import replacing
    from graphrec.data import RecommendationData
    from graphrec.offline_rl.report import report
    from graphrec.recommender import Recommender

    names = [Path(folder).resolve().parent.name for folder in options.models]
    if len(set(names)) < len(names):
        raise ValueError(
            "two models lie in run folders of one name, which tables cannot tell apart; rename one"
        )
    data, judge = RecommendationData.load(options.data), Recommender.from_pretrained(options.judge)
    models = {
        name: Recommender.from_pretrained(folder) for name, folder in zip(names, options.models, strict=True)
    }
    chosen = EstimateOptions(
        **{field.name: getattr(options, field.name) for field in fields(EstimateOptions)}
    )
    found = report(models, data, judge, chosen)
    _print_reports(found)
    if options.out:
        content = {
            "task": data.manifest.hash,
            "options": asdict(chosen),
            "models": {name: _plain(one) for name, one in found.items()},
        }
        with replacing(Path(options.out)) as partial:
            partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


def offline_checks(options: argparse.Namespace) -> int:
    """``graphrec offline-checks``: 0 when all hold, 1 when one does not."""
    from rich.console import Console

    from graphrec.data import RecommendationData
    from graphrec.offline_rl.checks import check

    runs = [[Path(run) for run in getattr(options, name)] for name in ("full", "bare", "sqn")]
    found = check(RecommendationData.load(options.data), *runs, metric=options.metric)
    say = Console(highlight=False, soft_wrap=True)
    for one in found:
        say.print(f"{'holds' if one.holds else 'FAILS'}  {one.question}: {one.found}", markup=False)
    return 0 if all(one.holds for one in found) else 1


def _plain(one: PolicyReport) -> dict[str, Any]:
    metrics = {name: metric._asdict() for name, metric in one.metrics.items()}
    return {"metrics": metrics, "effective": one.effective, "clipped": one.clipped}


def _print_reports(found: Mapping[str, PolicyReport]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", *found)
    first = next(iter(found.values()))
    for name in first.metrics:
        shown = [one.metrics[name] for one in found.values()]
        table.add_row(
            name, *(f"{metric.value:.4f} ({metric.low:.4f} to {metric.high:.4f})" for metric in shown)
        )
    table.add_row("SNIPS rests on", *(f"{one.effective:.0f} events" for one in found.values()))
    table.add_row("SNIPS weights cut", *(f"{100 * one.clipped:.1f} %" for one in found.values()))
    Console(width=240 if not sys.stdout.isatty() else None).print(table)


RUN: dict[str, Callable[[argparse.Namespace], int]] = {
    "off-policy": off_policy,
    "offline-checks": offline_checks,
}
"""What runs each command."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two commands; 2 when its input has to be mended first."""
    parser = argparse.ArgumentParser(prog="python -m graphrec.offline_rl.commands")
    add_commands(parser.add_subparsers(dest="command", metavar="COMMAND", required=True))
    options = parser.parse_args(argv)
    try:
        return RUN[options.command](options)
    except (ValueError, OSError) as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
