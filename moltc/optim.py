"""The optimiser: settings, and a schedule of two phases; the language model joins in the second."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with linear warm-up and cosine decay, by step."""

    lr_language_model: float = 2e-3
    """Learning rate of the language model: 2e-3 suits the tiny one, 2e-4 LoRA."""
    lr_towers: float = 2e-3
    """Learning rate of encoders, projectors and the auxiliary head (5e-5 to 1e-4 for pre-trained ones)."""
    weight_decay: float = 0.01
    """Not applied to biases, norms, embeddings and query tokens."""
    betas: tuple[float, float] = (0.9, 0.98)
    warmup: float = 0.08
    """Share of the steps of a phase spent warming up."""
    floor: float = 0.0
    """Learning rate at the end, as a share of the highest."""
    pretrain_epochs: int = 0
    """First epochs in which only the towers and the auxiliary head are trained, without the language
    model."""
    joint_lr_factor: float = 0.4
    """Factor of ``lr_towers`` after such epochs, for encoders and heads: a high rate would undo what was
    learnt, 0 keeps it. What makes soft tokens of it has the full rate: it was not trained yet."""

    def __post_init__(self) -> None:
        for name in ("lr_language_model", "lr_towers"):
            if not getattr(self, name) > 0:
                raise ValueError(f"optim.{name} must be above 0, not {getattr(self, name)}")
        for name in ("weight_decay", "pretrain_epochs", "joint_lr_factor"):
            if getattr(self, name) < 0:
                raise ValueError(f"optim.{name} must not be negative, got {getattr(self, name)}")
        for name in ("warmup", "floor"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"optim.{name} is a share between 0 and 1, not {getattr(self, name)}")


def schedule(settings: OptimConfig, part: str, phase: int, total: int) -> Callable[[int], float]:
    """Factor of the learning rate by step: two phases for encoders and heads ("towers"), the second only for
    the projection to soft tokens and the language model."""

    def cycle(step: int, length: int) -> float:
        warm = max(1, round(settings.warmup * length))
        if step < warm:
            return (step + 1) / warm
        progress = min(1.0, (step - warm) / max(1, length - warm))
        return settings.floor + (1 - settings.floor) * 0.5 * (1 + math.cos(math.pi * progress))

    def factor(step: int) -> float:
        if step < phase:
            return cycle(step, phase) if part == "towers" else 0.0
        scale = settings.joint_lr_factor if part == "towers" and phase else 1.0
        return scale * cycle(step - phase, total - phase)

    return factor


def flat_options(**groups: Any) -> dict[str, str]:
    """Options of a model's parts, dataclasses by group, flat and as text."""
    return {
        f"model.{group}.{f.name}": str(getattr(value, f.name))
        for group, value in groups.items()
        for f in fields(value)
    }
