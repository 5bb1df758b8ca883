"""``moltc fit | validate | test | predict``: every option in YAML, the resolved configuration saved with the
run.

A run lives in one folder, ``trainer.default_root_dir``: logs/version_N/ (config.yaml, metrics.csv; a number
for each start), checkpoints/, test/ (metrics, plots, report.html, pairs.html), export/ (the model for
:class:`moltc.PairPredictor`) and, where it is tracked, wandb/.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from moltc.backbone.run_cli import RunCLI, run_cli
from moltc.data import PairDataModule
from moltc.drawings import chosen_pairs, describe, write_pairs_page
from moltc.evaluate import Evaluation, evaluate
from moltc.model import MolTC
from moltc.module import PairModule
from moltc.ranks import all_ranks
from moltc.shards import FOLDER, PredictionShards
from moltc.strategies import check_parallel
from moltc.tracking import RunTracker, WandbConfig


class PairCLI(RunCLI):
    """The command line of :class:`moltc.module.PairModule`."""

    program = "moltc"
    examples = "pairs"
    unvalidated = "no answers were validated in this run's folder: its last weights are tested"
    tracker: RunTracker | None

    def add_arguments_to_parser(self, parser: Any) -> None:
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--fingerprint_baselines",
            type=bool,
            default=True,
            help="train the fingerprint baselines beside a test (minutes)",
        )
        parser.add_argument(
            "--drawn_pairs",
            type=int,
            default=200,
            help="test pairs shown with drawn molecules (test/pairs.html, W&B table); 0: none",
        )

    def check_options(self, trainer: Any) -> None:
        check_parallel(trainer.strategy, trainer.sync_batchnorm)
        if self.option("drawn_pairs") < 0:
            raise ValueError("drawn_pairs must be 0 or a number of pairs")

    def new_tracker(self, config: WandbConfig, root: Path, run_id: str | None) -> RunTracker:
        return RunTracker(config, root, run_id)

    def watchers(self, root: Path) -> Sequence[Callback]:
        self.shards = PredictionShards(root / FOLDER)
        return [self.shards]

    def after_fit(self) -> None:
        """Take the best validated weights (the last if none was validated), answer the test split, export."""
        if not self.finished():
            return
        self.trainer.test(self.model, self.datamodule, ckpt_path=self.best_weights(), verbose=False)
        found = self.after_test()
        export = self.root / "export"
        plain = {name: results.plain() for name, results in (found or {}).items()}
        self.model.export(export, plain if len(plain) > 1 else next(iter(plain.values()), None))
        if found is None:
            return
        self.log_export(export)
        say = Console(highlight=False)
        say.print(
            f"model:  {export}\nask it: moltc answer --model {export} {_asked(self.model.moltc)}",
            markup=False,
        )

    def after_test(self) -> dict[str, Evaluation] | None:
        """Write the results of a test run, by task; only the first process does."""
        if not self.trainer.is_global_zero:
            return None
        folder = self.root / "test"
        for plot in folder.rglob("*.png"):  # of an earlier test
            plot.unlink()
        found = evaluate(
            self.model,
            folder,
            fingerprint_baselines=self._get(self.config, "fingerprint_baselines"),
            logs=self.lineage.training_logs(),
            seed=self.model.seed,
        )
        for name, results in found.items():
            Console(highlight=False).print(f"report: {results.page}", markup=False)
            self._keep(results, name if len(found) > 1 else "")
        return found

    def _keep(self, results: Evaluation, task: str) -> None:
        """Draw test pairs of a task, and give its results to the tracker."""
        folder, count = results.page.parent, self._get(self.config, "drawn_pairs")
        if self.tracker:
            plots = sorted(folder.glob("*.png"))
            self.tracker.log_results(results.metrics, results.rows, plots, task)
        if not count:
            return
        answered = pl.read_parquet(folder / "predictions.parquet")
        pairs = chosen_pairs(answered, count, self.model.seed)
        note = describe(pairs, answered.height)
        if self.tracker:
            self.tracker.log_pairs(pairs, note, task)
        title = f"{task or self.root.resolve().name}: test pairs"
        page = write_pairs_page(folder / "pairs.html", pairs, title=title, notes=[note])
        Console(highlight=False).print(f"pairs:  {page}", markup=False)

    def predict(self, *args: Any, **kwargs: Any) -> None:
        """Answer a split and write ``predictions/``, a shard for each process (:mod:`moltc.shards`)."""
        self.trainer.predict(*args, **kwargs | {"return_predictions": False})
        written = sum(all_ranks([self.shards.written]))
        if not self.trainer.is_global_zero:
            return
        say = Console(highlight=False)
        say.print(f"{written} answers: {self.shards.folder}/part-*.parquet", markup=False)
        if any(task.kind.kind in ("binary", "class") for task in self.model.moltc.tasks):
            say.print("their probabilities are not calibrated; those of an exported model are (moltc answer)")


def _asked(model: MolTC) -> str:
    """What ``moltc answer`` needs beside the model, for its first task."""
    task = model.tasks[0]
    words = ["SMILES"] * len(task.kind.roles)
    if "{query}" in task.kind.question_template(task.property):
        words.append("--query TEXT")
    if len(model.tasks) > 1:
        words.append(f"--task {task.name}")
    return " ".join(words)


def run(command: str, arguments: Sequence[str] | None = None) -> int:
    """Run one Lightning command (``arguments`` default to the process's own); user errors are one line."""
    return run_cli(PairCLI, (PairModule, PairDataModule), command, arguments)
