"""From states of a recommender to soft tokens of a language model: the only thing that RecInterpreter trains.

RecInterpreter (arXiv 2310.20487): a learned weighted sum over the places of a history, then one linear map.

Letters: M histories, L places, d width of the recommender, Q soft tokens, H width of the language model.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Reads = Literal["all", "last"]
Projector = Literal["linear", "mlp"]


class StateReader(nn.Module):
    """States of M histories to Q soft tokens each.

    Args:
        width: d.
        length: L; place L - 1 is the latest.
        out_dim: H.
        reads: "all": a learned weighted sum over the places, with a bias; "last": the latest state.
        soft_tokens: Q.
        projector: "linear", or "mlp" with one hidden layer of width H.
    """

    def __init__(
        self,
        width: int,
        length: int,
        out_dim: int,
        *,
        reads: Reads = "all",
        soft_tokens: int = 1,
        projector: Projector = "linear",
    ) -> None:
        super().__init__()
        self.soft_tokens, self.out_dim, self.reads = soft_tokens, out_dim, reads
        if reads == "all":
            recency = 1 / torch.arange(length, 0, -1)
            self.weights = nn.Parameter(recency / recency.sum())  # [L]
            self.bias = nn.Parameter(torch.zeros(1))
        out = soft_tokens * out_dim
        self.project: nn.Module = nn.Linear(width, out)
        if projector == "mlp":
            self.project = nn.Sequential(nn.Linear(width, out_dim), nn.GELU(), nn.Linear(out_dim, out))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Soft tokens ``[M, Q, H]``.

        Args:
            states: ``[M, L, d]``.
            mask: places that have a state, bool ``[M, L]``; without any, what is projected is the bias.
        """
        states = states * mask.unsqueeze(-1)
        if self.reads == "last":
            summary = states[:, -1]
        else:
            summary = torch.einsum("l,mld->md", self.weights, states) + self.bias
        return self.project(summary).view(len(states), self.soft_tokens, self.out_dim)
