"""Molecular graphs as tensors: one packed batch, never padded, and the two feature schemes that read it.

The arrays hold the nine atom and three bond features of OGB and the bond direction. The 2+2 features of
"Strategies for Pre-training Graph Neural Networks" (Hu et al., ICLR 2020), which GraphCL, MoMu and MolCA
weights need, are a view of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from data_prep.graphs import ATOM_DIMS, BOND_DIMS, GraphArrays


class GraphBatch(NamedTuple):
    """M molecules with N atoms and E directed bonds in all, packed.

    Make it with :meth:`from_arrays`, which checks the arrays and orders the edges.
    """

    atoms: Tensor
    """uint8 [N, 9], see ``ATOM_DIMS``."""
    bonds: Tensor
    """uint8 [E, 4], see ``BOND_DIMS``."""
    edge_index: Tensor
    """long [2, E], source and target numbered over the batch; ordered by target."""
    node_graph: Tensor
    """long [N], the molecule of each atom, ascending."""
    num_nodes: Tensor
    """long [M], at least 1."""
    fingerprint: Tensor
    """uint8 [M, F/8], packed bits."""

    @classmethod
    def from_arrays(cls, arrays: GraphArrays) -> GraphBatch:
        """Copy numpy arrays (or memory maps) of these shapes into tensors.

        Raises
        ------
        ValueError : lengths disagree, a molecule is empty, or a feature code is out of range; names row and
        value.
        """
        _check(arrays)
        edge_index, bonds = np.asarray(arrays.edge_index), np.asarray(arrays.bonds)
        order = np.argsort(edge_index[1], kind="stable")
        # take is several times faster than indexing rows by an array
        return cls(
            atoms=torch.from_numpy(np.array(arrays.atoms, dtype=np.uint8)),
            bonds=torch.from_numpy(bonds.take(order, axis=0).astype(np.uint8, copy=False)),
            edge_index=torch.from_numpy(edge_index.take(order, axis=1).astype(np.int64, copy=False)),
            node_graph=torch.from_numpy(np.array(arrays.node_graph, dtype=np.int64)),
            num_nodes=torch.from_numpy(np.array(arrays.num_nodes, dtype=np.int64)),
            fingerprint=torch.from_numpy(np.array(arrays.fingerprint, dtype=np.uint8)),
        )

    @property
    def num_graphs(self) -> int:
        """M, the number of molecules."""
        return self.num_nodes.shape[0]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> GraphBatch:
        """The same batch on ``device``."""
        return GraphBatch(*(tensor.to(device, non_blocking=non_blocking) for tensor in self))

    def select(self, rows: Tensor) -> GraphBatch:
        """The molecules ``rows`` (long [K], repeats allowed) as a batch of their own, in that order."""
        source, target = self.edge_index
        num_edges = torch.bincount(self.node_graph[target], minlength=self.num_graphs)
        nodes, node_graph = _expand(self.num_nodes, rows)
        edges, edge_graph = _expand(num_edges, rows)
        shift = (starts(self.num_nodes[rows]) - starts(self.num_nodes)[rows])[
            edge_graph
        ]  # old -> new atom numbers
        return GraphBatch(
            atoms=self.atoms[nodes],
            bonds=self.bonds[edges],
            edge_index=torch.stack([source[edges] + shift, target[edges] + shift]),
            node_graph=node_graph,
            num_nodes=self.num_nodes[rows],
            fingerprint=self.fingerprint[rows],
        )


def starts(lengths: Tensor) -> Tensor:
    """First position of each of several runs laid end to end: the exclusive cumulative sum of ``lengths``."""
    return lengths.cumsum(0) - lengths


def _expand(lengths: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of the runs ``rows``, one after another, and the place in ``rows`` that each belongs to."""
    chosen = lengths[rows]
    owner = torch.repeat_interleave(torch.arange(rows.shape[0], device=rows.device), chosen)
    within = torch.arange(owner.shape[0], device=rows.device) - starts(chosen)[owner]
    return starts(lengths)[rows][owner] + within, owner


def unpack_bits(packed: Tensor) -> Tensor:
    """Fingerprint bits, uint8 [M, B] -> float [M, 8 B], most significant first as ``numpy.unpackbits``."""
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
    return ((packed.unsqueeze(-1) >> shifts) & 1).flatten(1).float()


def _check(arrays: GraphArrays) -> None:
    nodes, edges, graphs = len(arrays.atoms), len(arrays.bonds), len(arrays.num_nodes)
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "atoms": (arrays.atoms, (nodes, len(ATOM_DIMS))),
        "bonds": (arrays.bonds, (edges, len(BOND_DIMS))),
        "edge_index": (arrays.edge_index, (2, edges)),
        "node_graph": (arrays.node_graph, (nodes,)),
        "num_nodes": (arrays.num_nodes, (graphs,)),
    }
    for name, (array, shape) in shapes.items():
        if tuple(array.shape) != shape:
            raise ValueError(f"graph array '{name}' has shape {tuple(array.shape)}, expected {shape}")
    if arrays.fingerprint.ndim != 2 or len(arrays.fingerprint) != graphs:
        raise ValueError(
            f"graph array 'fingerprint' has shape {arrays.fingerprint.shape}, expected {graphs} rows"
        )
    num_nodes = np.asarray(arrays.num_nodes)
    if graphs == 0 or num_nodes.min() < 1:
        empty = f"molecule {int(num_nodes.argmin())} has no atoms" if graphs else "the batch has no molecules"
        raise ValueError(f"{empty}: leave it out before batching")
    if not np.array_equal(arrays.node_graph, np.repeat(np.arange(graphs), num_nodes)):
        raise ValueError(
            "'node_graph' must number the molecules in ascending order and agree with 'num_nodes'"
        )
    _check_codes("atom", np.asarray(arrays.atoms), ATOM_DIMS)
    _check_codes("bond", np.asarray(arrays.bonds), BOND_DIMS)
    edge_index = np.asarray(arrays.edge_index)
    if edges and (edge_index.min() < 0 or edge_index.max() >= nodes):
        raise ValueError(f"'edge_index' names atom {int(edge_index.max())}, the batch has {nodes}")
    if edges and not np.array_equal(*np.asarray(arrays.node_graph).take(edge_index)):
        raise ValueError("'edge_index' joins atoms of two molecules")


def _check_codes(what: str, codes: np.ndarray, sizes: tuple[int, ...]) -> None:
    bad = codes >= np.array(sizes, dtype=codes.dtype)  # another type would be converted code by code
    if bad.any():
        row, column = map(int, np.argwhere(bad)[0])
        raise ValueError(
            f"{what} {row} has code {int(codes[row, column])} in column {column}, "
            f"which ends at {sizes[column] - 1}: "
            "featurise the molecules again with this version"
        )


class FeatureScheme(NamedTuple):
    """Which features an encoder embeds, as columns of small integers."""

    atom_sizes: tuple[int, ...]
    bond_sizes: tuple[int, ...]
    atoms: Callable[[Tensor], Tensor]
    """uint8 [N, 9] -> long [N, columns]."""
    bonds: Callable[[Tensor], Tensor]
    """uint8 [E, 4] -> long [E, columns]."""


def _graphcl_atoms(atoms: Tensor) -> Tensor:
    number, chirality = atoms[:, 0].long(), atoms[:, 1].long()
    number = torch.where(number == 118, 119, number)  # an unknown element is the last row of the table of 120
    chirality = torch.where(chirality > 2, 0, chirality)  # "other" has no row: unspecified
    return torch.stack([number, chirality], dim=1)


def _graphcl_bonds(bonds: Tensor) -> Tensor:
    kind, direction = bonds[:, 0].long(), bonds[:, 3].long()
    return torch.stack([torch.where(kind > 3, 0, kind), direction], dim=1)  # an unknown type counts as single


def _ogb_atoms(atoms: Tensor) -> Tensor:
    return atoms.long()


def _ogb_bonds(bonds: Tensor) -> Tensor:
    return bonds[:, :3].long()


SCHEMES = {
    "graphcl": FeatureScheme((120, 3), (6, 3), _graphcl_atoms, _graphcl_bonds),
    "ogb": FeatureScheme(ATOM_DIMS, BOND_DIMS[:3], _ogb_atoms, _ogb_bonds),
}
"""Feature schemes by name."""
