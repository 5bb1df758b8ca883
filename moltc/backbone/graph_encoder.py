"""Graph encoders over packed molecules: GIN with bond embeddings, and residual GINE to train from scratch.

GIN as in "How Powerful are Graph Neural Networks?" (Xu et al., ICLR 2019) with the bond embeddings of
"Strategies for Pre-training Graph Neural Networks" (Hu et al., ICLR 2020), the encoder of GraphCL, MoMu,
MolCA and MolTC; its messages are linear, so the sum over bond embeddings is one product of bond counts with
the table of all bond codes. GINE is the form of the same paper that puts a ReLU on each message.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moltc.backbone.batch_norm import BatchNorm
from moltc.backbone.freezing import Freezable
from moltc.backbone.graphs import SCHEMES, GraphBatch, starts

__all__ = ["BatchNorm", "GraphBatch", "GraphEncoder", "GraphEncoderConfig", "readout", "to_sequence"]

SELF_LOOP_TYPE = 4
"""Bond type of a dedicated self-loop in the 2+2 scheme."""


@dataclass(frozen=True)
class GraphEncoderConfig:
    """Sizes and kind of the graph encoder; the defaults are those of GraphCL, MolCA and MolTC."""

    kind: Literal["gin", "gine"] = "gin"
    """"gin": linear messages and a self-loop; "gine": a ReLU on each message and residual layers."""
    features: Literal["graphcl", "ogb"] = "graphcl"
    """"graphcl": 2 atom and 2 bond features, for released weights; "ogb": 9 and 3, to train from scratch."""
    hidden: int = 300
    """Width d of the atom states; the MLP of each layer is twice as wide."""
    num_layers: int = 5
    dropout: float = 0.0
    """Dropout after each layer."""
    dedicated_self_loop: bool = False
    """Give self-loops a bond type of their own, as Hu et al.; False: (single, none), as GraphCL and MolCA."""

    def __post_init__(self) -> None:
        if self.kind not in ("gin", "gine"):
            raise ValueError(f"encoder kind '{self.kind}' is unknown: choose gin or gine")
        if self.features not in SCHEMES:
            raise ValueError(
                f"graph features '{self.features}' are unknown: choose one of {', '.join(SCHEMES)}"
            )
        if self.hidden < 1 or self.num_layers < 1 or not 0 <= self.dropout < 1:
            raise ValueError("an encoder needs hidden >= 1, num_layers >= 1 and 0 <= dropout < 1")
        if self.dedicated_self_loop and (self.kind, self.features) != ("gin", "graphcl"):
            raise ValueError(
                "dedicated_self_loop needs kind gin and features graphcl: switch it off or change those"
            )


def combination(codes: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Number each combination of codes, long [n, columns] -> long [n] below the product of ``sizes``."""
    number = codes[:, 0]
    for column, size in enumerate(sizes[1:], start=1):
        number = number * size + codes[:, column]
    return number


def split_combination(number: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """The inverse of :func:`combination`, long [n] -> long [n, columns]."""
    columns = []
    for size in reversed(sizes):
        columns.append(number % size)
        number = number // size
    return torch.stack(columns[::-1], dim=1)


class SummedEmbedding(nn.Module):
    """One embedding per feature column, summed. The tables are stacked in one weight [sum of sizes, dim]."""

    def __init__(self, sizes: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.weight = nn.Parameter(torch.empty(sum(sizes), dim))
        for table in self.weight.split(sizes):
            nn.init.xavier_uniform_(table)

    def all_combinations(self) -> Tensor:
        """The sum for every combination of codes in order, [product of sizes, dim]; for schemes with few."""
        first, *others = self.weight.split(self.sizes)
        for table in others:
            first = (first.unsqueeze(1) + table).flatten(0, 1)
        return first

    def forward(self, codes: Tensor) -> Tensor:
        """long [n, columns] -> [n, dim]; each distinct combination is summed once, then gathered."""
        distinct, inverse = combination(codes, self.sizes).unique(return_inverse=True)
        rows = split_combination(distinct, self.sizes) + starts(torch.tensor(self.sizes)).to(codes.device)
        return F.embedding(inverse, F.embedding_bag(rows, self.weight, mode="sum"))


class Neighbourhood(NamedTuple):
    """The edges of a batch as its layers use them, ordered by target atom."""

    source: Tensor
    """long [E]."""
    first_edge: Tensor
    """long [N], position of each atom's first incoming edge."""
    bond: Tensor
    """long [E], number of the bond's combination of features."""
    bond_counts: Tensor | None
    """float [N, combinations], how often each kind of bond enters an atom, self-loop included; GIN only."""

    def sum_sources(self, h: Tensor) -> Tensor:
        """Sum over the neighbours' states, [N, d] -> [N, d]."""
        return F.embedding_bag(self.source, h, self.first_edge, mode="sum")


def segment_sum(values: Tensor, first: Tensor) -> Tensor:
    """Sums of consecutive rows, [n, d] -> [segments, d]; ``first`` holds where each segment begins."""
    positions = torch.arange(values.shape[0], device=values.device)
    return F.embedding_bag(positions, values, first, mode="sum")


class GINLayer(nn.Module):
    """BN(MLP(sum over u in N(v) and v itself of h_u + e_uv)), Hu et al. 2020, appendix A."""

    def __init__(self, dim: int, bond_sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.bond_embedding = SummedEmbedding(bond_sizes, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))
        self.norm = BatchNorm(dim)

    def aggregate(self, h: Tensor, edges: Neighbourhood) -> Tensor:
        """a_v, [N, d] -> [N, d]."""
        assert edges.bond_counts is not None
        bonds = edges.bond_counts.to(h.dtype) @ self.bond_embedding.all_combinations().to(h.dtype)
        return h + edges.sum_sources(h) + bonds

    def forward(self, h: Tensor, edges: Neighbourhood) -> Tensor:
        """States of all atoms, [N, d] -> [N, d]."""
        return self.norm(self.mlp(self.aggregate(h, edges)))


class GINELayer(GINLayer):
    """BN(MLP(h_v + sum over u in N(v) of ReLU(h_u + e_uv)))."""

    def aggregate(self, h: Tensor, edges: Neighbourhood) -> Tensor:
        """a_v, [N, d] -> [N, d]."""
        bonds = F.embedding(edges.bond, self.bond_embedding.all_combinations()).to(h.dtype)
        messages = F.relu(F.embedding(edges.source, h) + bonds)  # [E, d]
        return h + segment_sum(messages, edges.first_edge)


class GraphEncoder(Freezable):
    """Atom states of a packed batch of molecules.

    With the default config it has the 1,857,900 parameters of the GraphCL encoder of MolCA and MolTC. While
    training, batch-norm statistics weight each distinct molecule of the batch once, however many pairs it
    occurs in.
    """

    def __init__(self, config: GraphEncoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or GraphEncoderConfig()
        self.out_dim = config.hidden
        self.scheme = SCHEMES[config.features]
        self.residual = config.kind == "gine"
        self.atom_embedding = SummedEmbedding(self.scheme.atom_sizes, config.hidden)
        layer = GINELayer if config.kind == "gine" else GINLayer
        self.layers = nn.ModuleList(
            layer(config.hidden, self.scheme.bond_sizes) for _ in range(config.num_layers)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, graphs: GraphBatch) -> Tensor:
        """Encode M molecules with N atoms in all.

        Returns
        -------
        [N, d], the states of the last layer, in the order of ``graphs.atoms``.
        """
        edges = self._neighbourhood(graphs)
        h = self.atom_embedding(self.scheme.atoms(graphs.atoms))
        last = len(self.layers) - 1
        for k, layer in enumerate(self.layers):
            update = layer(h, edges)
            update = self.dropout(F.relu(update) if k < last else update)
            h = h + update if self.residual else update
        return h

    def adapter_targets(self) -> list[str]:
        """The two linear maps of each layer's MLP."""
        return [f"layers.{k}.mlp.{i}" for k in range(len(self.layers)) for i in (0, 2)]

    def _neighbourhood(self, graphs: GraphBatch) -> Neighbourhood:
        source, target = graphs.edge_index
        num_atoms = graphs.atoms.shape[0]
        sizes = self.scheme.bond_sizes
        bond = combination(self.scheme.bonds(graphs.bonds), sizes)
        first_edge = starts(torch.bincount(target, minlength=num_atoms))
        if self.config.kind == "gine":
            return Neighbourhood(source, first_edge, bond, None)
        kinds = prod(sizes)
        counts = torch.bincount(target * kinds + bond, minlength=num_atoms * kinds).view(num_atoms, kinds)
        counts[:, SELF_LOOP_TYPE * prod(sizes[1:]) if self.config.dedicated_self_loop else 0] += 1
        return Neighbourhood(source, first_edge, bond, counts.float())


def to_sequence(h: Tensor, graphs: GraphBatch) -> tuple[Tensor, Tensor]:
    """Pad atom states to one sequence per molecule: the mean of the atoms first, then the atoms.

    Arguments
    ---------
    h : [N, d].

    Returns
    -------
    states [M, 1 + n_max, d], zero where padded, and a mask, bool [M, 1 + n_max], True where there is
    something to read.
    """
    width = 1 + int(graphs.num_nodes.max())
    within = torch.arange(h.shape[0], device=h.device) - starts(graphs.num_nodes)[graphs.node_graph]
    flat = h.new_zeros(graphs.num_graphs * width, h.shape[1])
    flat = flat.index_copy(0, graphs.node_graph * width + 1 + within, h)
    mean = (_graph_sum(h, graphs) / graphs.num_nodes.unsqueeze(1)).to(h.dtype)
    states = torch.cat(
        [mean.unsqueeze(1), flat.view(-1, width, h.shape[1])[:, 1:]], dim=1
    )  # [M, 1 + n_max, d]
    mask = torch.arange(width, device=h.device) <= graphs.num_nodes.unsqueeze(1)
    return states, mask


def readout(h: Tensor, graphs: GraphBatch, *, sum_scale: float = 0.1) -> Tensor:
    """Graph-level vectors: mean and scaled sum of the atom states, [N, d] -> [M, 2 d].

    The sum keeps the size of a molecule, which extensive properties need; ``sum_scale`` brings it near the
    mean's range.
    """
    total = _graph_sum(h, graphs)
    return torch.cat([total / graphs.num_nodes.unsqueeze(1), sum_scale * total], dim=1)


def _graph_sum(h: Tensor, graphs: GraphBatch) -> Tensor:
    at_least_float32 = h.float() if h.dtype.itemsize < 4 else h
    return segment_sum(at_least_float32, starts(graphs.num_nodes))  # [M, d]
