"""Random molecular graphs for tests: valid feature codes, connected, with rings, of chosen sizes."""

from __future__ import annotations

import numpy as np

from data_prep.graphs import ATOM_DIMS, BOND_DIMS, GraphArrays
from moltc.backbone.graphs import GraphBatch


def random_molecule(size: int, rng: np.random.Generator) -> GraphArrays:
    """A random tree of ``size`` atoms with a ring bond for every five of them."""
    bonds = [(atom, int(rng.integers(atom))) for atom in range(1, size)]
    while len(bonds) < size - 1 + size // 5:
        pair = tuple(int(atom) for atom in rng.choice(size, 2, replace=False))
        if pair not in bonds and pair[::-1] not in bonds:
            bonds.append(pair)
    codes = np.stack([rng.integers(0, limit, len(bonds)) for limit in BOND_DIMS], axis=1)
    both_ways = [(a, b) for bond in bonds for a, b in (bond, bond[::-1])]
    return GraphArrays(
        atoms=np.stack([rng.integers(0, limit, size) for limit in ATOM_DIMS], axis=1).astype(np.uint8),
        bonds=np.repeat(codes, 2, axis=0).astype(np.uint8).reshape(-1, len(BOND_DIMS)),
        edge_index=np.array(both_ways, dtype=np.int64).reshape(-1, 2).T,
        node_graph=np.zeros(size, dtype=np.int64),
        num_nodes=np.array([size], dtype=np.int64),
        fingerprint=rng.integers(0, 256, (1, 256)).astype(np.uint8),
    )


def joined(molecules: list[GraphArrays]) -> GraphArrays:
    """Several molecules as one batch."""
    sizes = np.concatenate([molecule.num_nodes for molecule in molecules])
    starts = np.cumsum(sizes) - sizes
    return GraphArrays(
        atoms=np.concatenate([molecule.atoms for molecule in molecules]),
        bonds=np.concatenate([molecule.bonds for molecule in molecules]),
        edge_index=np.concatenate(
            [molecule.edge_index + start for molecule, start in zip(molecules, starts, strict=True)], axis=1
        ),
        node_graph=np.repeat(np.arange(len(sizes)), sizes),
        num_nodes=sizes,
        fingerprint=np.concatenate([molecule.fingerprint for molecule in molecules]),
    )


def with_atoms_in_other_order(molecule: GraphArrays, rng: np.random.Generator) -> GraphArrays:
    """The same molecule with its atoms and bonds numbered anew."""
    order = rng.permutation(len(molecule.atoms))
    new_number = np.argsort(order)
    bonds = rng.permutation(len(molecule.bonds))
    return molecule._replace(
        atoms=molecule.atoms[order],
        bonds=molecule.bonds[bonds],
        edge_index=new_number[molecule.edge_index][:, bonds],
    )


def random_molecules(*sizes: int, seed: int = 0) -> list[GraphArrays]:
    """One random molecule for each size."""
    rng = np.random.default_rng(seed)
    return [random_molecule(size, rng) for size in sizes]


def random_batch(*sizes: int, seed: int = 0) -> GraphBatch:
    """Random molecules of these sizes as a batch."""
    return GraphBatch.from_arrays(joined(random_molecules(*sizes, seed=seed)))
