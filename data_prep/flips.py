"""Flip noise: some preferences are turned round, as if they had been labelled wrongly.

Wu et al., "Towards Robust Alignment of Language Models: Distributionally Robustifying Direct Preference
Optimization" (ICLR 2025), flip each training pair with the same probability. Here the draw is a hash of seed
and example id: it does not depend on order, processes or what else is in the data.
"""

from __future__ import annotations

import numpy as np


def uniform_draws(ids: np.ndarray, seed: int, stream: int = 0) -> np.ndarray:
    """A number in [0, 1) for each id, float64 [N], by (seed, id, stream) alone.

    The hash is splitmix64 (Steele et al., OOPSLA 2014), applied to the id on top of the hashed seed.
    """
    start = _mixed(np.array([seed, stream], dtype=np.int64).view(np.uint64))
    key = _mixed(start[:1] + start[1:] * np.uint64(3))
    return (_mixed(ids.astype(np.int64).view(np.uint64) ^ key) >> np.uint64(11)) / float(1 << 53)


def _mixed(values: np.ndarray) -> np.ndarray:
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def draw_flips(ids: np.ndarray, rate: float, *, seed: int, exact: bool = False) -> np.ndarray:
    """Which examples are turned round, bool [N].

    Args:
        ids: int64 [N], of the examples that may be flipped.
        rate: probability of each, at least 0 and below 1.
        exact: flip round(rate * N) examples instead, those with the smallest draws.

    Raises:
        ValueError: the rate is no such probability.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"flip noise must be at least 0 and below 1, not {rate}")
    draws = uniform_draws(ids, seed)
    if not exact:
        return draws < rate
    flips = np.zeros(len(ids), dtype=bool)
    flips[np.argsort(draws, kind="stable")[: round(rate * len(ids))]] = True
    return flips


def swapped_with(ids: np.ndarray, counts: np.ndarray, *, seed: int) -> np.ndarray:
    """Which rejected completion takes the chosen one's place when an example is flipped, int64 [N], from 1.

    ``counts`` (int64 [N]) are the completions of each example; of several rejected ones each is as likely.
    """
    rejected = np.maximum(counts - 1, 1)
    return 1 + np.minimum((uniform_draws(ids, seed, stream=1) * rejected).astype(np.int64), rejected - 1)
