from __future__ import annotations

import pytest

from data_prep.errors import DataError
from data_prep.readers.single_molecules import read_bbbp, read_esol, read_labelled, read_lipophilicity
from data_prep.records import FAMILIES

PROPERTY, CLASS = FAMILIES["molecule-property"], FAMILIES["molecule-class"]
QUANTITY = "log solubility in mols per litre"
ESOL = f"Compound ID,ESOL predicted {QUANTITY},measured {QUANTITY},smiles\n"


def rows(raw) -> list[tuple]:
    return raw.frame.select("smiles_a", "smiles_b", "label", "property", "unit", "source_row").rows()


def test_measured_solubility_is_read_not_the_predicted_one(write):
    raw = read_esol(write(f"{ESOL}ethanol,-0.1,1.1,CCO \nethane,-1,,CC\n"), dataset="d")
    assert rows(raw) == [("CCO ", None, 1.1, "log solubility", "log10(mol/L)", 0)]
    assert [(reject.row, reject.kind) for reject in raw.rejects] == [(1, "empty label")]
    assert raw.family is PROPERTY


def test_lipophilicity_takes_numbers_without_a_zero_before_the_point(write):
    raw = read_lipophilicity(write("CMPD_CHEMBLID,exp,smiles\nX,-.72,CCO\n"), dataset="d")
    assert rows(raw) == [("CCO", None, -0.72, "lipophilicity", "log D", 0)]


def test_the_blood_brain_barrier_is_passed_or_not(write):
    raw = read_bbbp(write("num,name,p_np,smiles\n1,a,1,CCO\n2,b,0,CC\n3,c,2,C\n"), dataset="d")
    assert rows(raw) == [
        ("CCO", None, 1.0, "blood-brain barrier", None, 0),
        ("CC", None, 0.0, "blood-brain barrier", None, 1),
    ]
    assert [(reject.row, reject.kind) for reject in raw.rejects] == [(2, "label is not 0 or 1")]


def test_columns_of_the_user_s_are_named(write):
    path = write("molecule,logS,part\nC,-0.5,train\nCC,x,test\nCCC,-2,test\n")
    names = {"smiles": "molecule", "label": "logS", "dataset": "d"}
    raw = read_labelled(path, PROPERTY, property="log solubility", split="part", **names)
    assert raw.frame.select("smiles_a", "label", "split").rows() == [
        ("C", -0.5, "train"),
        ("CCC", -2.0, "test"),
    ]
    assert raw.rejects[0].kind == "label is not a number"
    with pytest.raises(DataError, match="give --property, one of log solubility, lipophilicity"):
        read_labelled(path, PROPERTY, **names)
    with pytest.raises(DataError, match="no property 'logS'; choose from log solubility, lipophilicity"):
        read_labelled(path, PROPERTY, property="logS", **names)
    with pytest.raises(DataError, match="has one property, 'blood-brain barrier': leave --property out"):
        read_labelled(path, CLASS, property="log solubility", **names)
