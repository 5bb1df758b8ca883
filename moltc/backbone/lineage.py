"""Where a checkpoint comes from: the starts of the run that made it, kept inside it.

A run folder may have been used for several runs; their logs must not be taken for one.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger

KEY = "lineage"


class Lineage(Callback):
    """Names the logs of every start that made the weights, and the W&B run; each checkpoint carries them.

    Parameters
    ----------
    root : the run's folder.
    checkpoint : what this start resumes or tests. Only one below ``root`` is gone on with: any other belongs
        to another run.

    Attributes
    ----------
    logs : log folders relative to ``root``, oldest first.
    run_id : of the W&B run, None as long as the run was not tracked.
    """

    def __init__(self, root: Path, checkpoint: str | Path | None = None) -> None:
        self.root = root.resolve()
        ours = checkpoint is not None and self.root in Path(checkpoint).resolve().parents
        before = stored_lineage(Path(checkpoint)) if checkpoint is not None and ours else {}
        self.logs: list[str] = list(before.get("logs", []))
        self.run_id: str | None = before.get("run_id")

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Add the log of a start that trains."""
        if stage != "fit":
            return
        for logger in trainer.loggers:
            folder = Path(logger.log_dir).resolve() if isinstance(logger, CSVLogger) else None
            if folder is not None and folder.is_relative_to(self.root):
                self.logs.append(folder.relative_to(self.root).as_posix())

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = {"logs": list(self.logs), "run_id": self.run_id}

    def training_logs(self) -> list[Path]:
        """The metrics.csv files that hold training losses, oldest first."""
        files = [self.root / name / "metrics.csv" for name in self.logs]
        return [file for file in files if file.is_file() and "train/loss" in _first_line(file)]


def stored_lineage(checkpoint: Path) -> dict[str, Any]:
    """The lineage that a checkpoint carries, empty if none; its weights are mapped, not read."""
    if not checkpoint.is_file():
        return {}
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError):
        return {}  # a broken file: the trainer, which loads it next, says what is wrong
    found: dict[str, Any] = content.get(KEY, {}) if isinstance(content, dict) else {}
    return found


def _first_line(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        return lines.readline()
