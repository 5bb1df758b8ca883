from __future__ import annotations

import pytest

from data_prep.errors import DataError
from data_prep.readers.side_effects import read_twosides


@pytest.fixture
def companions(write):
    drugs = '{"0": {"smiles": "C"}, "1": {"smiles": "CC"}, "2": {"smiles": "CCC"}, "3": {"smiles": null}}'
    return {
        "id2drug.json": write(drugs, "id2drug.json"),
        "id2relation.json": write('{"0": "C01", "1": "C02", "2": "C03"}', "id2relation.json"),
    }


def test_every_effect_of_a_line_is_a_row(write, companions):
    path = write("0\t1\t1,0,1\t1\n2\t1\t1,0,1\t0\n0\t2\t0,0,0\t1\n", "valid.txt")
    raw = read_twosides(path, dataset="d", companions=companions)
    assert raw.frame.select("smiles_a", "smiles_b", "query", "label", "source_row").rows() == [
        ("C", "CC", "C01", 1.0, 0),
        ("C", "CC", "C03", 1.0, 0),
        ("CCC", "CC", "C01", 0.0, 1),
        ("CCC", "CC", "C03", 0.0, 1),
    ]
    assert raw.frame["property"].unique().to_list() == ["side effect"]
    assert "counterexample" in raw.notes[0]
    assert "UMLS" in raw.notes[1]
    assert raw.notes[2] == "Lines of valid.txt that set no effect: 1."


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("0\t1\t1,0,1", "line without four cells"),
        ("0\t3\t1,0,1\t1", "drug without SMILES"),
        ("0\t9\t1,0,1\t1", "drug without SMILES"),
        ("0\t1\t1,0\t1", "effects are not one 0 or 1 each"),
        ("0\t1\t1,0,2\t1", "effects are not one 0 or 1 each"),
        ("0\t1\t1,0,1\tyes", "flag is not 0 or 1"),
    ],
    ids=["short", "no_smiles", "unknown_drug", "short_vector", "wrong_vector", "flag"],
)
def test_a_line_of_another_shape_is_rejected_whole(write, companions, line, kind):
    raw = read_twosides(write(f"0\t1\t0,1,0\t1\n{line}\n", "valid.txt"), dataset="d", companions=companions)
    assert [(reject.row, reject.kind) for reject in raw.rejects] == [(1, kind)]
    assert len(raw.frame) == 1


def test_a_damaged_lookup_is_named(write, companions):
    companions["id2drug.json"] = write("{", "id2drug.json")
    with pytest.raises(DataError, match=r"id2drug\.json is no JSON"):
        read_twosides(write("0\t1\t1,0,1\t1\n", "valid.txt"), dataset="d", companions=companions)
