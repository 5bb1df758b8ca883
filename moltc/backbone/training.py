"""Checkpoints that survive a kill: written beside their place, forced to disk, then renamed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import CheckpointIO

from moltc.backbone.checkpoint import CheckpointError


class AtomicCheckpointIO(CheckpointIO):
    """A checkpoint file is either whole or not there."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if storage_options is not None:
            raise ValueError("storage_options are not used for local checkpoints; leave them out")
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with temporary.open("wb") as handle:
                torch.save(checkpoint, handle)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        file = Path(path)
        if not file.is_file():
            raise CheckpointError(f"there is no checkpoint {file}; see the run's checkpoints folder")
        try:
            return torch.load(file, map_location=map_location or "cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
            said = (str(error) or type(error).__name__).splitlines()[0]
            raise CheckpointError(
                f"{file} is not a whole checkpoint of tensors and plain values ({said}); resume from another"
            ) from error

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class LastCheckpoint(Checkpoint):
    """Keeps the newest state for resuming: at each end of an epoch, and every few steps within it.

    It must stand behind the other callbacks, so that what they learn from an epoch's validation is in the
    state. For the same reason the last batch of an epoch writes nothing: its checkpoint is that of the
    epoch's end.

    Parameters
    ----------
    file : the checkpoint, written anew each time.
    every : optimiser steps between checkpoints within an epoch; 0: at epoch ends only.
    """

    def __init__(self, file: str | Path, every: int) -> None:
        if every < 0:
            raise ValueError(f"checkpoint_every must be 0 or a number of steps, not {every}")
        self.file, self.every = Path(file), every
        self.saved_step = 0

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        step = trainer.global_step
        last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if self.every and step % self.every == 0 and step != self.saved_step and not last:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
        self._save(trainer)

    def _save(self, trainer: Any) -> None:
        if trainer.fast_dev_run:
            return
        self.saved_step = trainer.global_step
        for logger in trainer.loggers:  # a killed run keeps its log up to here; this step's row comes after
            logger.save()
        trainer.save_checkpoint(self.file)
