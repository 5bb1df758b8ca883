"""``moltc fit | validate | test | predict``: every option in YAML, the resolved configuration saved with the
run.

A run lives in one folder, ``trainer.default_root_dir``: logs/version_N/ (config.yaml, metrics.csv; a number
for each start), checkpoints/, test/ (metrics, plots, report.html, pairs.html), export/ (the model for
:class:`moltc.PairPredictor`) and, where it is tracked, wandb/.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import lightning
import polars as pl
import yaml
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.cli import LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from rich.console import Console

from data_prep.errors import DataError
from moltc.backbone.checkpoint import CheckpointError
from moltc.backbone.command_line import TRAINER_DEFAULTS, chosen_seed, run_quietly
from moltc.cli import LIGHTNING
from moltc.data import PairDataModule
from moltc.drawings import chosen_pairs, describe, write_pairs_page
from moltc.evaluate import Evaluation, evaluate
from moltc.lineage import Lineage
from moltc.model import MolTC
from moltc.module import PairModule
from moltc.ranks import all_ranks
from moltc.selection import BestCheckpoint, StopEarly
from moltc.shards import FOLDER, PredictionShards
from moltc.strategies import check_parallel
from moltc.tracking import RunTracker, WandbConfig, data_summary
from moltc.training import AtomicCheckpointIO, LastCheckpoint

USER_ERRORS = (CheckpointError, DataError, ValueError, OSError, MisconfigurationException)


class TrackedConfig(SaveConfigCallback):
    """Saves the resolved configuration with the run; a tracker gets it too, and the report of the data."""

    def save_config(self, trainer: Any, pl_module: Any, stage: str) -> None:
        tracker = next((logger for logger in trainer.loggers if isinstance(logger, RunTracker)), None)
        if tracker is None or stage == "predict":
            return
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        reports = [Path(folder) / "report.json" for folder in _listed(self.config.data.folder)]
        found = [data_summary(report) for report in reports if report.is_file()]
        tracker.log_hyperparams(config | {"data_reports": found})
        for report in reports:
            if report.is_file():
                tracker.log_artifact(report, name=f"data-report-{report.parent.name}", kind="data-report")
            else:
                print(f"W&B: {report.parent} has no report.json to keep")


class PairCLI(LightningCLI):
    """The command line of :class:`moltc.module.PairModule`."""

    def add_arguments_to_parser(self, parser: Any) -> None:
        parser.link_arguments("seed_everything", "model.seed", compute_fn=chosen_seed)  # one seed for all
        parser.link_arguments("seed_everything", "data.seed", compute_fn=chosen_seed)
        parser.add_argument(
            "--fingerprint_baselines",
            type=bool,
            default=True,
            help="fit the fingerprint baselines beside a test (minutes)",
        )
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
            help="stop after so many validations without a better score; 0: never",
        )
        parser.add_argument(
            "--drawn_pairs",
            type=int,
            default=200,
            help="test pairs shown with drawn molecules (test/pairs.html, W&B table); 0: none",
        )
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
        root = Path(config.default_root_dir or "runs/moltc")
        limit = config.limit_test_batches
        if isinstance(limit, int) or limit not in (None, 1.0):  # the integer 1 means one batch
            raise ValueError("limit_test_batches would leave pairs out of the results: leave it out")
        check_parallel(config.strategy, config.sync_batchnorm)
        if self._get(self.config_init, "drawn_pairs") < 0:
            raise ValueError("drawn_pairs must be 0 or a number of pairs")
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
        tracker = RunTracker(config, root, self.lineage.run_id)
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
        return [*([] if given is False else _listed(given)), self.tracker]

    def _callbacks(self, root: Path, validated: int | float | None) -> list[Any]:
        """What keeps and ends a run; the resume checkpoint is written last, when all others have seen all."""
        patience = self._get(self.config_init, "early_stopping")
        if patience and validated == 0:
            raise ValueError("early_stopping needs validations: leave limit_val_batches out")
        self.stopping = StopEarly(patience) if patience else None
        every, folder = self._get(self.config_init, "checkpoint_every"), root / "checkpoints"
        last = LastCheckpoint(folder / "last.ckpt", every)
        self.shards = PredictionShards(root / FOLDER)
        return [self.lineage, *filter(None, [self.stopping]), BestCheckpoint(folder), self.shards, last]

    def _run_subcommand(self, subcommand: str) -> None:
        with self.tracker or nullcontext():
            super()._run_subcommand(subcommand)

    def after_fit(self) -> None:
        """Take the best validated weights (the last if none was validated), answer the test split, export."""
        if self.trainer.interrupted or getattr(self.trainer, "fast_dev_run", False):
            return
        if self.stopping and self.stopping.told:
            Console(highlight=False).print(self.stopping.told, markup=False)
        best = next(c for c in self.trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint))
        path: Path | None = Path(best.best_model_path)
        if path is None or path.resolve().parent != (self.root / "checkpoints").resolve():
            Console().print("no answers were validated in this run's folder: its last weights are tested")
            path = None
        self.trainer.test(self.model, self.datamodule, ckpt_path=path, verbose=False)
        found = self.after_test()
        export = self.root / "export"
        plain = {name: results.plain() for name, results in (found or {}).items()}
        self.model.export(export, plain if len(plain) > 1 else next(iter(plain.values()), None))
        if found is None:
            return
        if self.tracker:
            self.tracker.log_artifact(export, name=f"model-{self.tracker.root.name}", kind="model")
        say = Console(highlight=False)
        say.print(
            f"model:  {export}\nask it: moltc answer --model {export} {_asked(self.model.moltc)}",
            markup=False,
        )

    def before_validate(self) -> None:
        self._needs_checkpoint()

    def before_test(self) -> None:
        self._needs_checkpoint()

    def before_predict(self) -> None:
        self._needs_checkpoint()

    def _needs_checkpoint(self) -> None:
        if not self._get(self.config, "ckpt_path"):
            best = self.root / "checkpoints" / "best.ckpt"
            raise ValueError(f"without a checkpoint the weights are random: add --ckpt_path, e.g. {best}")

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


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def run(command: str, arguments: Sequence[str] | None = None) -> int:
    """Run one Lightning command (``arguments`` default to the process's own); user errors are one line."""

    def start() -> None:
        PairCLI(
            PairModule,
            PairDataModule,
            args=None if arguments is None else list(arguments),
            save_config_callback=TrackedConfig,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={name: {"exit_on_error": False} for name in LIGHTNING} | {"exit_on_error": False},
            seed_everything_default=0,
            trainer_defaults=TRAINER_DEFAULTS,
            auto_configure_optimizers=False,
        )

    return run_quietly("moltc", command, start, USER_ERRORS)
