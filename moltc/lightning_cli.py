"""``moltc fit | validate | test | predict``: every option in YAML, the resolved configuration saved with the
run.

A run lives in one folder, ``trainer.default_root_dir``: logs/version_N/ (config.yaml, metrics.csv; a number
for each start), checkpoints/, test/ (metrics, plots, report.html) and export/ (the model for
:class:`moltc.PairPredictor`).
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from rich.console import Console

from data_prep.errors import DataError
from data_prep.tables import write_parquet
from moltc.backbone.checkpoint import CheckpointError
from moltc.data import PairDataModule
from moltc.evaluate import Evaluation, evaluate, predictions
from moltc.families import get_family
from moltc.module import PairModule
from moltc.ranks import gathered
from moltc.training import AtomicCheckpointIO, LastCheckpoint

USER_ERRORS = (CheckpointError, DataError, ValueError, OSError, MisconfigurationException)


class PairCLI(LightningCLI):
    """The command line of :class:`moltc.module.PairModule`."""

    def add_arguments_to_parser(self, parser: Any) -> None:
        parser.link_arguments("seed_everything", "model.seed", compute_fn=_seed)  # one seed for all
        parser.link_arguments("seed_everything", "data.seed", compute_fn=_seed)
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
        plugins = config.plugins or []
        bar = [RichProgressBar()] if config.enable_progress_bar is not False else []
        ours = {
            "default_root_dir": str(root),
            "logger": CSVLogger(root, name="logs") if config.logger is None else config.logger,
            "plugins": [*(plugins if isinstance(plugins, list) else [plugins]), AtomicCheckpointIO()],
            "callbacks": [*(config.callbacks or []), *self._checkpoints(root / "checkpoints"), *bar],
            "use_distributed_sampler": False,  # the data module shares batches out itself
        }
        return super().instantiate_trainer(**(ours | kwargs))

    def _checkpoints(self, folder: Path) -> list[Any]:
        every = self._get(self.config_init, "checkpoint_every")
        return [BestCheckpoint(folder), LastCheckpoint(folder / "last.ckpt", every)]

    def after_fit(self) -> None:
        """Take the best validated weights (the last if none was validated), answer the test split, export."""
        if self.trainer.interrupted or getattr(self.trainer, "fast_dev_run", False):
            return
        best = next(c for c in self.trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint))
        path: Path | None = Path(best.best_model_path)
        if path is None or path.resolve().parent != (self.root / "checkpoints").resolve():
            Console().print("no answers were validated in this run's folder: its last weights are tested")
            path = None
        self.trainer.test(self.model, self.datamodule, ckpt_path=path, verbose=False)
        found = self.after_test()
        if found is None:
            return
        export = self.root / "export"
        self.model.export(export, found.plain())
        say = Console(highlight=False)
        say.print(f"model:  {export}\nask it: moltc answer --model {export} SMILES SMILES", markup=False)

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

    def after_test(self) -> Evaluation | None:
        """Write the results of a test run; only the first process does."""
        if not self.trainer.is_global_zero:
            return None
        module = self.model
        logs = [
            log
            for log in self.root.glob("logs/version_*/metrics.csv")
            if "train/loss" in log.open().readline()
        ]
        found = evaluate(
            module,
            self.root / "test",
            fingerprint_baselines=self._get(self.config, "fingerprint_baselines"),
            logs=sorted(logs, key=lambda p: int(p.parent.name.split("_")[1])),
            seed=module.seed,
        )
        Console(highlight=False).print(f"report: {found.page}", markup=False)
        return found

    def predict(self, *args: Any, **kwargs: Any) -> None:
        """Answer the test split and write ``predictions.parquet``."""
        batches = self.trainer.predict(*args, **kwargs)
        rows, found = gathered([batch for batch in batches or [] if isinstance(batch, tuple)])
        if not self.trainer.is_global_zero:
            return
        table = self.datamodule.table
        model = self.model.moltc
        frame = predictions(table, rows, self.model.labels(rows), found, model)
        self.root.mkdir(parents=True, exist_ok=True)
        file = self.root / "predictions.parquet"
        write_parquet(frame, file)
        say = Console(highlight=False)
        say.print(f"{len(rows)} answers: {file}", markup=False)
        if not model.task.is_number:
            say.print("their probabilities are not calibrated; those of an exported model are (moltc answer)")


class BestCheckpoint(ModelCheckpoint):
    """Keeps the best validated weights; the score's name and direction follow from the task.

    While towers are trained alone no answer is validated, and nothing is kept.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, filename="best", save_top_k=1, enable_version_counter=False)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        number = get_family(trainer.datamodule.table.family).kind == "number"
        self.monitor, self.mode = ("val/rmse", "min") if number else ("val/auc", "max")
        self.kth_value = self.kth_value if self.best_k_models else _worst(self.mode)
        super().setup(trainer, pl_module, stage)

    def check_monitor_top_k(self, trainer: Any, current: torch.Tensor | None = None) -> bool:
        if current is None or not bool(torch.isfinite(current)):
            return False
        return super().check_monitor_top_k(trainer, current)


def _seed(seed_everything: bool | int | None) -> int:
    """The seed of weights, data order and noise; true and false choose 0."""
    return 0 if seed_everything is None or isinstance(seed_everything, bool) else seed_everything


def _worst(mode: str) -> torch.Tensor:
    return torch.tensor(float("inf") if mode == "min" else -float("inf"))


def run(command: str, arguments: Sequence[str] | None = None) -> int:
    """Run one Lightning command (``arguments`` default to the process's own); user errors are one line."""
    for name in ("utilities.rank_zero", "trainer.connectors.checkpoint_connector"):  # hardware lists and tips
        logging.getLogger(f"lightning.pytorch.{name}").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")  # the demo passes its own
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists")  # a resumed run's own
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")  # inside Lightning
    try:
        PairCLI(
            PairModule,
            PairDataModule,
            args=None if arguments is None else list(arguments),
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            trainer_defaults={
                "log_every_n_steps": 1,
                "num_sanity_val_steps": 0,
                "enable_model_summary": False,
            },
            auto_configure_optimizers=False,
        )
    except USER_ERRORS as error:
        print(f"moltc {command}: {error}", file=sys.stderr)
        return 2
    return 0
