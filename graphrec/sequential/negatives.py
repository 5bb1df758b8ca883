"""Items that were not chosen, to train against.

Letters: S trained places, K negatives, I items.
"""

from __future__ import annotations

import torch
from torch import Tensor


def uniform_except(targets: Tensor, num_negatives: int, num_items: int) -> Tensor:
    """K items for each target, drawn evenly from all others, ``[S, K]``; from torch's default generator."""
    drawn = torch.randint(num_items - 1, (len(targets), num_negatives), device=targets.device)
    return drawn + (drawn >= targets.unsqueeze(1))


class SharedNegatives:
    """K items that all places of a batch share, drawn with replacement in proportion to count ** power.

    Args:
        counts: how often each item occurs in what is fitted, ``[I]``.
        power: 0 draws evenly, 1 by popularity. Items that never occur count as occurring once.
    """

    def __init__(self, counts: Tensor, power: float) -> None:
        weights = counts.clamp(min=1).double() ** power
        self.log_share = (weights / weights.sum()).log().float()  # [I]
        self.edges = (weights / weights.sum()).cumsum(0)

    def draw(self, num_negatives: int, device: torch.device) -> Tensor:
        """Item numbers, ``[K]``; from torch's default generator."""
        places = torch.rand(num_negatives, dtype=torch.float64) * self.edges[-1]
        drawn = torch.searchsorted(self.edges, places, right=True)
        return drawn.clamp(max=len(self.edges) - 1).to(device)

    def log_expected(self, items: Tensor, num_negatives: int) -> Tensor:
        """Log of how often each of some items is expected among K draws, ``[K]``."""
        return self.log_share.to(items.device)[items] + torch.log(torch.tensor(float(num_negatives)))
