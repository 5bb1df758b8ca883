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
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import lightning
import yaml
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.cli import LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from rich.console import Console
from rich.table import Table

from align.cli import LIGHTNING
from align.data import PreferenceDataModule
from align.module import PreferenceModule
from align.plots import margin_histogram
from align.predictions import write_predictions
from align.report import format_metric, plot_curves, read_curves, write_report
from align.results import held_out_results
from align.training import MarginHistograms, Samples, reward_margins
from data_prep.errors import DataError
from moltc.backbone.checkpoint import CheckpointError
from moltc.backbone.command_line import TRAINER_DEFAULTS, chosen_seed, run_quietly
from moltc.backbone.lineage import Lineage
from moltc.backbone.selection import BestCheckpoint, StopEarly
from moltc.backbone.tracking import RunTracker, WandbConfig
from moltc.backbone.training import AtomicCheckpointIO, LastCheckpoint

USER_ERRORS = (CheckpointError, DataError, ValueError, OSError, MisconfigurationException)


class TrackedConfig(SaveConfigCallback):
    """Saves the resolved configuration with the run; a tracker gets it too, and the report of the data."""

    def save_config(self, trainer: Any, pl_module: Any, stage: str) -> None:
        tracker = next((logger for logger in trainer.loggers if isinstance(logger, RunTracker)), None)
        if tracker is None or stage == "predict":
            return
        tracker.log_hyperparams(yaml.safe_load(self.parser.dump(self.config, skip_none=False)))
        report = Path(self.config.data.folder) / "report.json"
        if report.is_file():
            tracker.log_artifact(report, name=f"data-report-{report.parent.name}", kind="data-report")


class PreferenceCLI(LightningCLI):
    """The command line of :class:`align.module.PreferenceModule`."""

    def add_arguments_to_parser(self, parser: Any) -> None:
        parser.link_arguments("seed_everything", "model.seed", compute_fn=chosen_seed)  # one seed for all
        parser.link_arguments("seed_everything", "data.seed", compute_fn=chosen_seed)
        parser.link_arguments("model.loss.method", "data.targets_only", compute_fn=_imitates)
        parser.add_argument(
            "--checkpoint_every",
            type=int,
            default=200,
            help="steps between resume checkpoints within an epoch; 0: at epoch ends only",
        )
        parser.add_argument(
            "--early_stopping",
            type=int,
            default=0,
            help="stop after so many validations without a lower loss; 0: never",
        )
        parser.add_argument(
            "--samples",
            type=int,
            default=4,
            help="validation prompts answered greedily at each validation (samples/step-N.jsonl); 0: none",
        )
        parser.add_argument("--sample_tokens", type=int, default=64, help="longest such answer")
        parser.add_argument(
            "--tracking",
            type=Literal["none", "wandb"],
            default="none",
            help="wandb: keep the run on Weights & Biases too, offline where no API key is found",
        )
        parser.add_class_arguments(WandbConfig, "wandb")

    def _parse_ckpt_path(self) -> None:
        """Checkpoints hold no options here; they are read, and checked, when they are loaded."""

    @property
    def root(self) -> Path:
        """The run's folder."""
        return Path(self.trainer.default_root_dir)

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        config = self._get(self.config_init, "trainer")
        root = Path(config.default_root_dir or "runs/align")
        limit = config.limit_test_batches
        if isinstance(limit, int) or limit not in (None, 1.0):  # the integer 1 means one batch
            raise ValueError("limit_test_batches would leave examples out of the results: leave it out")
        self.lineage = Lineage(root, self._get(self.config_init, "ckpt_path"))
        self.tracker = self._tracker(root)
        plugins = config.plugins or []
        bar = [RichProgressBar()] if config.enable_progress_bar is not False else []
        ours = {
            "default_root_dir": str(root),
            "logger": self._loggers(root, config.logger),
            "plugins": [*(plugins if isinstance(plugins, list) else [plugins]), AtomicCheckpointIO()],
            "callbacks": [*(config.callbacks or []), *self._callbacks(root, config.limit_val_batches), *bar],
            "use_distributed_sampler": False,  # the data module shares batches out itself
        }
        return super().instantiate_trainer(**(ours | kwargs))

    def _tracker(self, root: Path) -> RunTracker | None:
        """The W&B run of this start, if it is tracked: its checkpoint's, or a new one."""
        config: WandbConfig = self._get(self.config_init, "wandb")
        if self._get(self.config_init, "tracking") == "none":
            if config != WandbConfig():
                raise ValueError("the wandb options need --tracking wandb; add it, or leave them out")
            return None
        tracker = RunTracker(config, root, self.lineage.run_id, project="align")
        if tracker.mode == "disabled":
            return None
        self.lineage.run_id = tracker.run_id
        return tracker

    def _loggers(self, root: Path, given: Any) -> Any:
        """The configured loggers, metrics.csv if none, and the tracker beside them."""
        if given is None or (self.tracker and given is True):
            given = CSVLogger(root, name="logs")
        if self.tracker is None:
            return given
        others = [] if given is False else given if isinstance(given, list) else [given]
        return [*others, self.tracker]

    def _run_subcommand(self, subcommand: str) -> None:
        with self.tracker or nullcontext():
            super()._run_subcommand(subcommand)

    def _callbacks(self, root: Path, validated: int | float | None) -> list[Any]:
        """What watches, keeps and ends a run; the resume checkpoint is written when all others are done."""
        patience = self._get(self.config_init, "early_stopping")
        if patience and validated == 0:
            raise ValueError("early_stopping needs validations: leave limit_val_batches out")
        self.stopping = StopEarly(patience) if patience else None
        every, folder = self._get(self.config_init, "checkpoint_every"), root / "checkpoints"
        count, tokens = (self._get(self.config_init, name) for name in ("samples", "sample_tokens"))
        return [
            self.lineage,
            Samples(root / "samples", count, tokens),
            MarginHistograms(root / "margins"),
            *filter(None, [self.stopping]),
            BestCheckpoint(folder),
            LastCheckpoint(folder / "last.ckpt", every),
        ]

    def after_fit(self) -> None:
        """Take the best validated weights (the last if none was validated), test them, export."""
        if self.trainer.interrupted or getattr(self.trainer, "fast_dev_run", False):
            return
        say = Console(highlight=False)
        if self.stopping and self.stopping.told:
            say.print(self.stopping.told, markup=False)
        best = next(c for c in self.trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint))
        path: Path | None = Path(best.best_model_path)
        if path is None or path.resolve().parent != (self.root / "checkpoints").resolve():
            say.print("nothing was validated in this run's folder: its last weights are tested")
            path = None
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
            if self.tracker:
                self.tracker.log_artifact(export, name=f"model-{self.tracker.root.name}", kind="model")
            say.print(f"model:  {export}", markup=False)

    def before_validate(self) -> None:
        self._needs_checkpoint()

    def before_test(self) -> None:
        self._needs_checkpoint()

    def before_predict(self) -> None:
        self._needs_checkpoint()

    def _needs_checkpoint(self) -> None:
        if not self._get(self.config, "ckpt_path") and self.model.start_from is None:
            best = self.root / "checkpoints" / "best.ckpt"
            raise ValueError(f"which weights? add --ckpt_path, e.g. {best}, or --model.start_from")

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

    def start() -> None:
        PreferenceCLI(
            PreferenceModule,
            PreferenceDataModule,
            args=None if arguments is None else list(arguments),
            save_config_callback=TrackedConfig,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={name: {"exit_on_error": False} for name in LIGHTNING} | {"exit_on_error": False},
            seed_everything_default=0,
            trainer_defaults=TRAINER_DEFAULTS,
            auto_configure_optimizers=False,
        )

    return run_quietly("align", command, start, USER_ERRORS, quiet)
