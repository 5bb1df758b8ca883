"""Training of gradient-trained recommenders through Lightning: validation by the protocol's own metric, best
weights, early stopping, checkpoints that resume to the last bit, a time limit.

A run's folder holds logs/version_N/metrics.csv and checkpoints/{best,last}.ckpt.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger
from torch import Tensor

from graphrec.batches import TrainingData
from graphrec.data import Manifest, RecommendationData, Rows
from graphrec.neural import NeuralRecommender
from graphrec.ranking import metric_value, protocol_ranks
from graphrec.recommender import FitReport
from graphrec.trainer import TrainerConfig
from moltc.backbone.checkpoint import CheckpointError, check_fit
from moltc.backbone.command_line import QUIET
from moltc.backbone.lineage import Lineage
from moltc.backbone.selection import BestCheckpoint, StopEarly
from moltc.backbone.tracking import RunTracker
from moltc.backbone.training import AtomicCheckpointIO, LastCheckpoint

HINTS = ("utilities.rank_zero", "trainer.connectors.checkpoint_connector")


class RecommenderModule(lightning.LightningModule):
    """One recommender in training.

    Args:
        recommender: with its network built.
        valid: rows that are ranked at each validation; None: nothing is validated.
        manifest: how they are ranked, and by which metric weights are chosen.
        seed: of dropout, noise and negatives, with the step.
        log_every: steps between logged losses.
    """

    def __init__(
        self,
        recommender: NeuralRecommender,
        valid: Rows | None,
        manifest: Manifest,
        seed: int,
        log_every: int,
    ) -> None:
        super().__init__()
        self.recommender, self.network = recommender, recommender.network
        self.valid, self.manifest = valid, manifest
        self.seed, self.log_every = seed, log_every
        self.validated_step = -1
        self.strict_loading = False  # base weights that are found elsewhere are left out; the rest is checked

    @property
    def score(self) -> tuple[str, str]:
        """What chooses the weights that are kept, and that more of it is better."""
        return f"val/{self.manifest.metric}", "max"

    def configure_optimizers(self) -> Any:
        optimiser = self.recommender.optimiser()
        if type(self.recommender).rate_factor is NeuralRecommender.rate_factor:
            return optimiser
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self.recommender.rate_factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        step = self.global_step
        seed_torch(step_seed(self.seed, step), self.device)
        parts = self.recommender.loss(batch, step)
        if step % self.log_every == 0:
            self._log_losses(parts, step)
        return parts["loss"]

    def _log_losses(self, parts: dict[str, Tensor], step: int) -> None:
        loss = float(parts["loss"].detach())
        if not np.isfinite(loss):
            raise ValueError(f"the loss is {loss} at step {step}: lower the learning rate or clip gradients")
        self.log_dict({f"train/{name}": value.detach() for name, value in parts.items()})

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.recommender.after_step(self.global_step)

    def _settings(self) -> dict[str, str]:
        """What a resumed run must have in common with the run it goes on, as text."""
        settings = {f"model.{name}": str(value) for name, value in asdict(self.recommender.config).items()}
        return settings | {"model": self.recommender.name, "seed": str(self.seed), "data": self.manifest.hash}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["graphrec"] = self._settings()
        kept = self._stored()
        checkpoint["state_dict"] = {n: t for n, t in checkpoint["state_dict"].items() if n in kept}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        before, now = checkpoint.get("graphrec", {}), self._settings()
        odd = [name for name in now if now[name] != before.get(name)]
        if odd:
            told = "; ".join(f"{name} was {before.get(name)}, is {now[name]}" for name in odd[:5])
            raise CheckpointError(f"a resumed run keeps its settings, these differ: {told}")
        check_fit("the checkpoint does not fit this model", self._stored(), checkpoint["state_dict"])

    def _stored(self) -> dict[str, Tensor]:
        """What a checkpoint holds, by its names there."""
        return {f"network.{name}": tensor for name, tensor in self.recommender.stored_state().items()}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """One step ranks all rows: the recommender cuts them into batches itself."""
        self.log(self.score[0], self.validate_now(), prog_bar=True, batch_size=1)

    def validate_now(self) -> float:
        """The validation score of the weights as they are."""
        assert self.valid is not None
        self.validated_step = self.global_step
        ranks = protocol_ranks(self.recommender, self.valid, self.manifest)
        return metric_value(self.manifest.metric, ranks)


def step_seed(seed: int, step: int) -> int:
    """Seed of everything that is drawn in one step."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]) >> 1


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed the generators that a step draws from; ``torch.manual_seed`` visits those of every device."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Leave out Lightning's hints on hardware, on each written checkpoint and on folders that are there."""
    loggers = [logging.getLogger(f"lightning.pytorch.{name}") for name in HINTS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in (*QUIET, ".*could not find the monitored key"):  # it looks before a validation too
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def train(
    recommender: NeuralRecommender,
    data: RecommendationData,
    *,
    refit_on_trainval: bool = False,
    trainer: TrainerConfig | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    resume: str | Path | None = None,
) -> FitReport:
    """Train a recommender; see :meth:`graphrec.neural.NeuralRecommender.fit`.

    Raises:
        ValueError: the options contradict each other.
        CheckpointError: ``resume`` is no checkpoint of this run.
    """
    options = trainer or TrainerConfig()
    if refit_on_trainval and (options.patience or options.validation_rows):
        raise ValueError(
            "with refit_on_trainval the validation rows are fitted on and choose nothing: leave patience and "
            "validation_rows out, and give the number of epochs that a run without it chose"
        )
    validate = options.validate_every > 0 and not refit_on_trainval
    start = time.perf_counter()
    fitted = data.fitted(refit_on_trainval=refit_on_trainval)
    recommender.start(data.catalogue, seed)
    recommender.prepare(fitted)
    valid = _validated(data.valid, options.validation_rows, seed) if validate else None
    module = RecommenderModule(recommender, valid, data.manifest, seed, options.log_every)
    with TemporaryDirectory() if folder is None else nullcontext(folder) as place, quiet_lightning():
        keeping = _Keeping(Path(place), options, validate, resume, folder is not None, recommender.loggers)
        given = [] if folder is None else [CSVLogger(place, name="logs"), *recommender.loggers]
        runner = _runner(Path(place), options, validate, given, keeping.callbacks())
        feed = TrainingData(recommender, fitted.histories, seed)
        runner.fit(module, feed, ckpt_path=None if resume is None else str(resume), weights_only=True)
        report = keeping.conclude(runner, module, time.perf_counter() - start)
    recommender.network.to("cpu").eval()
    return report


def _validated(rows: Rows, limit: int | None, seed: int) -> Rows:
    if not len(rows):
        raise ValueError("there are no validation rows to choose weights by: give validate_every 0")
    if limit is None or limit >= len(rows):
        return rows
    return rows.select(np.sort(np.random.default_rng(seed).permutation(len(rows))[:limit]))


class _Keeping:
    """What keeps and ends a run."""

    def __init__(
        self,
        root: Path,
        options: TrainerConfig,
        validate: bool,
        resume: str | Path | None,
        stored: bool,
        loggers: Sequence[Logger],
    ) -> None:
        folder = root / "checkpoints"
        self.best = BestCheckpoint(folder) if validate else None
        self.stopping = StopEarly(options.patience) if options.patience else None
        self.last = LastCheckpoint(folder / "last.ckpt", options.checkpoint_every) if stored else None
        self.lineage = Lineage(root, resume)
        self.lineage.run_id = next((one.run_id for one in loggers if isinstance(one, RunTracker)), None)

    def callbacks(self) -> list[Callback]:
        """The resume checkpoint is written last, when all others have seen all."""
        return [c for c in (self.lineage, self.stopping, self.best, self.last) if c is not None]

    def conclude(self, runner: lightning.Trainer, module: RecommenderModule, seconds: float) -> FitReport:
        """Put the best weights into the recommender and say what was found."""
        epochs = runner.current_epoch
        notes = [self.stopping.told] if self.stopping and self.stopping.told else []
        if self.best is None:
            return FitReport(seconds, epochs, notes=tuple(notes))
        name = module.score[0].removeprefix("val/")
        kept = self.best.best_model_score
        if module.validated_step != runner.global_step:  # stopped within an epoch
            score = module.validate_now()
            if kept is None or score > float(kept):
                return FitReport(seconds, epochs, epochs, (name, score), tuple(notes))
        if kept is None:
            raise ValueError("no validation gave a score: train for longer, or validate more often")
        content = AtomicCheckpointIO().load_checkpoint(self.best.best_model_path)
        load_network(module.recommender, content, self.best.best_model_path)
        return FitReport(seconds, epochs, int(content["epoch"]), (name, float(kept)), tuple(notes))


def load_network(recommender: NeuralRecommender, checkpoint: dict[str, Any], name: str | Path) -> None:
    """Take the network's weights from a training checkpoint."""
    stored = {key.removeprefix("network."): value for key, value in checkpoint["state_dict"].items()}
    recommender.take_state(f"{name} does not fit this model", stored, mend="name another")


def _runner(
    root: Path,
    options: TrainerConfig,
    validate: bool,
    loggers: list[Logger],
    callbacks: list[Callback],
) -> lightning.Trainer:
    progress = sys.stdout.isatty() if options.progress is None else options.progress
    bar = [RichProgressBar()] if progress else []
    return lightning.Trainer(
        log_every_n_steps=1,  # the module chooses the steps that it logs
        num_sanity_val_steps=0,
        enable_model_summary=False,
        default_root_dir=str(root),
        accelerator=options.accelerator,
        devices=1,
        precision=options.precision,
        max_epochs=options.max_epochs,
        max_steps=options.max_steps,
        max_time=options.time_limit,
        gradient_clip_val=options.clip,
        check_val_every_n_epoch=max(1, options.validate_every),
        limit_val_batches=1 if validate else 0,
        logger=loggers or False,
        callbacks=[*callbacks, *bar],
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=progress,
        use_distributed_sampler=False,
    )
