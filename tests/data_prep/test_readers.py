from __future__ import annotations

from dataclasses import replace

import pytest

from data_prep.errors import DataError
from data_prep.readers.columns import PairColumnNames, read_columns
from data_prep.readers.ddi import read_caster, read_miracle
from data_prep.readers.dot_joined import split_dot_joined
from data_prep.readers.solvation import (
    read_combisolv,
    read_combisolv_numbered,
    read_freesolv,
    read_solvbert,
)
from data_prep.records import FAMILIES

FREESOLV = """#Hydration free energies
# compound id; SMILES; ...
mobley_1; CC#N; acetonitrile; -3.88; 0.60; -3.30; 0.03; ref; ref; note
mobley_2; CO; methanol, the alcohol; -5.10; 0.60; -3.4; 0.0; ref; ref; note
mobley_3; CC; ethane; unknown; 0.60; -3.4; 0.0; ref; ref; note
mobley_4; CCC
"""


def rows(raw) -> list[tuple]:
    return raw.frame.select("smiles_a", "smiles_b", "label", "source_row").rows()


def test_freesolv_keeps_triple_bonds_and_counts_bad_rows(write):
    raw = read_freesolv(write(FREESOLV, "database.txt"), dataset="freesolv")
    assert rows(raw) == [("CC#N", "O", -3.88, 0), ("CO", "O", -5.10, 1)]
    assert [(reject.row, reject.kind) for reject in raw.rejects] == [
        (3, "short line"),
        (2, "label is not a number"),
    ]
    assert raw.rows_read == 4


def test_published_tables_put_the_solvent_first_and_ours_the_solute(write):
    named = write("smiles_solvent,smiles_solute,inchi,dGsolv_avg\nO,CCO,x,-5\n", "exp_data.csv")
    assert rows(read_combisolv(named, dataset="d")) == [("CCO", "O", -5.0, 0)]
    numbered = write("0,1,2,3,dGsolv_avg\nO,CCO,x,y,-5\n", "Abraham.csv")
    assert rows(read_combisolv_numbered(numbered, dataset="d")) == [("CCO", "O", -5.0, 0)]
    joined = write("ssid,dgsolv\nO.CCO,-5\nCCO,-1\n", "joined.csv")
    raw = read_solvbert(joined, dataset="d")
    assert rows(raw) == [("CCO", "O", -5.0, 0)]
    assert raw.rejects[0].kind == "joined SMILES"


@pytest.mark.parametrize(
    "header", ["smiles_1,smiles_2,label", "label,smiles_2,smiles_1"], ids=["usual", "swapped"]
)
def test_interactions_are_read_by_column_name(write, header):
    cells = {"smiles_1": "C", "smiles_2": "O", "label": "1.0"}
    line = ",".join(cells[name] for name in header.split(","))
    assert rows(read_miracle(write(f"{header}\n{line}\n"), dataset="d")) == [("C", "O", 1.0, 0)]


def test_ids_of_caster_are_not_read_and_its_negatives_are_looked_at(write):
    """Drugs of the negatives are mostly other ones than those that interact."""
    lines = ["DB01,C,DB02,CC,1.0", "7.0,C,DB02,CC,0.0", "8404.0,O,1503.0,CO,0.0", "5.0,C,9.0,O,0.0"]
    header = ",Drug1_ID,Drug1_SMILES,Drug2_ID,Drug2_SMILES,label"
    path = write("\n".join([header, *(f"{row},{line}" for row, line in enumerate(lines))]) + "\n", "part.csv")
    raw = read_caster(path, dataset="d")
    assert rows(raw) == [("C", "CC", 1.0, 0), ("C", "CC", 0.0, 1), ("O", "CO", 0.0, 2), ("C", "O", 0.0, 3)]
    assert raw.notes[1].startswith("In 1 of 3 pairs with label 0 in part.csv both drugs also occur")


def test_one_dot_decides_by_itself():
    assert split_dot_joined(["O.CCO", "CCO.c1ccccc1"]) == (["O", "CCO"], ["CCO", "c1ccccc1"], {})


def test_several_dots_are_decided_by_known_solvents():
    solvents, solutes, trouble = split_dot_joined(
        ["O.CC", "OCC.C", "O.[Na+].[Cl-]", "CCO.[K+].[Br-]", "N.[K+].[Br-]", "CC"]
    )
    assert (solvents[2], solutes[2]) == ("O", "[Na+].[Cl-]")
    assert (solvents[3], solutes[3]) == ("CCO", "[K+].[Br-]")
    assert set(trouble) == {4, 5}
    assert "no split is" in trouble[4]
    assert "no dot" in trouble[5]


def test_two_possible_splits_are_not_guessed():
    _, _, trouble = split_dot_joined(["O.CC", "O.O.CC", "[K+].[Br-].C"])
    assert 1 not in trouble  # only "O" is a known solvent, "O.O" is none
    _, _, trouble = split_dot_joined(["O.CC", "N.CC", "O.N.C", "O.C"])
    assert trouble == {}
    assert set(split_dot_joined(["[K+].[Br-].C"])[2]) == {0}


@pytest.mark.parametrize(
    ("family", "cell", "label", "problem"),
    [
        ("ddi", "1.0", 1.0, None),
        ("ddi", "0.5", None, "label is not 0 or 1"),
        ("typed-ddi", "85", 85.0, None),
        ("typed-ddi", "-1", None, "label is not a class number 0, 1, 2, ..."),
        ("side-effect", "-3", 0.0, None),
        ("side-effect", "0.2", 1.0, None),
        ("solvation", "-4.73", -4.73, None),
        ("solvation", "", None, "empty label"),
    ],
    ids=["yes", "half", "type", "negative_type", "negative_sign", "positive_sign", "number", "empty"],
)
def test_labels_of_each_family(write, family, cell, label, problem):
    query = "effect" if family == "side-effect" else None
    path = write(f"a,b,y,effect\nC,O,{cell},nausea\n")
    names = PairColumnNames(a="a", b="b", label="y", query=query)
    raw = read_columns(path, names, FAMILIES[family], dataset="d")
    assert raw.frame["label"].to_list() == ([] if problem else [label])
    assert [reject.kind for reject in raw.rejects] == ([problem] if problem else [])


def test_the_side_effect_is_the_query_and_must_be_there(write):
    names = PairColumnNames(a="a", b="b", label="y", query="effect")
    path = write("a,b,y,effect\nC,O,1,nausea\nC,N,1,\n")
    raw = read_columns(path, names, FAMILIES["side-effect"], dataset="d")
    assert raw.frame.select("property", "query").rows() == [("side effect", "nausea")]
    assert raw.rejects[0].kind == "empty query"
    assert raw.notes == []
    with pytest.raises(DataError, match="side-effect needs --query"):
        read_columns(path, replace(names, query=None), FAMILIES["side-effect"], dataset="d")
    with pytest.raises(DataError, match="ddi has no query"):
        read_columns(path, names, FAMILIES["ddi"], dataset="d")


def test_labels_whose_sign_was_taken_are_counted(write):
    """Published sets of side effects give scores, whose sign says yes or no."""
    path = write("smiles1,smiles2,label,query\nC,O,2.5,cough\nC,N,-1,cough\nC,S,1,cough\nC,P,0,cough\n")
    names = PairColumnNames(a="smiles1", b="smiles2", label="label", query="query")
    raw = read_columns(path, names, FAMILIES["side-effect"], dataset="d")
    assert raw.frame["label"].to_list() == [1.0, 0.0, 1.0, 0.0]
    assert raw.notes == [
        "2 labels of table.csv are neither 0 nor 1: positive ones count as yes, others as no."
    ]


def test_a_family_with_several_properties_asks_for_one(write):
    path = write("a,b,y\nC,O,420\n")
    with pytest.raises(DataError, match="--property"):
        read_columns(path, PairColumnNames(a="a", b="b", label="y"), FAMILIES["chromophore"], dataset="d")
    names = PairColumnNames(a="a", b="b", label="y", property="absorption")
    raw = read_columns(path, names, FAMILIES["chromophore"], dataset="d")
    assert raw.frame["unit"].to_list() == ["nm"]


def test_molecules_come_from_two_columns_or_from_one():
    with pytest.raises(DataError, match="either both"):
        PairColumnNames(label="y", a="a")
    with pytest.raises(DataError, match="either both"):
        PairColumnNames(label="y", a="a", b="b", dot_joined="c")
