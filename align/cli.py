"""The ``align`` command: ``fit | validate | test | predict`` (LightningCLI), ``score`` and ``study``.

Libraries are imported by the command that needs them, so that help is quick.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from moltc.backbone.command_line import LIGHTNING


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it succeeded, 1 when some rows were refused, 2 when it could not start."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given and given[0] in LIGHTNING:
        from align.lightning_cli import run

        return run(given[0], argv)
    arguments = _parser().parse_args(given)
    try:
        return arguments.run(arguments)
    except (ValueError, OSError) as error:
        print(f"align {arguments.command}: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="align", description="Preference optimisation of language models.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, words in (
        ("fit", "train, test and export: align fit --config configs/align/dpo.yaml --data.folder DIR"),
        ("validate", "loss and rewards on the valid split"),
        ("test", "the same on the test split, with intervals, plots and a report page"),
        ("predict", "score the test split; writes predictions.parquet"),
    ):
        commands.add_parser(name, help=words, add_help=False)
    score = commands.add_parser(
        "score",
        help="log-probabilities of completions",
        description="Sum of token log-probabilities and number of tokens of each completion in a JSONL file. "
        'A row is {"prompt", "chosen", "rejected"} or {"prompt", "completions": [...]}; one line of scores '
        "is written for each row, in the same order. A molecular model is asked by objects: "
        '{"prompt": {"a": "CCO", "b": "O"}, ...}. Rows that cannot be scored are named and left out, and '
        "the exit status is then 1.",
    )
    score.add_argument(
        "--model", required=True, metavar="DIR_OR_ID", help="exported model, or Hugging Face folder or id"
    )
    score.add_argument("--input", type=Path, required=True, metavar="FILE", help="JSONL file to read")
    score.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSONL file to write")
    score.add_argument(
        "--reference",
        metavar="DIR_OR_ID",
        help="adds ref_logps and the implicit rewards: beta times the difference to this model's scores",
    )
    score.add_argument("--beta", type=float, help="of the implicit rewards (default: 0.1)")
    score.add_argument("--batch-tokens", type=int, default=8192, help="tokens of one pass (default: 8192)")
    score.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"])
    score.add_argument("--device", default="auto", help="cpu, cuda, ... (default: a GPU where there is one)")
    score.set_defaults(run=run_score)
    study = commands.add_parser(
        "study",
        help="many losses from one start: trains what is missing, prints the tables",
        description="Trains every method of a study, on clean and on turned preferences, under each seed "
        "from the start of that seed, and prints tables of the held-out examples with intervals. A study "
        "that was interrupted goes on with the first training that is missing.",
    )
    study.add_argument(
        "config", type=Path, metavar="CONFIG", help="YAML, e.g. configs/align/studies/hh_rlhf.yaml"
    )
    study.add_argument(
        "--tables", action="store_true", help="train nothing: the tables of what there is already"
    )
    study.set_defaults(run=run_study)
    return parser


def run_score(arguments: argparse.Namespace) -> int:
    """Score a file; the result appears under its name only when it is whole."""
    import json

    import torch
    from rich.console import Console
    from rich.progress import track

    from align.scorers import check_same_tokens, load_scorer, with_rewards
    from align.scoring import Refusal, read_rows
    from data_prep.files import replacing

    if arguments.out.resolve() == arguments.input.resolve():
        raise ValueError(f"--out {arguments.out} is the input; choose another file")
    if arguments.beta is not None and arguments.reference is None:
        raise ValueError("--beta scales implicit rewards, which need a --reference")
    rows, refused = read_rows(arguments.input)
    if not rows and not refused:
        raise ValueError(f"{arguments.input} holds no row")
    device = arguments.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    scorer = load_scorer(arguments.model, dtype=arguments.dtype, device=device)
    results: Iterator[Any] = scorer.score(rows, batch_tokens=arguments.batch_tokens)
    if arguments.reference is not None:
        reference = load_scorer(arguments.reference, dtype=arguments.dtype, device=device)
        check_same_tokens(scorer.model, reference.model)
        beta = 0.1 if arguments.beta is None else arguments.beta
        results = with_rewards(results, reference.score(rows, batch_tokens=arguments.batch_tokens), beta=beta)
    console = Console(stderr=True)
    scored = 0
    with replacing(arguments.out) as partial, partial.open("w", encoding="utf-8") as out:
        for result in track(results, "scoring", len(rows), console=console, disable=not console.is_terminal):
            if isinstance(result, Refusal):
                refused.append(result)
            else:
                out.write(json.dumps(result._asdict()) + "\n")
                scored += 1
    for refusal in sorted(refused):
        print(f"{arguments.input}:{refusal.line}: {refusal.reason}", file=sys.stderr)
    print(f"{scored} rows scored, {len(refused)} refused; written to {arguments.out}")
    return 1 if refused else 0


def run_study(arguments: argparse.Namespace) -> int:
    """Train what a study lacks, then print its tables, which are also kept in its folder."""
    from align.study import StudyConfig
    from align.study_run import StudyRun, quietly
    from align.study_table import StudyTables
    from data_prep.files import replacing

    study = StudyRun(StudyConfig.load(arguments.config))
    missing = [] if arguments.tables else study.missing()
    with quietly():
        for number, cell in enumerate(missing, start=1):
            line = study.train(cell)
            accuracy, seconds = line["results"]["accuracy"], line["seconds"]
            print(f"{number}/{len(missing)} {cell}: accuracy {accuracy:.3f}, {seconds:.0f} s", flush=True)
    tables = StudyTables(study).markdown()
    with replacing(study.root / f"{arguments.config.stem}.md") as partial:
        partial.write_text(tables, encoding="utf-8")
    print(tables, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
