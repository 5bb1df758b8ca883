"""LLaRA's learning rate: a linear warm-up, then a cosine whose clock started with the warm-up."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LlaraRates:
    """Learning rate at each optimiser step, as the released code sets it (arXiv 2312.02445).

    Attributes:
        peak: highest rate.
        start: rate of the first step.
        minimum: rate at the end.
        max_steps: length of the cosine.
        warmup_steps: steps of the warm-up, which is cut short by the end of the first epoch.
    """

    peak: float
    start: float
    minimum: float
    max_steps: int
    warmup_steps: int

    def __post_init__(self) -> None:
        if self.max_steps < 1 or self.warmup_steps < 0:
            raise ValueError(
                f"{self.max_steps} steps with {self.warmup_steps} of warm-up: give at least one step, and no "
                "negative warm-up"
            )

    @classmethod
    def of_run(cls, peak: float, *, epochs: int, num_train: int, batch_size: int = 128) -> LlaraRates:
        """The released settings: it starts and ends at a hundredth of the peak, and warms up for a
        twentieth of the run."""
        max_steps = epochs * num_train // batch_size
        if max_steps < 1:
            raise ValueError(
                f"{epochs} epochs of {num_train} rows make no batch of {batch_size}; take a smaller batch"
            )
        return cls(peak, peak / 100, peak / 100, max_steps, max_steps // 20)

    def rate(self, step: int, epoch: int) -> float:
        """Rate of an optimiser step, from 0, in an epoch, from 0."""
        if step < self.warmup_steps and epoch == 0:
            risen = self.start + (self.peak - self.start) * step / max(self.warmup_steps, 1)
            return min(self.peak, risen)
        return self.minimum + 0.5 * (self.peak - self.minimum) * (
            1 + math.cos(math.pi * step / self.max_steps)
        )
