"""``graphrec interpret``: what a saved interpreter reads out of states, beside controls that read nothing.

Libraries are imported when the command runs, so that help is quick.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

Commands = Any
"""What ``argparse`` calls a group of sub-commands."""


def add_interpret_command(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "interpret",
        help="what a language model reads out of a recommender's states",
        description="Ask a saved interpreter to list histories from the recommender's states, to name what "
        "was added between two, and to name DreamRec's oracle items; beside another user's states and "
        "popular titles, with intervals.",
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="saved model, e.g. runs/mine/export")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="folder written by data-prep")
    parser.add_argument("--split", choices=["valid", "test"], default="test")
    parser.add_argument("--rows", type=int, metavar="N", help="read so many rows, drawn (default: all)")
    parser.add_argument(
        "--candidates",
        type=int,
        default=20,
        metavar="C",
        help="that the added item is chosen from, where the data have no lists (default: 20)",
    )
    parser.add_argument("--out", metavar="FOLDER", help="where the report goes (default: beside the model)")
    parser.add_argument("--label", help="what the report calls the model (default: its name)")
    parser.add_argument("--seed", type=int, default=0, help="of draws and intervals (default: 0)")


def run(options: argparse.Namespace) -> int:
    """Study a saved interpreter and write its report."""
    from rich.console import Console

    from graphrec.data import RecommendationData
    from graphrec.dreamrec.recommender import DreamRec
    from graphrec.recinterpreter.oracle_study import oracle_study
    from graphrec.recinterpreter.recommender import RecInterpreter
    from graphrec.recinterpreter.report import PAGE, InterpreterReport
    from graphrec.recinterpreter.study import StudyOptions, study
    from graphrec.results import check_catalogue
    from moltc.backbone.bootstrap import Bootstrap

    if options.rows is not None and options.rows < 2:
        raise ValueError(f"--rows {options.rows} is too few to read one by another's states: give 2 or more")
    chosen = StudyOptions(
        options.split, options.rows, options.candidates, options.seed, Bootstrap(seed=options.seed)
    )
    model, data = RecInterpreter.from_pretrained(options.model), RecommendationData.load(options.data)
    check_catalogue(model, data)
    assert model.source is not None
    reads_oracles = isinstance(model.source, DreamRec) and {"item", "residual"} & set(model.config.tasks)
    report = InterpreterReport(
        options.label or model.name,
        model.source.name,
        data.manifest,
        chosen,
        model.titles,
        study(model, data, chosen),
        oracle_study(model, data, chosen) if reads_oracles else None,
    )
    folder = Path(options.out) if options.out else Path(options.model).parent / "interpret"
    report.write(folder)
    console = Console(highlight=False, soft_wrap=True)
    console.print((folder / PAGE).read_text(encoding="utf-8"), markup=False)
    console.print(f"report: {folder}", markup=False)
    return 0
