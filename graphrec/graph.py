"""LightGCN (He et al., SIGIR 2020, arXiv 2002.02126): item vectors from who met what.

Departure from the paper: only items have vectors of their own. A sequence is what its items make it, so that
histories that were never fitted are answered like any other, and no user is known by number.

Letters: B rows, U sequences, I items, N interactions, d width, K layers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import embedding, logsigmoid
from torch_geometric.nn import LGConv

from graphrec.catalogue import Catalogue
from graphrec.data import Interactions
from graphrec.histories import Histories
from graphrec.neural import NeuralRecommender
from graphrec.sequential.negatives import uniform_except
from graphrec.topk import Factors

POPULARITY = 1e-7
"""Share of an item's count in its score: it orders what is level otherwise, and answers empty histories."""


@dataclass(frozen=True)
class LightGCNConfig:
    """Settings; the defaults are the paper's.

    Attributes:
        width: of the vectors, d.
        num_layers: steps along the graph, K.
        num_negatives: items that each met item is compared with.
        regularisation: weight of the squared norms of the vectors in a batch, before the graph.
        lr: learning rate of Adam.
        batch_size: interactions of a batch.
        item_std: standard deviation of the vectors at the start.
    """

    width: int = 64
    num_layers: int = 3
    num_negatives: int = 1
    regularisation: float = 1e-4
    lr: float = 1e-3
    batch_size: int = 2048
    item_std: float = 0.1

    def __post_init__(self) -> None:
        for name in ("width", "num_layers", "num_negatives", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("lr", "item_std"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.regularisation < 0:
            raise ValueError(f"regularisation must not be negative, got {self.regularisation}")


class GraphBatch(NamedTuple):
    """Interactions of a batch: sequence and item of each, ``[N]``."""

    sequences: Tensor
    items: Tensor

    def to(self, device: torch.device) -> GraphBatch:
        """The same on a device."""
        return GraphBatch(self.sequences.to(device), self.items.to(device))


class ItemGraph(nn.Module):
    """Item vectors, and what becomes of them along the graph of sequences and items.

    Once propagated, the vector of a sequence is the sum of ``reads`` over its items, over the root of their
    number, and its product with ``writes`` scores the items.
    """

    reads: Tensor
    writes: Tensor
    counts: Tensor

    def __init__(self, num_items: int, config: LightGCNConfig) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(num_items, config.width) * config.item_std)
        self.layers = nn.ModuleList(LGConv(normalize=False) for _ in range(config.num_layers))
        self.register_buffer("reads", torch.zeros(num_items, config.width))
        self.register_buffer("writes", torch.zeros(num_items, config.width))
        self.register_buffer("counts", torch.zeros(num_items))

    def propagate(self, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of sequences ``[U, d]`` and items ``[I, d]``: means over the layers, eq. 4.

        Args:
            edges: the graph as a sparse matrix, sequences first, ``[U + I, U + I]``.
        """
        num_sequences = edges.shape[0] - len(self.table)
        states = torch.cat([self.table.new_zeros(num_sequences, self.table.shape[1]), self.table])
        total = states
        for layer in self.layers:
            states = layer(states, edges)
            total = total + states
        total = total / (len(self.layers) + 1)
        return total[:num_sequences], total[num_sequences:]

    @torch.no_grad()
    def settle(self, edges: Tensor) -> None:
        """Work out ``reads`` and ``writes`` for the vectors as they are."""
        num_sequences = edges.shape[0] - len(self.table)
        states = torch.cat([self.table.new_zeros(num_sequences, self.table.shape[1]), self.table])
        read, written = states, states
        for step, layer in enumerate(self.layers, start=1):
            states = layer(states, edges)
            written = written + states
            if step < len(self.layers):
                read = read + states
        share = 1 / (len(self.layers) + 1)
        self.writes.copy_(written[num_sequences:] * share)
        degree_root = self.counts.clamp(min=1).sqrt().unsqueeze(1)
        self.reads.copy_(read[num_sequences:] * share / degree_root)


class LightGCN(NeuralRecommender):
    """Item vectors propagated over the graph of the fitted sequences; histories in any order."""

    name = "lightgcn"
    config_class = LightGCNConfig
    config: LightGCNConfig
    network: ItemGraph
    edges: Tensor | None = None
    settled = True

    def build(self, catalogue: Catalogue) -> ItemGraph:
        return ItemGraph(len(catalogue), self.config)

    def prepare(self, fitted: Interactions) -> None:
        """Make the graph of the fitted part: an edge for each item of a sequence, however often they meet."""
        met = distinct(fitted.histories)
        self.edges = normalised_edges(met, len(self.catalogue))
        counts = np.bincount(met.items, minlength=len(self.catalogue))
        self.network.counts.copy_(torch.from_numpy(counts))
        self.settled = False

    def batches(self, train: Histories, epoch: int, seed: int) -> Iterator[GraphBatch]:
        met = distinct(train)
        sequences, order = met.rows, np.random.default_rng([seed, epoch]).permutation(len(met.items))
        for chosen in np.array_split(order, self.num_batches(train)):
            yield GraphBatch(torch.from_numpy(sequences[chosen]), torch.from_numpy(met.items[chosen]))

    def num_batches(self, train: Histories) -> int:
        return -(-len(distinct(train).items) // self.config.batch_size)

    def loss(self, batch: GraphBatch, step: int) -> dict[str, Tensor]:
        """Met items above others (BPR), and small vectors, eq. 15."""
        sequences, items = self.network.propagate(self._graph())
        others = uniform_except(batch.items, self.config.num_negatives, len(items))  # [N, negatives]
        of_sequences = embedding(batch.sequences, sequences).unsqueeze(1)  # [N, 1, d]
        met = (of_sequences * embedding(batch.items, items).unsqueeze(1)).sum(-1)  # [N, 1]
        unmet = (of_sequences * embedding(others, items)).sum(-1)  # [N, negatives]
        ranking = -logsigmoid(met - unmet).mean()
        drawn = torch.cat([batch.items, others.flatten()])
        norms = embedding(drawn, self.network.table).square().sum() / (2 * len(batch.items))
        return {"loss": ranking + self.config.regularisation * norms, "ranking": ranking, "norms": norms}

    def optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.network.parameters(), lr=self.config.lr, fused=True)

    def after_step(self, step: int) -> None:
        self.settled = False

    def factors(self, histories: Histories) -> Factors:
        self._settle()
        met = distinct(histories)
        device = self.device
        read = embedding(torch.from_numpy(met.items).to(device), self.network.reads)
        queries = read.new_zeros(len(met), self.config.width)
        queries.index_add_(0, torch.from_numpy(met.rows).to(device), read)
        roots = torch.from_numpy(np.sqrt(np.maximum(met.lengths, 1))).to(queries)
        return Factors(queries / roots.unsqueeze(1), self.network.writes, self.network.counts * POPULARITY)

    def item_vectors(self) -> NDArray[np.float32]:
        """Vectors after propagation, ``[I, d]``."""
        self._settle()
        found: NDArray[np.float32] = self.network.writes.cpu().numpy().copy()
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        self._settle()
        return super().arrays()

    def _settle(self) -> None:
        if not self.settled:
            self.network.settle(self._graph())
            self.settled = True

    def _graph(self) -> Tensor:
        """The edges, where the weights are."""
        assert self.edges is not None, "only a model that is being fitted needs its graph"
        if self.edges.device != self.device:
            self.edges = self.edges.to(self.device)
        return self.edges


def distinct(histories: Histories) -> Histories:
    """Each row with each of its items once."""
    latest = histories.latest_of_each()
    lengths = np.bincount(histories.rows[latest], minlength=len(histories))
    return Histories.from_lengths(histories.items[latest], lengths)


def normalised_edges(met: Histories, num_items: int) -> Tensor:
    """The graph as a sparse float32 matrix ``[U + I, U + I]``: an edge weighs 1 / root of both ends' degrees.

    Args:
        met: items of each of U sequences, each once.
    """
    num_sequences = len(met)
    degrees = np.bincount(met.items, minlength=num_items)
    weights = 1 / np.sqrt(met.lengths[met.rows] * degrees[met.items])
    places = np.stack([met.rows, met.items + num_sequences])
    both = torch.from_numpy(np.concatenate([places, places[::-1]], axis=1))
    values = torch.from_numpy(np.concatenate([weights, weights])).float()
    size = (num_sequences + num_items, num_sequences + num_items)
    edges = torch.sparse_coo_tensor(both, values, size, check_invariants=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return edges.to_sparse_csr()
