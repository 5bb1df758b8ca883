"""Packed graphs: checks, order of edges, choice of molecules, feature views."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from graph_samples import joined, random_batch, random_molecules
from rdkit import Chem

from data_prep.features import GraphCollector
from moltc.backbone.graph_encoder import GraphEncoder, GraphEncoderConfig
from moltc.backbone.graphs import SCHEMES, GraphBatch, unpack_bits


def test_edges_are_ordered_by_target_and_keep_their_bonds() -> None:
    arrays = joined(random_molecules(6, 1, 9))
    batch = GraphBatch.from_arrays(arrays)
    assert torch.all(batch.edge_index[1].diff() >= 0)

    def edges(index, bonds):
        return sorted((*map(int, pair), *map(int, bond)) for pair, bond in zip(index.T, bonds, strict=True))

    assert edges(batch.edge_index, batch.bonds) == edges(arrays.edge_index, arrays.bonds)


@pytest.mark.parametrize(
    "rows", [[2, 0], [1], [3, 3, 1], [0, 1, 2, 3]], ids=["two", "one atom", "repeated", "all"]
)
def test_select_equals_a_batch_made_of_those_molecules(rows: list[int]) -> None:
    molecules = random_molecules(5, 1, 7, 12)
    chosen = GraphBatch.from_arrays(joined(molecules)).select(torch.tensor(rows))
    expected = GraphBatch.from_arrays(joined([molecules[row] for row in rows]))
    for name, got, want in zip(GraphBatch._fields, chosen, expected, strict=True):
        assert torch.equal(got, want), name


def _with(arrays, name, index, value):
    changed = getattr(arrays, name).copy()
    changed[index] = value
    return arrays._replace(**{name: changed})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: _with(a, "atoms", (3, 1), 5), "atom 3 has code 5 in column 1"),
        (lambda a: _with(a, "bonds", (0, 3), 3), "bond 0 has code 3 in column 3"),
        (lambda a: _with(a, "num_nodes", 1, 0), "molecule 1 has no atoms"),
        (lambda a: _with(a, "node_graph", 0, 1), "ascending order"),
        (lambda a: _with(a, "edge_index", (0, 0), 99), "names atom 99"),
        (lambda a: _with(a, "edge_index", (0, 0), 7), "two molecules"),
        (lambda a: a._replace(atoms=a.atoms[:, :2]), "'atoms' has shape"),
        (lambda a: a._replace(fingerprint=a.fingerprint[:1]), "'fingerprint' has shape"),
    ],
    ids=[
        "atom code",
        "bond code",
        "empty",
        "unsorted",
        "no such atom",
        "bond across",
        "columns",
        "fingerprint",
    ],
)
def test_bad_arrays_are_refused(spoil, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GraphBatch.from_arrays(spoil(joined(random_molecules(6, 4))))


def test_no_molecules_are_refused() -> None:
    arrays = joined(random_molecules(2))
    empty = arrays._replace(
        **{name: array[:0] for name, array in arrays._asdict().items() if name != "edge_index"}
    )
    with pytest.raises(ValueError, match="no molecules"):
        GraphBatch.from_arrays(empty._replace(edge_index=arrays.edge_index[:, :0]))


def test_graphcl_view_maps_what_its_tables_lack() -> None:
    atoms = torch.tensor([[5, 2, 0, 0, 0, 0, 0, 0, 0], [118, 3, 0, 0, 0, 0, 0, 0, 0]], dtype=torch.uint8)
    bonds = torch.tensor([[3, 0, 0, 2], [4, 1, 1, 1]], dtype=torch.uint8)
    assert SCHEMES["graphcl"].atoms(atoms).tolist() == [[5, 2], [119, 0]]
    assert SCHEMES["graphcl"].bonds(bonds).tolist() == [[3, 2], [0, 1]]


def test_bits_unpack_as_numpy_does() -> None:
    packed = np.random.default_rng(0).integers(0, 256, (3, 4)).astype(np.uint8)
    assert unpack_bits(torch.from_numpy(packed)).tolist() == np.unpackbits(packed, axis=1).tolist()


def test_to_moves_every_tensor() -> None:
    assert {tensor.device.type for tensor in random_batch(3).to("meta")} == {"meta"}


@pytest.mark.parametrize("features", ["graphcl", "ogb"])
def test_molecules_from_smiles_reach_the_encoder(features: str) -> None:
    """Odd ones too: an ion, a salt, a wildcard, a dative bond, stereo bonds and centres."""
    smiles = ["O", "[Na+].[Cl-]", "*C", "[NH3]->[Pt](Cl)Cl", "C/C=C\\[C@H](F)Cl", "c1ccccc1O"]
    collector = GraphCollector()
    for text in smiles:
        collector.add(Chem.MolFromSmiles(text))
    graphs = GraphBatch.from_arrays(collector.pack().batch(np.arange(len(smiles))))
    encoder = GraphEncoder(GraphEncoderConfig(features=features, hidden=8, num_layers=2)).eval()
    assert graphs.num_nodes.tolist() == [1, 2, 2, 4, 6, 7]
    assert torch.isfinite(encoder(graphs)).all()
