"""What the Lightning command lines of the packages have in common: a run's folder, its loggers and
checkpoints, tracking, one seed, and the resolved configuration saved with the run.

A run lives in one folder, ``trainer.default_root_dir``, with logs/version_N/ (config.yaml, metrics.csv; a
number for each start) and checkpoints/; what else it holds its command line says.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import lightning
import yaml
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.cli import LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from rich.console import Console

from data_prep.errors import DataError
from moltc.backbone.checkpoint import CheckpointError
from moltc.backbone.command_line import LIGHTNING, TRAINER_DEFAULTS, chosen_seed, run_quietly
from moltc.backbone.lineage import Lineage
from moltc.backbone.selection import BestCheckpoint, StopEarly
from moltc.backbone.tracking import RunTracker, WandbConfig, add_tracking, data_summary
from moltc.backbone.training import AtomicCheckpointIO, LastCheckpoint

USER_ERRORS = (CheckpointError, DataError, ValueError, OSError, MisconfigurationException)


class TrackedConfig(SaveConfigCallback):
    """Saves the resolved configuration with the run; a tracker gets it too, and the reports of the data."""

    def save_config(self, trainer: Any, pl_module: Any, stage: str) -> None:
        tracker = next((logger for logger in trainer.loggers if isinstance(logger, RunTracker)), None)
        if tracker is None or stage == "predict":
            return
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        reports = [Path(folder) / "report.json" for folder in listed(self.config.data.folder)]
        found = [data_summary(report) for report in reports if report.is_file()]
        tracker.log_hyperparams(config | {"data_reports": found})
        for report in reports:
            if report.is_file():
                tracker.log_artifact(report, name=f"data-report-{report.parent.name}", kind="data-report")
            else:
                print(f"W&B: {report.parent} has no report.json to keep")


class RunCLI(LightningCLI):
    """A command line whose runs live in one folder each.

    Attributes
    ----------
    program : its name; runs live in runs/PROGRAM unless told otherwise.
    examples : what it calls the rows of its data.
    better : what early stopping waits for.
    unvalidated : what is said where weights are tested that no validation chose.
    lineage, tracker, stopping : of the current start; the last two are None where they are not wanted.
    """

    program: ClassVar[str]
    examples: ClassVar[str] = "examples"
    better: ClassVar[str] = "a better score"
    unvalidated: ClassVar[str] = "nothing was validated in this run's folder: its last weights are tested"
    lineage: Lineage
    tracker: RunTracker | None
    stopping: StopEarly | None

    # -- what a command line defines ----------------------------------------------------------------

    @abstractmethod
    def new_tracker(self, config: WandbConfig, root: Path, run_id: str | None) -> RunTracker:
        """The tracked run of a folder."""

    @abstractmethod
    def watchers(self, root: Path) -> Sequence[Callback]:
        """What else watches a run; checkpoints are written after it."""

    def check_options(self, trainer: Any) -> None:
        """Refuse options that would have no effect; ``trainer`` are those of the trainer."""

    # -- given --------------------------------------------------------------------------------------

    def add_arguments_to_parser(self, parser: Any) -> None:
        parser.link_arguments("seed_everything", "model.seed", compute_fn=chosen_seed)  # one seed for all
        parser.link_arguments("seed_everything", "data.seed", compute_fn=chosen_seed)
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
            help=f"stop after so many validations without {self.better}; 0: never",
        )
        add_tracking(parser)

    def _parse_ckpt_path(self) -> None:
        """Checkpoints hold no options here; they are read, and checked, when they are loaded."""

    @property
    def root(self) -> Path:
        """The run's folder."""
        return Path(self.trainer.default_root_dir)

    def option(self, name: str) -> Any:
        """An option by its name, before anything is built."""
        return self._get(self.config_init, name)

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        config = self.option("trainer")
        root = Path(config.default_root_dir or f"runs/{self.program}")
        limit = config.limit_test_batches
        if isinstance(limit, int) or limit not in (None, 1.0):  # the integer 1 means one batch
            raise ValueError(
                f"limit_test_batches would leave {self.examples} out of the results: leave it out"
            )
        self.check_options(config)
        self.lineage = Lineage(root, self.option("ckpt_path"))
        self.tracker = self._tracker(root)
        plugins = config.plugins or []
        bar = [RichProgressBar()] if config.enable_progress_bar is not False else []
        ours = {
            "default_root_dir": str(root),
            "logger": self._loggers(root, config.logger),
            "plugins": [*listed(plugins), AtomicCheckpointIO()],
            "callbacks": [*(config.callbacks or []), *self._callbacks(root, config.limit_val_batches), *bar],
            "use_distributed_sampler": False,  # the data module shares batches out itself
        }
        return super().instantiate_trainer(**(ours | kwargs))

    def _tracker(self, root: Path) -> RunTracker | None:
        """The W&B run of this start, if it is tracked: its checkpoint's, or a new one."""
        config: WandbConfig = self.option("wandb")
        if self.option("tracking") == "none":
            if config != WandbConfig():
                raise ValueError("the wandb options need --tracking wandb; add it, or leave them out")
            return None
        tracker = self.new_tracker(config, root, self.lineage.run_id)
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
        return [*([] if given is False else listed(given)), self.tracker]

    def _callbacks(self, root: Path, validated: int | float | None) -> list[Callback]:
        """What watches, keeps and ends a run; the resume checkpoint is written last, when all others are
        done."""
        patience = self.option("early_stopping")
        if patience and validated == 0:
            raise ValueError("early_stopping needs validations: leave limit_val_batches out")
        self.stopping = StopEarly(patience) if patience else None
        folder = root / "checkpoints"
        return [
            self.lineage,
            *self.watchers(root),
            *filter(None, [self.stopping]),
            BestCheckpoint(folder),
            LastCheckpoint(folder / "last.ckpt", self.option("checkpoint_every")),
        ]

    def _run_subcommand(self, subcommand: str) -> None:
        with self.tracker or nullcontext():
            super()._run_subcommand(subcommand)

    def finished(self) -> bool:
        """Whether a fit came to its end, and is to be tested; says why it stopped early."""
        if self.trainer.interrupted or getattr(self.trainer, "fast_dev_run", False):
            return False
        if self.stopping and self.stopping.told:
            Console(highlight=False).print(self.stopping.told, markup=False)
        return True

    def best_weights(self) -> Path | None:
        """The checkpoint of the best validated weights of this run; None, and a line, where there is none."""
        best = next(c for c in self.trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint))
        path = Path(best.best_model_path)
        if path.resolve().parent == (self.root / "checkpoints").resolve():
            return path
        Console(highlight=False).print(self.unvalidated, markup=False)
        return None

    def log_export(self, folder: Path) -> None:
        """Keep the exported model with the tracked run."""
        if self.tracker:
            self.tracker.log_artifact(folder, name=f"model-{self.tracker.root.name}", kind="model")

    def before_validate(self) -> None:
        self.need_weights()

    def before_test(self) -> None:
        self.need_weights()

    def before_predict(self) -> None:
        self.need_weights()

    def need_weights(self) -> None:
        """Refuse to answer with random weights."""
        if not self._get(self.config, "ckpt_path"):
            raise ValueError(
                f"without a checkpoint the weights are random: add --ckpt_path, e.g. {self.best_checkpoint}"
            )

    @property
    def best_checkpoint(self) -> Path:
        """Where the best validated weights are kept."""
        return self.root / "checkpoints" / "best.ckpt"


def listed(value: Any) -> list[Any]:
    """A list, or one value as a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def run_cli(
    cli: type[RunCLI],
    parts: tuple[type, type],
    command: str,
    arguments: Sequence[str] | None = None,
    *,
    quiet: Sequence[str] = (),
    more: Mapping[str, Any] | None = None,
) -> int:
    """Run one Lightning command; user errors are one line and exit status 2.

    Parameters
    ----------
    parts : classes of the module and of the data module.
    arguments : default to the process's own.
    quiet : further warnings that say nothing to a user, as patterns.
    more : further arguments of the command line.
    """

    def start() -> None:
        cli(
            *parts,
            args=None if arguments is None else list(arguments),
            save_config_callback=TrackedConfig,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={name: {"exit_on_error": False} for name in LIGHTNING} | {"exit_on_error": False},
            seed_everything_default=0,
            trainer_defaults=TRAINER_DEFAULTS,
            auto_configure_optimizers=False,
            **(more or {}),
        )

    return run_quietly(cli.program, command, start, USER_ERRORS, quiet)
