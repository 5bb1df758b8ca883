"""``moltc answer``: one pair (or molecule) from the command line, or a file of them."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import polars as pl
from rich.console import Console

from data_prep.errors import DataError, Reject
from data_prep.molecules import parse
from data_prep.properties import PropertyTexts
from data_prep.tables import column_of, read_table
from moltc.backbone.checkpoint import CheckpointError
from moltc.predictor import PairAnswer, PairPredictor
from moltc.task import Task


class _Asked(NamedTuple):
    """What is asked: one or two SMILES each, and the query of each where the question needs one."""

    pairs: list[tuple[str, ...]]
    queries: list[str] | None


def answer_command(arguments: argparse.Namespace) -> int:
    """Run the command; 0 all answered, 1 some pairs could not be, 2 it could not start."""
    try:
        _check_options(arguments)
        predictor = PairPredictor.from_pretrained(arguments.model, arguments.device)
        task = predictor.task(arguments.task)
        asked = _from_file(arguments, task) if arguments.csv else _from_words(arguments, task)
        texts = PropertyTexts.from_csv(Path(arguments.properties)) if arguments.properties else None
        answers = predictor.predict(
            asked.pairs,
            task=task.name,
            queries=asked.queries,
            properties=texts,
            batch_size=arguments.batch_size,
            progress=len(asked.pairs) > arguments.batch_size,
        )
    except (CheckpointError, DataError, ValueError, OSError, RuntimeError) as error:
        print(f"moltc answer: {error}", file=sys.stderr)
        return 2
    if arguments.csv:
        return _write_answers(arguments, answers, asked.queries)
    _print_answer(task, arguments.query, answers[0])
    return 0 if answers[0].valid else 1


def _check_options(arguments: argparse.Namespace) -> None:
    """What can be said before the model is read."""
    if bool(arguments.csv) == bool(arguments.smiles):
        raise ValueError("give either two SMILES or --csv FILE")
    if arguments.smiles and (arguments.a or arguments.b or arguments.out or arguments.query_column):
        raise ValueError("--a, --b, --query-column and --out go with --csv")
    if arguments.query is not None and arguments.query_column:
        raise ValueError("--query asks the same of every row, --query-column has one for each: give one")
    if arguments.batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, not {arguments.batch_size}")
    if arguments.csv:
        _check_target(Path(arguments.csv), _target(arguments))


def _from_words(arguments: argparse.Namespace, task: Task) -> _Asked:
    """The SMILES of the command line."""
    given, wanted = len(arguments.smiles), len(task.kind.roles)
    if given != wanted:
        asked = "a pair has two SMILES" if wanted == 2 else f"{task.name} is about one molecule"
        raise ValueError(f"{asked}, {given} were given (quote each one)")
    return _Asked([tuple(arguments.smiles)], None if arguments.query is None else [arguments.query])


def _target(arguments: argparse.Namespace) -> Path:
    source = Path(arguments.csv)
    return Path(arguments.out) if arguments.out else source.with_name(f"{source.stem}.answers.csv")


def _check_target(source: Path, target: Path) -> None:
    """Before anything is computed: can the answers be written there?"""
    if target.resolve() == source.resolve():
        raise ValueError(f"--out {target} is the input; choose another file")
    if target.is_dir() or not target.parent.is_dir():
        raise ValueError(f"--out {target} cannot be written: name a file in a folder that exists")


def _from_file(arguments: argparse.Namespace, task: Task) -> _Asked:
    """The rows of a file: a column for each molecule, and one of queries where it is named."""
    path, wanted = Path(arguments.csv), len(task.kind.roles)
    if wanted == 1 and arguments.b:
        raise ValueError(f"{task.name} is about one molecule: leave --b out")
    frame = read_table(path).frame
    if len(frame.columns) < wanted:
        raise ValueError(f"{path} has {len(frame.columns)} column; a file of pairs needs two")
    first = frame.columns[:wanted]
    if not (arguments.a or arguments.b) and all(_is_molecule(name) for name in first):
        shown = " and ".join(repr(name) for name in first)
        raise ValueError(
            f"{path} seems to have no header: {shown} are molecules; name the columns in the first line"
        )
    names = [named or name for named, name in zip((arguments.a, arguments.b), first, strict=False)]
    pairs = list(zip(*(_cells(column_of(frame, name, path)) for name in names), strict=True))
    if arguments.query_column:
        return _Asked(pairs, _cells(column_of(frame, arguments.query_column, path)))
    return _Asked(pairs, None if arguments.query is None else [arguments.query] * len(pairs))


def _cells(column: pl.Series) -> list[str]:
    return ["" if cell is None else str(cell) for cell in column]


def _is_molecule(text: str) -> bool:
    return not isinstance(parse(text), Reject)


def _print_answer(task: Task, query: str | None, answer: PairAnswer) -> None:
    console = Console(highlight=False)
    if not answer.valid:
        for warning in answer.warnings:
            print(f"moltc answer: cannot answer: {warning}", file=sys.stderr)
        return
    console.print(task.kind.question(task.property, query), style="bold", markup=False)
    for title, smiles in zip(task.kind.role_titles, (answer.smiles_a, answer.smiles_b), strict=False):
        console.print(f"  {title}: {smiles}", markup=False)
    if answer.reasoning:
        console.print("Reasoning:")
        for line in answer.reasoning.splitlines():
            console.print(f"  {line}", markup=False)
    console.print(f"Answer: {answer.text}", markup=False)
    if answer.value is not None:
        margin = f", 90 % prediction interval ± {answer.margin:.2f}" if answer.margin is not None else ""
        console.print(f"  {answer.value:+.2f} {answer.unit}{margin}", markup=False)
    if answer.probability is not None:
        of = " of yes" if task.kind.kind == "binary" else ""
        console.print(f"  probability{of}: {answer.probability:.3f}", markup=False)
    if task.computed:
        console.print(
            "[yellow]The model was trained on computed data: "
            "it shows the software, it knows no chemistry.[/yellow]"
        )
    for warning in answer.warnings:
        console.print(f"[yellow]note:[/yellow] {warning}")


def _write_answers(
    arguments: argparse.Namespace, answers: Sequence[PairAnswer], queries: Sequence[str] | None
) -> int:
    target = _target(arguments)
    names = [f.name for f in fields(PairAnswer)]
    unfinished = target.with_name(f".{target.name}.part")
    with unfinished.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, ["row", *([] if queries is None else ["query"]), *names])
        writer.writeheader()
        for row, answer in enumerate(answers):
            record = {"row": row} | {name: getattr(answer, name) for name in names}
            if queries is not None:
                record["query"] = queries[row]
            record["interval"] = (
                "" if answer.interval is None else f"{answer.interval[0]} to {answer.interval[1]}"
            )
            record["warnings"] = "; ".join(answer.warnings)
            writer.writerow({name: "" if value is None else value for name, value in record.items()})
    unfinished.replace(target)
    bad = [(row, answer) for row, answer in enumerate(answers) if not answer.valid]
    for row, answer in bad[:20]:
        print(f"row {row}: {'; '.join(answer.warnings)}", file=sys.stderr)
    if len(bad) > 20:
        print(f"... and {len(bad) - 20} more rows, see the column warnings", file=sys.stderr)
    print(f"{len(answers) - len(bad)} of {len(answers)} pairs answered: {target}")
    return 1 if bad else 0
