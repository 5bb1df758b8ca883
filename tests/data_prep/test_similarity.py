from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from data_prep.molecules import featurise
from data_prep.similarity import nearest_tanimoto, similarity_summary

SMILES = ["CCO", "CCCO", "c1ccccc1", "c1ccccc1O", "[Na+]", "CC(=O)O", "CCN"]


@pytest.fixture(scope="module")
def bits() -> np.ndarray:
    return featurise(SMILES, workers=1, progress=False, graphs_only=True).table.graphs.fingerprint


@pytest.mark.parametrize("chunk", [1, 2, 100], ids=["one_by_one", "uneven", "at_once"])
def test_nearest_equals_rdkits_tanimoto(bits, chunk):
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    vectors = [generator.GetFingerprint(Chem.MolFromSmiles(smiles)) for smiles in SMILES]
    expected = [max(DataStructs.BulkTanimotoSimilarity(one, vectors[:3])) for one in vectors[3:]]
    np.testing.assert_allclose(nearest_tanimoto(bits[3:], bits[:3], chunk=chunk), expected, rtol=1e-6)


def test_a_molecule_is_its_own_nearest(bits):
    np.testing.assert_array_equal(nearest_tanimoto(bits, bits), np.ones(len(bits)))


def test_bits_that_are_all_zero_are_similar_to_nothing(bits):
    assert nearest_tanimoto(np.zeros_like(bits[:1]), np.zeros_like(bits[:2])).tolist() == [0.0]


def test_an_empty_reference_is_an_error(bits):
    with pytest.raises(ValueError, match="no reference"):
        nearest_tanimoto(bits, bits[:0])


def test_the_summary_tells_known_molecules_from_new_ones(bits):
    summary = similarity_summary(np.array([0, 1]), np.array([0, 2]), bits)
    nearest = nearest_tanimoto(bits[1:2], bits[[0, 2]])
    assert (summary["molecules"], summary["in_train"]) == (2, 1)
    assert summary["median_not_in_train"] == pytest.approx(nearest[0])
    assert summary["median"] == pytest.approx((1 + nearest[0]) / 2)
    assert summary["share_at_least_0.9"] == 0.5
    assert summary["histogram"]["counts"][-1] == 1
    assert sum(summary["histogram"]["counts"]) == 2
