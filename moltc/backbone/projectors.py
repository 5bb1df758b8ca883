"""The last part of a tower: from what was read of a molecule to soft tokens of the language model's width."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from data_prep.graphs import FINGERPRINT_BITS
from moltc.backbone.batch_norm import BatchNorm
from moltc.backbone.freezing import Freezable
from moltc.backbone.graphs import unpack_bits


class LinearProjector(Freezable):
    """One linear map of each query to the width of the language model, as in BLIP-2, MolCA and MolTC."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim)

    def forward(self, queries: Tensor) -> Tensor:
        """[M, Q, in_dim] -> soft tokens [M, Q, out_dim]."""
        return self.linear(queries)

    def adapter_targets(self) -> list[str]:
        """The map itself."""
        return ["linear"]


class PooledProjector(Freezable):
    """A small MLP from one vector per molecule to all its soft tokens; for small models trained from scratch.

    Batch norm, linear, batch norm, ReLU, linear to Q tokens. With ``fingerprint`` the vector is the graph's
    readout joined with an embedding of the molecule's 2,048 fingerprint bits, ``fingerprint_dim`` wide.
    """

    def __init__(
        self,
        in_dim: int,
        hidden: int,
        num_queries: int,
        out_dim: int,
        *,
        fingerprint: bool = False,
        fingerprint_dim: int = 256,
        fingerprint_dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.vector_dim = in_dim + (fingerprint_dim if fingerprint else 0)
        self.fingerprint = (
            nn.Sequential(
                nn.Linear(FINGERPRINT_BITS, fingerprint_dim), nn.ReLU(), nn.Dropout(fingerprint_dropout)
            )
            if fingerprint
            else None
        )
        self.hidden = nn.Sequential(
            BatchNorm(self.vector_dim), nn.Linear(self.vector_dim, hidden), BatchNorm(hidden), nn.ReLU()
        )
        self.output = nn.Linear(hidden, num_queries * out_dim)

    def vector(self, readout: Tensor, fingerprint: Tensor) -> Tensor:
        """Graph-level vector: readout [M, in_dim], packed bits uint8 [M, 256] -> [M, vector_dim]."""
        if self.fingerprint is None:
            return readout
        bits = unpack_bits(fingerprint).to(self.output.weight.dtype)
        return torch.cat([readout, self.fingerprint(bits)], dim=1)

    def forward(self, vector: Tensor) -> Tensor:
        """[M, vector_dim] -> soft tokens [M, Q, out_dim]."""
        hidden = self.hidden(vector.to(self.output.weight.dtype))
        return self.output(hidden).view(vector.shape[0], self.num_queries, -1)

    def adapter_targets(self) -> list[str]:
        """Both linear maps of the MLP."""
        return ["hidden.1", "output"]
