"""The training loss of a batch: which steps and noise are drawn, what is predicted, which terms are added up.

Letters: B rows, I items, K negatives, d width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from graphrec.dreamrec.config import DreamRecConfig
from graphrec.dreamrec.losses import consistency, preference, reconstruction
from graphrec.dreamrec.network import DreamRecNetwork
from graphrec.dreamrec.prefixes import PrefixBatch
from graphrec.dreamrec.retrieval import retrieval_factors
from graphrec.sequential.softmax import full_softmax


class Drawn(NamedTuple):
    """One batch on its way: targets, noise, and the conditions with some replaced by the null condition."""

    x0: Tensor
    """Vectors of the targets, ``[B, d]``."""
    t: Tensor
    """Steps, drawn evenly, ``[B]``."""
    noise: Tensor
    """Standard normal, ``[B, d]``."""
    condition: Tensor
    """``[B, d]``."""


class Objective:
    """The loss of a network as settings say; everything is drawn from torch's default generator."""

    def __init__(self, network: DreamRecNetwork, config: DreamRecConfig) -> None:
        self.network, self.config = network, config

    def __call__(self, batch: PrefixBatch) -> dict[str, Tensor]:
        """The loss of a batch as "loss", and its terms by name."""
        config, network = self.config, self.network
        history, x0 = network.encode_and_look_up(batch.rows, batch.targets)
        drawn = self.draw(x0.detach() if config.detached_target else x0, history)
        predicted = self.denoise(drawn)
        terms = {"reconstruction": reconstruction(predicted, drawn.x0)}
        if config.cross_entropy:
            vectors = network.generate(history, config) if config.ranked == "generated" else predicted
            terms["cross_entropy"] = config.cross_entropy * self.ranking(vectors, batch.targets)
        if config.preference:
            terms["preference"] = config.preference * self.preference(drawn, predicted)
        if config.consistency:
            terms["consistency"] = config.consistency * self.consistency(drawn, predicted)
        if len(terms) == 1:
            return {"loss": terms["reconstruction"]}
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}

    def draw(self, x0: Tensor, history: Tensor) -> Drawn:
        """Steps, noise and which histories are replaced, for targets and conditions ``[B, d]``."""
        t = torch.randint(self.config.num_steps, (len(x0),), device=x0.device)
        replaced = torch.rand(len(x0), 1, device=x0.device) < self.config.null_rate
        condition = torch.where(replaced, self.network.null, history)
        return Drawn(x0, t, torch.randn_like(x0), condition)

    def denoise(self, drawn: Drawn) -> Tensor:
        """Predicted ``x0``, ``[B, d]``."""
        network = self.network
        return network.denoiser(
            network.diffusion.noised(drawn.x0, drawn.t, drawn.noise), drawn.condition, drawn.t
        )

    def ranking(self, vectors: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of the targets ``[B]`` among all items, for vectors ``[B, d]``."""
        items = self.network.table[:-1]
        queries, table, bias = retrieval_factors(vectors, items, self.config.retrieval)
        share = 1 / self.config.temperature
        return full_softmax(queries * share, table, targets, None if bias is None else bias * share)

    def preference(self, drawn: Drawn, predicted: Tensor) -> Tensor:
        """PreferDiff's term, with the mean of evenly drawn items."""
        items = self.network.table[:-1]
        shape = (len(drawn.x0), self.config.negatives)
        others = items[torch.randint(len(items), shape, device=items.device)].mean(1)  # [B, d]
        negative = drawn._replace(x0=others, noise=torch.randn_like(others))
        return preference(predicted, drawn.x0, self.denoise(negative), others)

    def consistency(self, drawn: Drawn, predicted: Tensor) -> Tensor:
        """TA-Rec's term: the same noise one step earlier."""
        before = drawn._replace(t=(drawn.t - 1).clamp(min=0))
        return consistency(predicted, self.denoise(before), drawn.t > 0)
