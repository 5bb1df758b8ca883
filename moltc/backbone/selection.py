"""What the validated score decides: which weights are kept as the best, and when training stops early."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Keeps the best validated weights, by the score that :func:`watched` names.

    Where a validation gives no score nothing is kept.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, filename="best", save_top_k=1, enable_version_counter=False)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.monitor, self.mode = watched(trainer)
        self.kth_value = self.kth_value if self.best_k_models else _worst(self.mode)
        super().setup(trainer, pl_module, stage)

    def check_monitor_top_k(self, trainer: Any, current: torch.Tensor | None = None) -> bool:
        if current is None or not bool(torch.isfinite(current)):
            return False
        return super().check_monitor_top_k(trainer, current)


class StopEarly(EarlyStopping):
    """Ends training when the score of :class:`BestCheckpoint` has not improved for a number of validations.

    Validations without a score do not count; after the first one an undefined score counts as no improvement.

    Parameters
    ----------
    patience : validations without improvement, at least 1.
    """

    def __init__(self, patience: int) -> None:
        if patience < 1:
            raise ValueError(f"early stopping needs at least 1 validation to wait for, not {patience}")
        super().__init__("", patience=patience, check_finite=False, check_on_train_epoch_end=False)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.monitor, self.mode = watched(trainer)
        if not math.isfinite(self.best_score):
            self.best_score = _worst(self.mode)
        super().setup(trainer, pl_module, stage)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        score = trainer.callback_metrics.get(self.monitor)
        if score is not None and (torch.isfinite(score) or math.isfinite(self.best_score)):
            super().on_validation_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting, with the patience that is asked for now."""
        super().load_state_dict(state_dict | {"patience": self.patience})

    @property
    def told(self) -> str | None:
        """Why training ended, if this ended it."""
        if not self.stopped_epoch:
            return None
        return (
            f"stopped early in epoch {self.stopped_epoch}: {self.monitor} did not improve on "
            f"{float(self.best_score):.4g} in {self.wait_count} validations"
        )


def watched(trainer: Any) -> tuple[str, str]:
    """What chooses the best weights: the name of a score, and whether "min" or "max" of it is best.

    The data module names it, or else the module that is trained.
    """
    names = trainer.datamodule if hasattr(trainer.datamodule, "score") else trainer.lightning_module
    return names.score


def _worst(mode: str) -> torch.Tensor:
    return torch.tensor(float("inf") if mode == "min" else -float("inf"))
