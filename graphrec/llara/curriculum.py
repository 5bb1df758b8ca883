"""Which training batches show soft tokens: from text-only to hybrid prompts, decided by (seed, step) alone.

LLaRA (Liao et al., SIGIR 2024, arXiv 2312.02445, section 3.3): at step t of T a batch is hybrid with
probability t / T. The draw keeps no state, so it is the same for any number of workers and processes and
after a run is resumed; the released code drew inside each data worker, which :class:`ReleaseCurriculum`
repeats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

Shape = Literal["power", "step", "constant"]
_STREAM = 0x11A2A
"""Keeps these draws apart from others of the same seed and step."""


class Curriculum(Protocol):
    """Says of each step of a run whether its batch is hybrid."""

    def share(self, step: int, total: int) -> float:
        """Probability that the batch of a step, from 0, is hybrid."""

    def is_hybrid(self, step: int, total: int, seed: int) -> bool:
        """Whether it is."""


def uniform(seed: int, step: int) -> float:
    """A number from 0 up to 1 for each seed and step."""
    return float(np.random.default_rng([_STREAM, seed, step]).random())


@dataclass(frozen=True)
class StepCurriculum:
    """The paper's curriculum and other shapes of it.

    Steps are whatever the caller counts over the whole run. Counting optimiser steps keeps the batches that
    are accumulated into one step alike, so that the projector is trained in all of them or in none.

    Attributes:
        shape: "power": ``(step / total) ** exponent``, with exponent 1 the paper's; "step": text-only up to
            ``switch``, then hybrid (two stages); "constant": ``level`` throughout.
        exponent: of the power.
        switch: share of the run that is text-only; 2 of 5 epochs in the paper's ablation.
        level: 1 is the paper's direct arm, 0 its text-only arm.
    """

    shape: Shape = "power"
    exponent: float = 1.0
    switch: float = 0.4
    level: float = 1.0

    def __post_init__(self) -> None:
        if self.shape not in ("power", "step", "constant"):
            raise ValueError(f"shape={self.shape!r} is not known; choose 'power', 'step' or 'constant'")
        if self.exponent <= 0:
            raise ValueError(f"exponent={self.exponent} does not rise; give a number above 0")
        for name, value in (("switch", self.switch), ("level", self.level)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value} is no share; give a number from 0 to 1")
        defaults = {"exponent": ("power", 1.0), "switch": ("step", 0.4), "level": ("constant", 1.0)}
        for name, (shape, default) in defaults.items():
            if self.shape != shape and getattr(self, name) != default:
                raise ValueError(f"{name} has no effect on shape {self.shape!r}; leave it out")

    def share(self, step: int, total: int) -> float:
        """Probability that the batch of a step, from 0, is hybrid."""
        progress = _progress(step, total)
        if self.shape == "constant":
            return self.level
        if self.shape == "step":
            return float(progress >= self.switch)
        return float(progress**self.exponent)

    def is_hybrid(self, step: int, total: int, seed: int) -> bool:
        """Whether the batch of a step is hybrid."""
        return uniform(seed, step) < self.share(step, total)


@dataclass(frozen=True)
class ReleaseCurriculum:
    """What the released code does: every data worker counts its own batches, and starts again each epoch.

    The threshold is a worker's count divided by ``epochs * batches // workers``, so it gets no further than
    about 1 / epochs in any epoch, and about a tenth of five epochs is hybrid.

    Attributes:
        batches: of an epoch, ``rows // batch size``.
        epochs: of the run.
        workers: of the data loader; 8 in the release.
        reversed: the comparison of the first release (until July 2024), under which the share falls.
    """

    batches: int
    epochs: int = 5
    workers: int = 8
    reversed: bool = False

    def __post_init__(self) -> None:
        if min(self.batches, self.epochs, self.workers) < 1 or not self.full_count:
            raise ValueError(
                f"{self.batches} batches, {self.epochs} epochs and {self.workers} workers: give at least one "
                "of each, and no more workers than there are batches in all epochs"
            )

    @property
    def full_count(self) -> int:
        """The count at which every batch would be hybrid."""
        return self.epochs * self.batches // self.workers

    @property
    def largest_threshold(self) -> float:
        """What the first worker's count gets to in any epoch."""
        return self.threshold(-(-self.batches // self.workers))

    def threshold(self, count: int) -> float:
        """Of a worker's n-th batch, from 1."""
        return count / self.full_count

    def count(self, step: int) -> int:
        """How many batches the worker of a step has had in its epoch; workers take turns."""
        return step % self.batches // self.workers + 1

    def hybrid_if(self, draw: float, count: int) -> bool:
        """Whether the n-th batch of a worker is hybrid, given its draw."""
        threshold = self.threshold(count)
        return draw > threshold if self.reversed else draw < threshold

    def share(self, step: int, total: int) -> float:
        """Probability that the batch of a step, from 0, is hybrid."""
        self._check(total)
        threshold = min(1.0, self.threshold(self.count(step)))
        return 1 - threshold if self.reversed else threshold

    def is_hybrid(self, step: int, total: int, seed: int) -> bool:
        """Whether the batch of a step is hybrid."""
        self._check(total)
        return self.hybrid_if(uniform(seed, step), self.count(step))

    def _check(self, total: int) -> None:
        if total != self.batches * self.epochs:
            raise ValueError(
                f"the run has {total} steps, not {self.epochs} epochs of {self.batches}; this curriculum "
                "counts micro-batches: set its batches and epochs to those of the run"
            )


def _progress(step: int, total: int) -> float:
    if total < 1 or not 0 <= step <= total:
        raise ValueError(f"step {step} of {total}: steps count from 0 to the length of the run")
    return step / total
