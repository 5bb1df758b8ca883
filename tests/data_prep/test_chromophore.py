from __future__ import annotations

import pytest

from data_prep.build import load_pairs
from data_prep.cli import main
from data_prep.errors import DataError
from data_prep.readers.chromophore import read_joung

HEADER = "\ufeffTag,Chromophore,Solvent,Absorption max (nm),Emission max (nm),Lifetime (ns)\n"
ROWS = """1,c1ccccc1,O,255,290,2.5
2,c1ccccc1,gas,250,NaN,NaN
3,c1ccccc1,c1ccccc1,260,300,
4,c1ccncc1,O,NaN,300,0
5,c1ccncc1,CCO,broad,NaN,-1
"""


def test_a_build_has_one_property(write):
    path = write(HEADER + ROWS, "chromophores.csv")
    raw = read_joung(path, dataset="d", property="absorption")
    columns = raw.frame.select("smiles_a", "smiles_b", "label", "property", "unit", "source_row")
    assert columns.rows() == [("c1ccccc1", "O", 255.0, "absorption", "nm", 0)]
    assert [(reject.row, reject.kind) for reject in raw.rejects] == [
        (1, "gas phase"),
        (2, "solid state"),
        (4, "label is not a number"),
    ]
    assert raw.notes == ["1 of 5 rows of chromophores.csv have no value of absorption."]
    assert (raw.unlabelled, raw.rows_read) == (1, 5)


def test_the_solid_state_can_be_kept(write):
    path = write(HEADER + ROWS, "chromophores.csv")
    raw = read_joung(path, dataset="d", property="emission", keep_solid_state=True)
    assert raw.frame["label"].to_list() == [290.0, 300.0, 300.0]
    assert raw.rejects == []


def test_lifetimes_are_positive_nanoseconds(write):
    raw = read_joung(write(HEADER + ROWS, "chromophores.csv"), dataset="d", property="lifetime")
    assert raw.frame.select("label", "unit").rows() == [(2.5, "ns")]
    assert [(reject.row, reject.value, reject.kind) for reject in raw.rejects] == [
        (3, "0", "value not positive"),
        (4, "-1", "value not positive"),
    ]


def test_the_property_must_be_named(write):
    with pytest.raises(DataError, match="--property absorption or emission or lifetime"):
        read_joung(write(HEADER + ROWS, "chromophores.csv"), dataset="d")


def test_the_command_builds_a_stored_split(write, tmp_path):
    write(HEADER + ROWS + "6,c1ccccc1,O,257,NaN,NaN\n", "DB_for_chromophore_Sci_Data_rev02.csv")
    write("row,split\n0,train\n2,test\n5,train\n", "split.csv")
    options = ["--property", "absorption", "--keep-solid-state", "--allow-changed", "--quiet"]
    stored = ["--split-file", str(tmp_path / "split.csv"), "--split-column", "split"]
    folders = ["--root", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["build", "chromophore", *options, *stored, *folders]) == 0
    pairs, _ = load_pairs(tmp_path / "out")
    assert pairs.select("label", "n_merged", "split").rows() == [(256.0, 2, "train"), (260.0, 1, "test")]
