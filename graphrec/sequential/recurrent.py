"""GRU4Rec (Hidasi et al., ICLR 2016) in its stronger form: every place trained, dropout, one table."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from graphrec.sequential.packing import Packing, permuted


class Recurrent(nn.Module):
    """Gated recurrent layers over packed sequences: item vectors to states, ``[P, d]`` to ``[P, d]``.

    Args:
        width: d.
        num_layers: recurrent layers.
        hidden: their width; default: d.
        dropout: on the item vectors, between layers and on the states.
    """

    def __init__(
        self, width: int, *, num_layers: int = 1, hidden: int | None = None, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.gru = nn.GRU(width, hidden or width, num_layers, dropout=dropout if num_layers > 1 else 0.0)
        self.output = nn.Linear(hidden or width, width)
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)

    def forward(self, vectors: Tensor, packing: Packing) -> Tensor:
        order, sizes = by_time(packing)
        order = order.to(vectors.device)
        inputs = PackedSequence(permuted(self.drop(vectors), order), sizes)
        states = permuted(self.gru(inputs)[0].data, order, back=True)  # [P, hidden]
        return self.norm(self.output(self.drop(states)))


def by_time(packing: Packing) -> tuple[Tensor, Tensor]:
    """Tokens in order of their place, first places first, ``[P]``, and how many tokens each place has.

    Sequences lie longest first, so that those that have a place are always the first ones.
    """
    positions = packing.positions.numpy()
    order = np.argsort(positions, kind="stable")
    return torch.from_numpy(order), torch.from_numpy(np.bincount(positions))
