from __future__ import annotations

import pytest
from rdkit import Chem

from data_prep.errors import DataError
from data_prep.properties import FUNCTIONAL_GROUPS, PropertyTexts, describe, filter_texts, functional_groups


def test_ethanol_reads_as_expected():
    assert describe(Chem.MolFromSmiles("CCO")) == (
        "weight 46.1, logP 0.0, TPSA 20.2, 1 donor, 1 acceptor, 0 rotatable bonds, 0 rings, 0 aromatic, "
        "charge 0; alcohol"
    )


@pytest.mark.parametrize(
    "smiles",
    ["[He]", "[Na+].[Cl-]", "CC(=O)Oc1ccccc1C(=O)O", "NS(=O)(=O)c1cc(C(=O)O)c(NCc2occc2)cc1Cl", "*C"],
    ids=["atom", "salt", "aspirin", "furosemide", "dummy"],
)
def test_a_text_is_one_short_line(smiles):
    text = describe(Chem.MolFromSmiles(smiles))
    assert "\n" not in text
    assert len(text.split()) <= 30
    assert "-0.0" not in text


def test_the_longest_possible_text_keeps_the_limit():
    longest = sorted(FUNCTIONAL_GROUPS, key=lambda name: len(name.split()))[-4:]
    facts = describe(Chem.MolFromSmiles("[He]")).partition(";")[0]
    assert len(facts.split()) + sum(len(name.split()) for name in longest) <= 30


@pytest.mark.parametrize(
    ("smiles", "groups"),
    [
        ("CC(=O)O", ["carboxylic acid"]),
        ("CC(=O)OC", ["ester"]),
        ("CC(N)=O", ["amide"]),
        ("CCN", ["amine"]),
        ("Oc1ccccc1", ["phenol"]),
        ("COC", ["ether"]),
        ("CC#N", ["nitrile"]),
        ("C[N+](=O)[O-]", ["nitro"]),
        ("c1ccncc1", ["pyridine-type nitrogen"]),
        ("CCCl", ["halide"]),
        ("CC", []),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value).replace(" ", "_") or "none",
)
def test_functional_groups_are_named(smiles, groups):
    assert functional_groups(Chem.MolFromSmiles(smiles)) == groups


def test_sentences_that_leak_are_cut_and_counted():
    texts, cut = filter_texts(
        [
            "A base. May interact with salts. Used with warfarin.",
            "Warfarin thins blood. Contraindicated with aspirin.",
        ],
        ["aspirin", "warfarin"],
    )
    assert texts == ["A base.", "Warfarin thins blood."]
    assert cut == 3


def test_supplied_texts_come_before_computed_ones(write):
    path = write("smiles,text\nOCC,An alcohol.\nO,Interaction with all.\n")
    supplied = PropertyTexts.from_csv(path)
    texts, counts = supplied.apply(["CCO", "O"], ["k1", "k2"], ["computed a", "computed b"])
    assert list(texts) == ["An alcohol.", "computed b"]
    assert (counts["supplied"], counts["sentences_cut"], counts["texts_left_empty"]) == (1, 1, 1)


def test_texts_may_be_keyed_by_inchikey(write):
    supplied = PropertyTexts.from_csv(write("key,text\nK-1,Water.\n"))
    assert list(supplied.apply(["O"], ["K-1"], [""])[0]) == ["Water."]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("smiles,text\nC(C,bad\n", "row 0"),
        ("smiles,note\nC,x\n", "no column 'text'"),
        ("smiles,text\nC,a\n[CH4],b\n", "more than one"),
    ],
    ids=["bad_smiles", "no_text", "repeated"],
)
def test_a_bad_property_file_is_named(write, content, message):
    with pytest.raises(DataError, match=message):
        PropertyTexts.from_csv(write(content))
