"""The demo: a small computed data set, a tiny model trained with chain of thought, answers, and where
everything lies."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

CONFIG = Path(__file__).parents[1] / "configs" / "moltc" / "demo.yaml"
SHOWN = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="folder of the run (default: runs/demo)"
    )
    out = parser.parse_args(argv).out
    if not CONFIG.is_file():
        print(f"the demo needs {CONFIG}: run it from a checkout of the project", file=sys.stderr)
        return 2

    from rich.console import Console

    from data_prep.demo import build_demo
    from moltc.lightning_cli import run

    console, started = Console(highlight=False), time.perf_counter()
    console.rule("1. data: computed by a formula, not measured")
    build_demo(out / "data")
    console.rule("2. training: first what each molecule is like, then the interval, then the number")
    options = [
        "--config",
        str(CONFIG),
        "--trainer.default_root_dir",
        str(out),
        "--data.folder",
        str(out / "data"),
    ]
    status = run("fit", ["fit", *options])
    if status:
        return status
    console.rule("3. answers to pairs of the test split (computed data)")
    show_answers(out, console)
    console.rule("4. where things lie")
    for name, path in (
        ("report with plots", out / "test" / "report.html"),
        ("data report", out / "data" / "report.html"),
        ("predictions", out / "test" / "predictions.parquet"),
        ("saved model", out / "export"),
    ):
        console.print(f"{name + ':':<20}{path}", markup=False, soft_wrap=True)
    console.print(
        f"\nAsk it about another pair:\n  .venv/bin/moltc answer --model {out / 'export'} 'CCOC(C)=O' 'CCO'",
        markup=False,
    )
    console.print(f"[dim]{time.perf_counter() - started:.0f} s[/dim]")
    return 0


def show_answers(out: Path, console: object) -> None:
    """Print a few answered test pairs with interval, truth and reasoning, asked again through the saved
    model."""
    import polars as pl
    from rich.console import Console

    from moltc.predictor import PairPredictor

    assert isinstance(console, Console)
    frame = pl.read_parquet(out / "test" / "predictions.parquet")
    step = max(1, frame.height // SHOWN)
    frame = frame.gather_every(step).head(SHOWN)
    predictor = PairPredictor.from_pretrained(out / "export")
    answers = predictor.predict(list(zip(frame["smiles_a"], frame["smiles_b"], strict=True)))
    console.print(f"[bold]{predictor.question}[/bold]")
    for answer, truth in zip(answers, frame["truth"], strict=True):
        low, high = answer.interval or (float("nan"), float("nan"))
        console.print(f"\n{answer.smiles_a} in {answer.smiles_b}", style="bold", markup=False)
        for line in [*answer.reasoning.splitlines(), answer.text]:
            console.print(f"  {line}", markup=False, soft_wrap=True)
        console.print(
            f"  interval {low:+.1f} to {high:+.1f}, computed truth {truth:+.2f} {answer.unit}", markup=False
        )


if __name__ == "__main__":
    sys.exit(main())
