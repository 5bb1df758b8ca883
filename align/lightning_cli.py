"""``align fit | validate | test | predict``: every option in YAML, the resolved configuration saved with the
run.

A run lives in one folder, ``trainer.default_root_dir``: logs/version_N/ (config.yaml, metrics.csv; a number
for each start), checkpoints/, reference/ (cached log-probabilities), samples/ and margins/ (one file for each
validation), test/ (results.json, report.html, plots), export/ (the model, for ``align score``,
``model.start_from`` and others) and, where it is tracked, wandb/.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.table import Table

from align.data import PreferenceDataModule
from align.module import PreferenceModule
from align.plots import margin_histogram
from align.predictions import write_predictions
from align.report import format_metric, plot_curves, read_curves, write_report
from align.results import held_out_results
from align.training import MarginHistograms, Samples, reward_margins
from moltc.backbone.run_cli import RunCLI, run_cli
from moltc.backbone.tracking import RunTracker, WandbConfig


class PreferenceCLI(RunCLI):
    """The command line of :class:`align.module.PreferenceModule`."""

    program = "align"
    better = "a lower loss"

    def add_arguments_to_parser(self, parser: Any) -> None:
        super().add_arguments_to_parser(parser)
        parser.link_arguments("model.loss.method", "data.targets_only", compute_fn=_imitates)
        parser.add_argument(
            "--samples",
            type=int,
            default=4,
            help="validation prompts answered greedily at each validation (samples/step-N.jsonl); 0: none",
        )
        parser.add_argument("--sample_tokens", type=int, default=64, help="longest such answer")

    def new_tracker(self, config: WandbConfig, root: Path, run_id: str | None) -> RunTracker:
        return RunTracker(config, root, run_id, project="align")

    def watchers(self, root: Path) -> Sequence[Callback]:
        samples = Samples(root / "samples", self.option("samples"), self.option("sample_tokens"))
        return [samples, MarginHistograms(root / "margins")]

    def after_fit(self) -> None:
        """Take the best validated weights (the last if none was validated), test them, export."""
        if not self.finished():
            return
        say, path = Console(highlight=False), self.best_weights()
        if self.datamodule.table.sizes().get("test"):
            self.trainer.test(self.model, self.datamodule, ckpt_path=path, verbose=False)
            self.after_test()
        else:
            say.print("there is no test split: nothing is tested")
            if path is not None:
                self.trainer.validate(self.model, self.datamodule, ckpt_path=path, verbose=False)
        if self.trainer.is_global_zero:
            export = self.root / "export"
            self.model.export(export)
            self.log_export(export)
            say.print(f"model:  {export}", markup=False)

    def need_weights(self) -> None:
        if not self._get(self.config, "ckpt_path") and self.model.start_from is None:
            raise ValueError(
                f"which weights? add --ckpt_path, e.g. {self.best_checkpoint}, or --model.start_from"
            )

    def after_test(self) -> None:
        """Write the results of a test run; only the first process does."""
        if not self.trainer.is_global_zero:
            return
        output, folder = self.model.evaluated, self.root / "test"
        results = held_out_results(output, seed=self.model.seed)
        pictures = plot_curves(folder, read_curves(self.lineage.training_logs()))
        margins = reward_margins(output)
        if len(margins):
            title = "reward margins, test split"
            pictures["test margins"] = margin_histogram(folder / "margins.png", margins, title=title)
        method, count = self.model.loss_config.method, len(output.batch)
        page = write_report(
            folder,
            title=f"{method} on {self.datamodule.folder}: test split ({count} examples)",
            results=results,
            pictures=pictures,
            samples=self._last_samples(),
            notes=[f"optimiser steps skipped as not finite: {self.model.skipped_steps}"],
        )
        if self.tracker:
            self.tracker.log_results(results, {}, sorted(pictures.values()))
        table = Table("", "mean", "95 % interval")
        for name, metric in results.items():
            table.add_row(name, *format_metric(metric))
        Console().print(table)
        Console(highlight=False).print(f"report: {page}", markup=False)

    def _last_samples(self) -> list[dict[str, Any]]:
        """Replies written at the last validation."""
        files = sorted((self.root / "samples").glob("step-*.jsonl"), key=lambda file: int(file.stem[5:]))
        return [json.loads(line) for line in files[-1].read_text("utf-8").splitlines()] if files else []

    def predict(self, *args: Any, **kwargs: Any) -> None:
        """Score the test split and write ``predictions.parquet``."""
        scored: Any = self.trainer.predict(*args, **kwargs) or []
        path = write_predictions(self.root / "predictions.parquet", scored, self.model)
        if path is not None:
            Console(highlight=False).print(f"scores: {path}", markup=False)


def _imitates(method: str) -> bool:
    """Whether a method reads the chosen completions alone."""
    return method == "sft"


def run(command: str, arguments: Sequence[str] | None = None) -> int:
    """Run one Lightning command (``arguments`` default to the process's own); user errors are one line."""
    quiet = (
        ".*recommended to use `self.log",  # logged values are global
        "Found .* in eval mode",  # training without dropout
    )

    parts = (PreferenceModule, PreferenceDataModule)
    return run_cli(PreferenceCLI, parts, command, arguments, quiet=quiet)
