"""A number for each item of the catalogue from a state: action values, or logits of the policy.

Letters: P states, I items, K items asked for, w state width, d item width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from graphrec.sequential.losses import sampled_softmax
from moltc.backbone.logps import label_logps

MOST_SCORES = 8_000_000
"""Scores held at once where fewer are wanted: 32 MB in float32."""


class Scores(NamedTuple):
    """``queries @ rows.T + biases``, not multiplied yet.

    Attributes
    ----------
    queries : one for each state, ``[P, d]``.
    rows : one for each item, ``[I, d]``.
    biases : of the items, ``[I]``.
    """

    queries: Tensor
    rows: Tensor
    biases: Tensor

    def detached(self) -> Scores:
        """The same without gradient."""
        return Scores(*(part.detach() for part in self))

    def all(self) -> Tensor:
        """All items: ``[P, I]``."""
        return torch.addmm(self.biases, self.queries, self.rows.T)

    def of(self, items: Tensor) -> Tensor:
        """Some items of each state: ``[P, K]`` for items ``[P, K]``."""
        return torch.einsum("pd,pkd->pk", self.queries, self.rows[items]) + self.biases[items]

    def logps(self, items: Tensor) -> Tensor:
        """log softmax at one item of each state, ``[P]``; more than :data:`MOST_SCORES` are never held."""
        if len(items) * len(self.rows) <= MOST_SCORES:  # quicker, where all of them can be kept
            return -cross_entropy(self.all(), items, reduction="none")
        return label_logps(self.queries, self.rows, items, bias=self.biases)

    def sampled_logps(self, items: Tensor, count: int) -> Tensor:
        """An estimate of :meth:`logps` from ``count`` items drawn alike for all states, ``[P]``.

        The draws come from torch's generator; their scores are corrected for how few they are (logQ).
        """
        drawn = torch.randint(len(self.rows), (count,), device=items.device)
        others = torch.addmm(self.biases[drawn], self.queries, self.rows[drawn].T)  # [P, count]
        others = others.masked_fill(drawn == items[:, None], -torch.inf)
        expected = math.log(count / len(self.rows))
        correction = torch.full((count,), expected, dtype=others.dtype, device=items.device)
        return -sampled_softmax(self.of(items[:, None])[:, 0], others, correction=correction)

    def best(self) -> Tensor:
        """The item with the largest score in each state, ``[P]``."""
        parts = self.queries.split(max(1, MOST_SCORES // len(self.rows)))
        return torch.cat([self._replace(queries=part).all().argmax(1) for part in parts])


class Head(nn.Module):
    """``query(s) . row_i + bias_i``, with rows of its own or those of the item table.

    Rows of its own are the form of SQN (arXiv 2006.05779). Tied rows let actions that were seldom taken learn
    from the item vectors; the state is then mapped to the items' width, and one offset stands for all items.

    Parameters
    ----------
    width : w.
    num_items : I.
    tied : the item table ``[I, d]`` whose rows are read; None: rows of its own.
    """

    def __init__(self, width: int, num_items: int, tied: nn.Embedding | None = None) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_items))
        self._shared = [tied]  # not as a module: the table's weights are saved where it belongs
        if tied is None:
            self.rows = nn.Parameter(torch.empty(num_items, width))
            nn.init.xavier_uniform_(self.rows)
        else:
            self.map = nn.Linear(width, tied.embedding_dim, bias=False)
            self.offset = nn.Parameter(torch.zeros(1))
            if width == tied.embedding_dim:
                nn.init.eye_(self.map.weight)

    def forward(self, states: Tensor) -> Scores:
        """Scores of states ``[P, w]``."""
        (table,) = self._shared
        if table is None:
            return Scores(states, self.rows, self.bias)
        return Scores(self.map(states), table.weight, self.bias + self.offset)
