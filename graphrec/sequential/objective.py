"""The loss of a batch: states, targets and the vectors that score, by the name of the loss.

Letters: S trained places, K negatives, I items, d width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from graphrec.sequential import losses
from graphrec.sequential.config import SequentialConfig
from graphrec.sequential.negatives import SharedNegatives, uniform_except
from graphrec.sequential.softmax import full_softmax

Scoring = tuple[Tensor, Tensor | None]
"""Vectors ``[I, d]`` and biases ``[I]`` or None."""


class Objective:
    """Loss of states against the items that came next.

    Args:
        config: which loss, and how negatives are drawn.
        counts: how often each item occurs in what is fitted, ``[I]``; zeros where that does not matter.

    Raises:
        ValueError: there are not enough items for so many negatives.
    """

    def __init__(self, config: SequentialConfig, counts: Tensor) -> None:
        self.config, self.num_items = config, len(counts)
        self.negatives = SharedNegatives(counts, config.negative_power)
        if config.loss == "gbce":
            self.beta = losses.gbce_beta(config.num_negatives, self.num_items, config.calibration)
        if self.num_items < 2 and config.loss != "softmax":
            raise ValueError(f"loss {config.loss!r} needs an item that was not chosen: the catalogue has one")

    def __call__(self, states: Tensor, targets: Tensor, scoring: Scoring) -> Tensor:
        """Mean over the trained places, a scalar, of states ``[S, d]`` and targets ``[S]``."""
        if self.config.loss == "softmax":
            return full_softmax(states, scoring[0], targets, scoring[1])
        positive = scores_of(states, targets, scoring)
        if not self.config.shared_negatives:
            drawn = uniform_except(targets, self.config.num_negatives, self.num_items)  # [S, K]
            return self._by_name()(positive, scores_of(states.unsqueeze(1), drawn, scoring)).mean()
        drawn = self.negatives.draw(self.config.num_negatives, targets.device)  # [K]
        negatives = shared_scores(states, drawn, scoring)  # [S, K]
        negatives = negatives.masked_fill(drawn == targets.unsqueeze(1), -torch.inf)
        if self.config.loss != "sampled_softmax":
            return self._by_name()(positive, negatives).mean()
        expected = None
        if self.config.correct_sampling:
            expected = self.negatives.log_expected(drawn, self.config.num_negatives)
        return losses.sampled_softmax(positive, negatives, correction=expected).mean()

    def _by_name(self) -> Callable[[Tensor, Tensor], Tensor]:
        if self.config.loss == "gbce":
            return lambda positive, negatives: losses.gbce(positive, negatives, self.beta)
        return losses.binary_cross_entropy


def scores_of(states: Tensor, items: Tensor, scoring: Scoring) -> Tensor:
    """Scores of some items for each state: ``[..., K]`` of states ``[..., d]`` and items ``[..., K]``."""
    vectors, biases = scoring
    scores = (states * torch.nn.functional.embedding(items, vectors)).sum(-1)
    return scores if biases is None else scores + biases[items]


def shared_scores(states: Tensor, items: Tensor, scoring: Scoring) -> Tensor:
    """Scores of the same items ``[K]`` for all states, ``[S, K]``."""
    vectors, biases = scoring
    chosen = torch.nn.functional.embedding(items, vectors)  # [K, d]
    return states @ chosen.T if biases is None else torch.addmm(biases[items], states, chosen.T)
