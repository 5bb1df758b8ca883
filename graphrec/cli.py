"""The ``graphrec`` command. Libraries are imported by the command that needs them, so that help is quick."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it succeeded, 2 when its input has to be mended first."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except (ValueError, OSError) as error:
        print(f"graphrec {arguments.command}: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="graphrec", description="Recommenders and their evaluation.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    popular = commands.add_parser(
        "popular",
        help="evaluate the popularity baseline on an interaction log",
        description="Leave-one-out evaluation of the popularity baseline on an interaction log: the figure a "
        "trained recommender has to beat. The last interaction of each user is the target, the one before it "
        "is left to validation, the rest is counted. All items are ranked.",
    )
    popular.add_argument(
        "--interactions", type=Path, required=True, help=".csv, .tsv or .parquet with a header"
    )
    popular.add_argument("--user", required=True, metavar="COL", help="column of users")
    popular.add_argument("--item", required=True, metavar="COL", help="column of items")
    popular.add_argument("--time", required=True, metavar="COL", help="column of times: numbers or ISO dates")
    popular.add_argument("--separator", help="of a text file whose ending is neither .csv nor .tsv")
    popular.add_argument("-k", type=int, nargs="+", default=[10], help="list lengths (default: 10)")
    popular.add_argument("--offer-seen", action="store_true", help="also offer what the user has had already")
    popular.add_argument(
        "--ties",
        choices=["average", "against"],
        default="average",
        help="tied items get their mean rank, or the target the worst of them (default: average)",
    )
    popular.add_argument("--seed", type=int, default=0, help="of the bootstrap intervals (default: 0)")
    popular.set_defaults(run=run_popular)
    return parser


def run_popular(arguments: argparse.Namespace) -> int:
    """Read the log, rank every test target by popularity, print the table and what it rests on."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from graphrec.evaluation import leave_one_out, popularity_ranks, ranking_metrics
    from graphrec.interactions import read_interactions
    from moltc.bootstrap import Bootstrap

    log = read_interactions(
        arguments.interactions, arguments.user, arguments.item, arguments.time, separator=arguments.separator
    )
    split = leave_one_out(log.users, log.items)
    if len(split.targets) == 0:
        raise ValueError(
            f"no user of {arguments.interactions} has three interactions or more: nothing to evaluate"
        )
    ranks = popularity_ranks(split, log.num_items, exclude_seen=not arguments.offer_seen, ties=arguments.ties)
    metrics = ranking_metrics(ranks, arguments.k, bootstrap=Bootstrap(seed=arguments.seed))

    table = Table("metric", "value", "95 % interval", title=f"popularity on {arguments.interactions.name}")
    for name, metric in metrics.items():
        table.add_row(name, f"{metric.value:.4f}", f"{metric.low:.4f} to {metric.high:.4f}")
    console = Console()
    console.print(table)
    counted = len(split.train_items)
    notes = [
        f"{len(split.targets)} users tested, {log.num_items} items, {counted} interactions counted",
        f"{split.untested_users} users with fewer than three interactions: counted, not tested",
        f"{int(np.isinf(ranks).sum())} targets the user had had before: not offered, hence misses",
        f"{log.undecided_users} users whose last two interactions have the same time: taken in file order",
        f"{log.rejected} rows left out" + (f", the first: {log.first_reject}" if log.rejected else ""),
    ]
    for note in notes:
        console.print(note, highlight=False, soft_wrap=True)
    return 0
