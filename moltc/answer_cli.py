"""``moltc answer``: one pair from the command line, or a file of pairs."""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import fields
from pathlib import Path

from rich.console import Console

from data_prep.errors import DataError, Reject
from data_prep.molecules import parse
from data_prep.properties import PropertyTexts
from data_prep.tables import column_of, read_table
from moltc.backbone.checkpoint import CheckpointError
from moltc.predictor import PairAnswer, PairPredictor


def answer_command(arguments: argparse.Namespace) -> int:
    """Run the command; 0 all answered, 1 some pairs could not be, 2 it could not start."""
    try:
        if bool(arguments.csv) == bool(arguments.smiles):
            raise ValueError("give either two SMILES or --csv FILE")
        if arguments.smiles and len(arguments.smiles) != 2:
            raise ValueError(f"a pair has two SMILES, {len(arguments.smiles)} were given (quote each one)")
        if arguments.smiles and (arguments.a or arguments.b or arguments.out):
            raise ValueError("--a, --b and --out go with --csv")
        if arguments.batch_size < 1:
            raise ValueError(f"--batch-size must be at least 1, not {arguments.batch_size}")
        if arguments.csv:
            _check_target(Path(arguments.csv), _target(arguments))
        pairs = _read_pairs(arguments) if arguments.csv else [tuple(arguments.smiles)]
        predictor = PairPredictor.from_pretrained(arguments.model, arguments.device)
        texts = PropertyTexts.from_csv(Path(arguments.properties)) if arguments.properties else None
        many = len(pairs) > arguments.batch_size
        answers = predictor.predict(pairs, properties=texts, batch_size=arguments.batch_size, progress=many)
    except (CheckpointError, DataError, ValueError, OSError, RuntimeError) as error:
        print(f"moltc answer: {error}", file=sys.stderr)
        return 2
    if arguments.csv:
        return _write_answers(arguments, answers)
    _print_answer(predictor, answers[0])
    return 0 if answers[0].valid else 1


def _target(arguments: argparse.Namespace) -> Path:
    source = Path(arguments.csv)
    return Path(arguments.out) if arguments.out else source.with_name(f"{source.stem}.answers.csv")


def _check_target(source: Path, target: Path) -> None:
    """Before anything is computed: can the answers be written there?"""
    if target.resolve() == source.resolve():
        raise ValueError(f"--out {target} is the input; choose another file")
    if target.is_dir() or not target.parent.is_dir():
        raise ValueError(f"--out {target} cannot be written: name a file in a folder that exists")


def _read_pairs(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    path = Path(arguments.csv)
    frame = read_table(path).frame
    if len(frame.columns) < 2:
        raise ValueError(f"{path} has {len(frame.columns)} column; a file of pairs needs two")
    if not (arguments.a or arguments.b) and all(_is_molecule(name) for name in frame.columns[:2]):
        raise ValueError(
            f"{path} seems to have no header: {frame.columns[0]!r} and {frame.columns[1]!r} are molecules; "
            "name the columns in the first line"
        )
    first, second = arguments.a or frame.columns[0], arguments.b or frame.columns[1]
    columns = (column_of(frame, name, path).to_list() for name in (first, second))
    return [("" if a is None else str(a), "" if b is None else str(b)) for a, b in zip(*columns, strict=True)]


def _is_molecule(text: str) -> bool:
    return not isinstance(parse(text), Reject)


def _print_answer(predictor: PairPredictor, answer: PairAnswer) -> None:
    console = Console(highlight=False)
    task = predictor.model.task
    if not answer.valid:
        for warning in answer.warnings:
            print(f"moltc answer: cannot answer: {warning}", file=sys.stderr)
        return
    console.print(f"[bold]{predictor.question}[/bold]")
    for title, smiles in zip(task.kind.role_titles, (answer.smiles_a, answer.smiles_b), strict=True):
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
        console.print(f"  probability of yes: {answer.probability:.3f}", markup=False)
    if task.computed:
        console.print(
            "[yellow]The model was trained on computed data: "
            "it shows the software, it knows no chemistry.[/yellow]"
        )
    for warning in answer.warnings:
        console.print(f"[yellow]note:[/yellow] {warning}")


def _write_answers(arguments: argparse.Namespace, answers: list[PairAnswer]) -> int:
    target = _target(arguments)
    names = ["row", *(f.name for f in fields(PairAnswer))]
    unfinished = target.with_name(f".{target.name}.part")
    with unfinished.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, names)
        writer.writeheader()
        for row, answer in enumerate(answers):
            record = {name: getattr(answer, name) for name in names[1:]}
            record["interval"] = (
                "" if answer.interval is None else f"{answer.interval[0]} to {answer.interval[1]}"
            )
            record["warnings"] = "; ".join(answer.warnings)
            writer.writerow({"row": row, **{k: "" if v is None else v for k, v in record.items()}})
    unfinished.replace(target)
    bad = [(row, answer) for row, answer in enumerate(answers) if not answer.valid]
    for row, answer in bad[:20]:
        print(f"row {row}: {'; '.join(answer.warnings)}", file=sys.stderr)
    if len(bad) > 20:
        print(f"... and {len(bad) - 20} more rows, see the column warnings", file=sys.stderr)
    print(f"{len(answers) - len(bad)} of {len(answers)} pairs answered: {target}")
    return 1 if bad else 0
