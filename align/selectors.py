"""Which examples of a batch are trained on: all, or a draw that favours ordinary gaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from align.gap_statistics import Spread

Draw = Literal["gumbel", "multinomial"]


class Selector(Protocol):
    """A rule that keeps some of the usable examples."""

    @property
    def selective(self) -> bool:
        """Whether an example may be left out."""

    def log_weights(self, gaps: Tensor, spread: Spread | None) -> Tensor:
        """Logarithm of each example's weight in the draw, ``[B]``."""

    def select(
        self, gaps: Tensor, usable: Tensor, spread: Spread | None, ids: Tensor, key: Sequence[int]
    ) -> Tensor:
        """Kept examples, bool ``[B]``.

        Args:
            gaps: detached, ``[B]``.
            usable: bool ``[B]``; no other example is ever kept.
            spread: of the gaps, None while there is no estimate.
            ids: long ``[B]``, which the randomness follows.
            key: whole numbers that name the draw, (run seed, step) say; the same on all processes.
        """


@dataclass(frozen=True)
class SelectAll:
    """Every usable example."""

    selective = False

    def log_weights(self, gaps: Tensor, spread: Spread | None) -> Tensor:
        return torch.zeros_like(gaps)

    def select(
        self, gaps: Tensor, usable: Tensor, spread: Spread | None, ids: Tensor, key: Sequence[int]
    ) -> Tensor:
        return usable


@dataclass(frozen=True)
class GaussianSelector:
    """A share of the examples, drawn without replacement with Gaussian weights about the mean gap.

    Beta-DPO (arXiv 2407.08639), section 4.2.

    Attributes
    ----------
    keep_ratio : share that is kept, the paper's rho; at least one example is.
    draw : ``gumbel`` takes the largest of log-weight plus Gumbel noise, which is the same distribution and
        never runs out of positive weights; its noise belongs to (key, id). ``multinomial`` draws by the
        weights themselves, in order of rows, and raises a RuntimeError where none of them is a positive
        number.
    """

    keep_ratio: float = 0.8
    draw: Draw = "gumbel"

    selective = True

    def __post_init__(self) -> None:
        if not 0 < self.keep_ratio <= 1:
            raise ValueError(f"keep_ratio={self.keep_ratio} must be above 0 and at most 1 (which keeps all)")
        if self.draw not in ("gumbel", "multinomial"):
            raise ValueError(f"draw={self.draw!r} is not known; choose 'gumbel' or 'multinomial'")

    def num_kept(self, num_usable: int) -> int:
        """Of so many usable examples, how many are kept."""
        return min(num_usable, max(1, math.floor(num_usable * self.keep_ratio + 1e-9)))

    def log_weights(self, gaps: Tensor, spread: Spread | None) -> Tensor:
        return torch.zeros_like(gaps) if spread is None else spread.log_weights(gaps)

    def select(
        self, gaps: Tensor, usable: Tensor, spread: Spread | None, ids: Tensor, key: Sequence[int]
    ) -> Tensor:
        rows = usable.nonzero().squeeze(1)
        count = self.num_kept(len(rows))
        if count == len(rows) and self.draw == "gumbel":
            return usable
        log_weights = self.log_weights(gaps[rows].cpu().double(), spread)
        if self.draw == "multinomial":
            generator = torch.Generator().manual_seed(_mixed(key) & (2**63 - 1))
            taken = torch.multinomial(log_weights.exp(), count, generator=generator)
        else:
            noise = gumbel_noise(ids[rows].cpu(), key)
            taken = (log_weights.nan_to_num(nan=-math.inf) + noise).topk(count).indices
        return torch.zeros_like(usable).index_fill(0, rows[taken.to(rows.device)], True)


def gumbel_noise(ids: Tensor, key: Sequence[int]) -> Tensor:
    """Standard Gumbel noise, float64 ``[B]``, a function of (key, id) alone; ids on the CPU.

    The same example under the same key gets the same noise, wherever it stands and on whatever process.
    """
    state = ids.numpy().astype(np.uint64) ^ np.uint64(_mixed(key))
    uniform = ((_splitmix(state) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return torch.from_numpy(-np.log(-np.log(uniform)))


def _mixed(key: Sequence[int]) -> int:
    state = np.zeros(1, dtype=np.uint64)
    for number in key:
        state = _splitmix(state ^ np.uint64(number % 2**64))
    return int(state[0])


def _splitmix(state: np.ndarray) -> np.ndarray:
    """Steele, Lea & Flood 2014: one step of SplitMix64, elementwise."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
