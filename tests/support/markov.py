"""Sequences whose best possible recommender is known: a Markov chain over items."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tiny_recommenders import write_folder

from graphrec.data import RecommendationData

SUCCESSORS = (0.6, 0.2, 0.1)
"""Chances of an item's three successors; what remains goes evenly to all items."""


@dataclass(frozen=True)
class MarkovChain:
    """Items that mostly follow three others each.

    Attributes:
        transitions: chance of each next item, ``[I, I]``.
    """

    transitions: NDArray[np.float64]

    @classmethod
    def drawn(cls, num_items: int, seed: int = 0) -> MarkovChain:
        """A chain whose successors are drawn so that all items are about equally frequent."""
        rng = np.random.default_rng(seed)
        transitions = np.full((num_items, num_items), (1 - sum(SUCCESSORS)) / num_items)
        for chance in SUCCESSORS:
            transitions[np.arange(num_items), rng.permutation(num_items)] += chance
        return cls(transitions)

    def walks(self, count: int, length: int, seed: int) -> NDArray[np.int64]:
        """Sequences of a length, ``[count, length]``, from anywhere."""
        rng = np.random.default_rng(seed)
        steps = self.transitions.cumsum(axis=1)
        walks = np.empty((count, length), dtype=np.int64)
        walks[:, 0] = rng.integers(len(steps), size=count)
        for place in range(1, length):
            chances = rng.random(count)
            walks[:, place] = (steps[walks[:, place - 1]] < chances[:, None]).sum(axis=1)
        return walks

    def hit_ratio(self, last_items: NDArray[np.int64], chosen: NDArray[np.int64]) -> float:
        """HR@1 to expect when these items are recommended after those."""
        return float(self.transitions[last_items, chosen].mean())

    def best(self, last_items: NDArray[np.int64]) -> NDArray[np.int64]:
        """The most probable next item after each."""
        return self.transitions[last_items].argmax(axis=1)


def write_markov(folder: Path, chain: MarkovChain, count: int, length: int) -> RecommendationData:
    """Leave-one-out data of such walks; nothing is filtered."""
    walks = chain.walks(count, length, seed=1).tolist()
    train = [walk[:-2] for walk in walks]
    valid = [(walk[:-2], walk[-2]) for walk in walks]
    test = [(walk[:-1], walk[-1]) for walk in walks]
    settings = {"filter_seen": False, "metric": "HR@1"}
    return RecommendationData.load(
        write_folder(folder, len(chain.transitions), train, valid, test, **settings)
    )
