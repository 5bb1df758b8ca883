from __future__ import annotations

import pytest
from rdkit import Chem

from data_prep.build import load_pairs
from data_prep.demo import NOTE, SOLUTES, SOLVENTS, build_demo, computed_label
from data_prep.errors import DataError


def test_the_demo_is_whole_repeatable_and_says_that_it_is_computed(tmp_path):
    report = build_demo(tmp_path / "a", seed=3, pairs=200)
    again = build_demo(tmp_path / "b", seed=3, pairs=200)
    assert report["computed"] is True
    assert report["notes"] == [NOTE]
    assert NOTE in (tmp_path / "a" / "report.html").read_text()
    assert report["split"] == again["split"]
    pairs, table = load_pairs(tmp_path / "a")
    assert pairs["dataset"].unique().to_list() == ["demo-computed"]
    assert len(pairs) == 200
    assert set(pairs["family"]) == {"solvation"}
    assert set(table.smiles[pairs["mol_b"].to_numpy()]) <= {Chem.CanonSmiles(smiles) for smiles in SOLVENTS}


def test_labels_follow_the_formula_and_look_like_free_energies():
    labels = [computed_label(solute, solvent) for solute in SOLUTES for solvent in SOLVENTS]
    assert -13 < min(labels) < -8
    assert 0 < max(labels) < 3
    assert all(label == round(label, 2) for label in labels)
    assert computed_label("CCO", "O") < computed_label("CCC", "O")
    assert computed_label("CCO", "O") < computed_label("CCO", "CCCCCC")


def test_its_molecules_are_distinct():
    assert len({Chem.CanonSmiles(smiles) for smiles in SOLUTES}) == len(SOLUTES)
    assert len({Chem.CanonSmiles(smiles) for smiles in SOLVENTS}) == len(SOLVENTS)


def test_more_pairs_than_there_are_is_an_error(tmp_path):
    with pytest.raises(DataError, match="combinations"):
        build_demo(tmp_path, pairs=10**6)
