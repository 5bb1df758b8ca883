"""Checkpoints that survive a kill (written beside their place, forced to disk, then renamed)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
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
        except (RuntimeError, EOFError, OSError) as error:
            raise CheckpointError(
                f"{file} is not a whole checkpoint ({str(error).splitlines()[0]})"
            ) from error

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)
