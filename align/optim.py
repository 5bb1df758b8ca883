"""The optimiser of preference training, its schedule, and how an optimiser step is cut."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

Optimiser = Literal["adamw", "rmsprop"]
Decay = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser and schedule; the batch of a step is that of the data module, over all processes."""

    name: Optimiser = "adamw"
    """rmsprop is what the DPO and beta-DPO code uses."""
    lr: float = 1e-5
    """Highest rate: about 5e-7 for a 7B model in full, 1e-5 for LoRA, 1e-3 for the tiny model."""
    weight_decay: float = 0.0
    """Not applied to vectors and embeddings."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of adamw."""
    warmup: float = 0.1
    """Share of the steps in which the rate rises."""
    decay: Decay = "cosine"
    """How it falls afterwards: to ``floor``, or not at all."""
    floor: float = 0.0
    """Rate at the end, as a share of the highest."""
    clip: float | None = 1.0
    """Largest norm of the gradient; null: no limit."""
    micro_batch: int | None = None
    """Examples of one forward and backward pass; null: all of a process's at once. It changes memory and
    speed, and no result."""

    def __post_init__(self) -> None:
        if self.name not in ("adamw", "rmsprop"):
            raise ValueError(f"optim.name={self.name!r} is not known; choose adamw or rmsprop")
        if self.decay not in ("cosine", "linear", "constant"):
            raise ValueError(f"optim.decay={self.decay!r} is not known; choose cosine, linear or constant")
        if not self.lr > 0:
            raise ValueError(f"optim.lr must be above 0, not {self.lr}")
        if self.weight_decay < 0:
            raise ValueError(f"optim.weight_decay must not be negative, got {self.weight_decay}")
        for name in ("warmup", "floor"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"optim.{name} is a share between 0 and 1, not {getattr(self, name)}")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"optim.clip must be above 0, not {self.clip}; null sets no limit")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ValueError(f"optim.micro_batch must be at least 1, not {self.micro_batch}")
        if self.decay == "constant" and self.floor:
            raise ValueError("optim.floor is where a decay ends; leave it out with decay: constant")


def optimiser(settings: OptimConfig, named: Iterable[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
    """The optimiser of the trained parameters."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in named:
        if parameter.requires_grad:
            (plain if parameter.ndim < 2 or "embed" in name else decayed).append(parameter)
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((decayed, settings.weight_decay), (plain, 0.0))
        if parameters
    ]
    if settings.name == "rmsprop":
        return torch.optim.RMSprop(groups, lr=settings.lr)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas)


def schedule(settings: OptimConfig, total: int) -> Callable[[int], float]:
    """Factor of the learning rate by step: a linear rise, then the decay, over ``total`` steps."""
    warm = round(settings.warmup * total)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        if settings.decay == "constant":
            return 1.0
        progress = min(1.0, (step - warm) / max(1, total - warm))
        left = 0.5 * (1 + math.cos(math.pi * progress)) if settings.decay == "cosine" else 1 - progress
        return settings.floor + (1 - settings.floor) * left

    return factor
