"""The networks of an offline learner: a session's states, and from each the policy and the action values.

Letters: P events of a batch, N negatives, I items, d item width, w state width.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from graphrec.offline_rl.backbones import build_backbone
from graphrec.offline_rl.config import OfflineRLConfig
from graphrec.offline_rl.contrast import RewardContrast, TransitionContrast
from graphrec.offline_rl.heads import Head
from graphrec.sequential.packing import Packing

ITEM_STD = 0.02


class StateNetwork(nn.Module):
    """Item table, encoder, and the heads that the objective asks for.

    Parameters
    ----------
    config : sizes and objective.
    num_items : I.
    """

    def __init__(self, config: OfflineRLConfig, num_items: int) -> None:
        super().__init__()
        objective = config.resolved()
        self.items = nn.Embedding(num_items, config.width)
        nn.init.normal_(self.items.weight, std=ITEM_STD)
        self.encoder, width = build_backbone(
            config.backbone,
            config.width,
            config.length,
            dropout=config.dropout,
            num_blocks=config.num_blocks,
            num_heads=config.num_heads,
        )
        self.empty = nn.Parameter(torch.randn(width) * ITEM_STD)
        table = self.items if config.tied else None
        self.policy = Head(width, num_items, table)
        self.value = Head(width, num_items, table) if objective.learns_values else None
        self.reward = RewardContrast(width, config.width) if objective.reward_contrast_weight else None
        self.transition = (
            TransitionContrast(width, config.width) if objective.transition_contrast_weight else None
        )

    def states(self, items: Tensor, packing: Packing) -> Tensor:
        """The empty state, then the state after each event: ``[1 + P, w]`` for items ``[P]``."""
        after = self.encoder(self.items(items), packing)
        return torch.cat([self.empty[None], after])

    def values(self) -> Head:
        """The value head.

        Raises:
            ValueError: nothing of the objective trains one.
        """
        if self.value is None:
            raise ValueError("this method learns no action values; choose one with td_weight above 0")
        return self.value


class Networks(nn.Module):
    """The network that recommends, and for methods with values a second one that judges the first's choices.

    ``alternating``: double Q-learning (arXiv 1509.06461) with two networks that both learn; a fair coin
    decides which is updated, and the other gives the targets. ``average``: the second follows the first as an
    exponential average.
    """

    def __init__(self, config: OfflineRLConfig, num_items: int) -> None:
        super().__init__()
        self.alternating = config.targets == "alternating"
        self.rate = config.average_rate
        self.first = StateNetwork(config, num_items)
        self.second: StateNetwork | None = None
        if config.resolved().learns_values:
            if self.alternating:
                self.second = StateNetwork(config, num_items)
            else:
                self.second = copy.deepcopy(self.first).requires_grad_(False)

    def roles(self) -> tuple[StateNetwork, StateNetwork]:
        """The network that learns in this step, and the one that gives it targets."""
        if self.second is None:
            return self.first, self.first
        if self.alternating and torch.rand(()) < 0.5:
            return self.second, self.first
        return self.first, self.second

    @torch.no_grad()
    def follow(self) -> None:
        """Move the average one step towards the network that learns."""
        if self.second is None or self.alternating:
            return
        for kept, new in zip(self.second.parameters(), self.first.parameters(), strict=True):
            kept.lerp_(new, self.rate)


@contextmanager
def as_target(network: nn.Module, *, dropout: bool) -> Iterator[None]:
    """No gradients within, and no dropout unless it is asked for; the network's mode is put back."""
    training = network.training
    network.train(training and dropout)
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(training)
