"""``graphrec answers``: what a saved language-model recommender writes and chooses, row by row.

Libraries are imported when the command runs, so that help is quick.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

Commands = Any
"""What ``argparse`` calls a group of sub-commands."""
NAMES = ("greedy", "constrained", "loglik", "loglik-mean", "full-catalogue")


def add_answers_command(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "answers",
        help="answers of a language-model recommender among candidates, with controls",
        description="Ask a saved language-model recommender about every row: free answers with ValidRatio "
        "and HitRatio@1 under two matchers, answers under a trie, the likeliest candidate; beside them "
        "position rules and what the model says without a history. Writes a table of histories, candidates "
        "and answers.",
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="saved model, e.g. runs/mine/export")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="folder written by data-prep")
    parser.add_argument("--split", choices=["valid", "test"], default="test")
    parser.add_argument("--draw", type=int, default=0, help="whose candidates are shown (default: 0)")
    parser.add_argument(
        "--evaluators", nargs="+", choices=NAMES, default=list(NAMES), help="how it is asked (default: all)"
    )
    parser.add_argument("--out", metavar="FOLDER", help="where the report goes (default: beside the model)")
    parser.add_argument("--label", help="what the report calls the model (default: its name)")
    parser.add_argument("--seed", type=int, default=0, help="of intervals and orders (default: 0)")


def run(options: argparse.Namespace) -> int:
    """``graphrec answers``."""
    from rich.console import Console

    from graphrec.data import RecommendationData
    from graphrec.language.recommender import LanguageRecommender
    from graphrec.llara.report import answer_report
    from moltc.backbone.bootstrap import Bootstrap

    model = LanguageRecommender.from_pretrained(options.model)
    report = answer_report(
        model,
        RecommendationData.load(options.data),
        options.split,
        evaluators=options.evaluators,
        draw=options.draw,
        label=options.label,
        reads_lists=model.reads_lists,
        bootstrap=Bootstrap(seed=options.seed),
    )
    folder = Path(options.out) if options.out else Path(options.model).parent / f"answers_{options.split}"
    report.save(folder)
    say = Console(highlight=False, width=240)
    say.print(report.markdown(), markup=False)
    say.print(f"answers: {folder}", markup=False)
    return 0
