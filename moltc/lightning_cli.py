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
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from rich.console import Console

from data_prep.errors import DataError
from moltc.backbone.checkpoint import CheckpointError
from moltc.data import PairDataModule
from moltc.evaluate import evaluate, predictions
from moltc.families import get_family
from moltc.module import PairModule
from moltc.training import AtomicCheckpointIO, LastCheckpoint

USER_ERRORS = (CheckpointError, DataError, ValueError, FileNotFoundError, MisconfigurationException)


class PairCLI(LightningCLI):
    """The command line of :class:`moltc.module.PairModule`."""

    def add_arguments_to_parser(self, parser: Any) -> None:
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

    @property
    def root(self) -> Path:
        """The run's folder."""
        return Path(self.trainer.default_root_dir)

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        config = self._get(self.config_init, "trainer")
        root = Path(config.default_root_dir or "runs/moltc")
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
        """Load the best weights, answer the test split, export."""
        if self.trainer.interrupted or getattr(self.trainer, "fast_dev_run", False):
            return
        best = next(c for c in self.trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint))
        self.trainer.test(self.model, self.datamodule, ckpt_path=best.best_model_path or None, verbose=False)
        self.after_test()

    def after_test(self) -> None:
        """Write results and export the model that was tested."""
        if not self.trainer.is_global_zero:
            return
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
        module.export(self.root / "export", found.plain())
        console = Console()
        console.print(f"report: {found.page}\nmodel:  {self.root / 'export'}", markup=False, highlight=False)
        console.print(
            f"ask it: moltc answer --model {self.root / 'export'} SMILES SMILES",
            markup=False,
            highlight=False,
        )

    def predict(self, *args: Any, **kwargs: Any) -> None:
        """Answer the test split and write ``predictions.parquet``."""
        batches = self.trainer.predict(*args, **kwargs)
        from moltc.module import gathered

        rows, found = gathered([batch for batch in batches or [] if isinstance(batch, tuple)])
        table = self.datamodule.table
        frame = predictions(table, rows, self.model.labels(rows), found, self.model.moltc)
        self.root.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(self.root / "predictions.parquet")
        Console().print(
            f"{len(rows)} answers: {self.root / 'predictions.parquet'}", markup=False, highlight=False
        )


class BestCheckpoint(ModelCheckpoint):
    """Keeps the best validated weights; the score's name and direction follow from the task."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, filename="best", save_top_k=1, enable_version_counter=False)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        number = get_family(trainer.datamodule.table.family).kind == "number"
        self.monitor, self.mode = ("val/rmse", "min") if number else ("val/auc", "max")
        self.kth_value = self.kth_value if self.best_k_models else _worst(self.mode)
        super().setup(trainer, pl_module, stage)


def _worst(mode: str) -> Any:
    import torch

    return torch.tensor(float("inf") if mode == "min" else -float("inf"))


def run(command: str, arguments: Sequence[str] | None = None) -> int:
    """Run one Lightning command (``arguments`` default to the process's own); user errors are one line."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(
        logging.WARNING
    )  # hardware lists and tips
    warnings.filterwarnings(
        "ignore", message="LightningCLI's args parameter is intended"
    )  # the demo passes its own
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")  # inside Lightning
    try:
        PairCLI(
            PairModule,
            PairDataModule,
            args=None if arguments is None else list(arguments),
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            trainer_defaults={"log_every_n_steps": 1, "num_sanity_val_steps": 0},
        )
    except USER_ERRORS as error:
        print(f"moltc {command}: {error}", file=sys.stderr)
        return 2
    return 0
