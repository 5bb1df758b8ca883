from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from data_prep.errors import DataError
from data_prep.features import GraphCollector
from data_prep.graphs import ATOM_DIMS, BOND_DIMS, FEATURE_VERSION, PackedGraphs

SMILES = {
    "ethanol": "CCO",
    "one_atom": "[He]",
    "salt": "[Na+].[Cl-]",
    "stereo": "C/C=C/[C@H](F)Cl",
    "aromatic": "c1ccc2[nH]ccc2c1",
    "charges": "C[N+](C)(C)CC([O-])=O",
    "dummy": "*CC",
    "radical": "[CH3]",
    "hypervalent": "FS(F)(F)(F)(F)F",
    "dative": "[NH3]->[Cu+2]",
    "square_planar": "C[Pt@SP1](F)(Cl)[H]",
    "nitro_written_neutral": "CN(=O)=O",
    "hydrogen": "[H][H]",
    "explicit_hydrogen": "[H]C([2H])Cl",
    "nitrile": "CC#N",
    "phenalene": "C1=CC2=CC=CC3=CC=CC(=C1)C23",
    "more_than_a_thousand_sp2_atoms": "C=C" * 600,
    "ring_stereo": "C1CC/C=C/CCC1",
}


def pack(*smiles: str) -> PackedGraphs:
    collector = GraphCollector()
    for text in smiles:
        collector.add(Chem.MolFromSmiles(text))
    return collector.pack()


@pytest.fixture
def ogb_converter(monkeypatch):
    """The Open Graph Benchmark's own converter, without the version check that its import starts."""
    monkeypatch.setitem(sys.modules, "outdated", None)
    return pytest.importorskip("ogb.utils.mol").smiles2graph


@pytest.mark.parametrize("smiles", SMILES.values(), ids=SMILES.keys())
def test_features_equal_those_of_the_open_graph_benchmark(smiles, ogb_converter):
    expected = ogb_converter(smiles)
    graphs = pack(smiles)
    np.testing.assert_array_equal(graphs.atoms, expected["node_feat"])
    np.testing.assert_array_equal(graphs.bonds[:, :3], expected["edge_feat"])
    np.testing.assert_array_equal(graphs.edge_index, expected["edge_index"])


def test_feature_sizes_equal_those_of_the_open_graph_benchmark(ogb_converter):
    from ogb.utils.features import get_atom_feature_dims, get_bond_feature_dims

    assert list(ATOM_DIMS) == get_atom_feature_dims()
    assert list(BOND_DIMS[:3]) == get_bond_feature_dims()


def test_bond_direction_follows_the_slashes():
    assert pack("C/C=C/C").bonds[:, 3].tolist() == [1, 1, 0, 0, 1, 1]
    assert pack("C/C=C\\C").bonds[:, 3].tolist() == [1, 1, 0, 0, 2, 2]


@pytest.mark.parametrize(
    "smiles",
    [text for text in SMILES.values() if "/" not in text],
    ids=[name for name, text in SMILES.items() if "/" not in text],
)
def test_bonds_of_a_smiles_without_slashes_need_not_be_asked_for_directions(smiles):
    mol = Chem.MolFromSmiles(smiles)
    asked, spared = GraphCollector(), GraphCollector()
    asked.add(mol)
    spared.add(mol, directed=False)
    np.testing.assert_array_equal(asked.pack().bonds, spared.pack().bonds)


def test_all_codes_lie_within_their_sizes():
    graphs = pack(*SMILES.values())
    assert (graphs.atoms < np.array(ATOM_DIMS)).all()
    assert (graphs.bonds < np.array(BOND_DIMS)).all()


def test_fingerprint_is_the_packed_morgan_vector():
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    expected = generator.GetFingerprintAsNumPy(Chem.MolFromSmiles("CCO"))
    np.testing.assert_array_equal(np.unpackbits(pack("CCO").fingerprint[0]), expected)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, len(SMILES) - 1), max_size=12))
def test_batch_equals_graphs_put_together_one_by_one(rows):
    texts = list(SMILES.values())
    batch = pack(*texts).batch(np.array(rows, dtype=np.int64))
    singles = [pack(texts[row]) for row in rows]
    offsets = np.cumsum([0] + [len(one.atoms) for one in singles])
    np.testing.assert_array_equal(batch.num_nodes, [len(one.atoms) for one in singles])
    np.testing.assert_array_equal(batch.node_graph, np.repeat(np.arange(len(rows)), batch.num_nodes))
    empty = PackedGraphs.empty()
    np.testing.assert_array_equal(batch.atoms, np.concatenate([empty.atoms, *(one.atoms for one in singles)]))
    np.testing.assert_array_equal(batch.bonds, np.concatenate([empty.bonds, *(one.bonds for one in singles)]))
    shifted = [one.edge_index + start for one, start in zip(singles, offsets[:-1], strict=True)]
    np.testing.assert_array_equal(batch.edge_index, np.concatenate([empty.edge_index, *shifted], axis=1))
    assert batch.edge_index.dtype == np.int64


def test_take_and_concat_keep_every_graph():
    graphs = pack(*SMILES.values())
    order = np.array([3, 0, 0, 7])
    taken = graphs.take(order)
    for one, other in zip(taken.batch(np.arange(4)), graphs.batch(order), strict=True):
        np.testing.assert_array_equal(one, other)
    both = PackedGraphs.concat([graphs, taken])
    assert len(both) == len(graphs) + 4
    np.testing.assert_array_equal(
        both.batch(np.array([len(graphs)])).atoms, graphs.batch(np.array([3])).atoms
    )


@pytest.mark.parametrize("row", [-1, 3], ids=["negative", "too_large"])
def test_an_index_outside_the_pack_is_an_error(row):
    with pytest.raises(IndexError, match=r"\[0, 3\)"):
        pack("C", "CC", "CCC").batch(np.array([0, row]))


def test_saved_graphs_come_back_memory_mapped(tmp_path):
    graphs = pack(*SMILES.values())
    graphs.save(tmp_path / "graphs.safetensors", keys_sha256="abc")
    loaded = PackedGraphs.load(tmp_path / "graphs.safetensors", keys_sha256="abc")
    assert not loaded.atoms.flags.writeable
    for one, other in zip(loaded.batch(np.arange(4)), graphs.batch(np.arange(4)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_file_is_plain_safetensors(tmp_path):
    from safetensors.numpy import load_file

    graphs = pack("CCO", "[He]")
    graphs.save(tmp_path / "graphs.safetensors")
    np.testing.assert_array_equal(load_file(tmp_path / "graphs.safetensors")["atoms"], graphs.atoms)


def test_wrong_files_are_refused(tmp_path):
    path = tmp_path / "graphs.safetensors"
    with pytest.raises(DataError, match="not there"):
        PackedGraphs.load(path)
    pack("CCO").save(path, keys_sha256="abc")
    with pytest.raises(DataError, match="another molecules.parquet"):
        PackedGraphs.load(path, keys_sha256="def")
    whole = path.read_bytes()
    for size in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="damaged or cut short"):
            PackedGraphs.load(path)
    path.write_bytes(whole.replace(FEATURE_VERSION.encode(), b"x" * len(FEATURE_VERSION)))
    with pytest.raises(DataError, match="build it again"):
        PackedGraphs.load(path)
