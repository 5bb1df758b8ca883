"""How long, how carefully and where a gradient-trained recommender is trained."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]


@dataclass(frozen=True)
class TrainerConfig:
    """Options of one training run.

    Attributes:
        max_epochs: passes over the training part; -1: no limit, which needs ``max_steps`` or ``max_time``.
        max_steps: optimiser steps; -1: no limit.
        max_time: wall-clock limit as HH:MM:SS, or DD:HH:MM:SS; validation counts too.
        validate_every: epochs between validations; 0: none, the last weights are kept.
        validation_rows: validate on so many rows, the same ones each time; None: all.
        patience: stop after so many validations without a better score; 0: never.
        clip: largest norm of the gradient; None: as it is.
        log_every: steps between logged losses.
        checkpoint_every: steps between resume checkpoints within an epoch; 0: at epoch ends only.
        accelerator: cpu, cuda, ... or auto.
        precision: of Lightning, such as 32-true or bf16-mixed.
        progress: show a progress bar; None: where the output is a terminal.
    """

    max_epochs: int = 100
    max_steps: int = -1
    max_time: str | None = None
    validate_every: int = 1
    validation_rows: int | None = None
    patience: int = 0
    clip: float | None = None
    log_every: int = 50
    checkpoint_every: int = 0
    accelerator: str = "cpu"
    precision: Precision = "32-true"
    progress: bool | None = None

    def __post_init__(self) -> None:
        if self.max_epochs < 0 and self.max_steps < 0 and self.max_time is None:
            raise ValueError("training needs an end: give max_epochs, max_steps or max_time")
        if self.max_epochs == 0 or self.max_steps == 0:
            raise ValueError("max_epochs 0 or max_steps 0 would train nothing; give a number from 1, or -1")
        if self.validate_every < 0:
            raise ValueError(f"validate_every must be 0 or a number of epochs, not {self.validate_every}")
        if self.patience and not self.validate_every:
            raise ValueError("patience waits for validations: give validate_every, or leave patience out")
        if self.patience < 0:
            raise ValueError(f"patience must be 0 or a number of validations, not {self.patience}")
        if self.validation_rows is not None and self.validation_rows < 1:
            raise ValueError(f"validation_rows must be at least 1, not {self.validation_rows}")
        if self.log_every < 1:
            raise ValueError(f"log_every must be at least 1, not {self.log_every}")
        _ = self.time_limit

    @property
    def time_limit(self) -> timedelta | None:
        """``max_time`` as a duration."""
        if self.max_time is None:
            return None
        parts = self.max_time.split(":")
        if len(parts) not in (3, 4) or not all(part.isdigit() for part in parts):
            raise ValueError(f"max_time={self.max_time!r} is no HH:MM:SS or DD:HH:MM:SS")
        days, hours, minutes, seconds = (int(part) for part in ["0", *parts][-4:])
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
