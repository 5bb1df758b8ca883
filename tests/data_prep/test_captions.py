from __future__ import annotations

import pytest

from data_prep.errors import DataError
from data_prep.readers.captions import read_captions, read_chebi

HEADER = "CID\tSMILES\tdescription\n"


def test_a_quotation_mark_is_a_letter(write):
    path = write(HEADER + '7\tC\tThe molecule is "small.\n8\tCC\tThe molecule is an alkane.\n', "test.txt")
    raw = read_chebi(path, dataset="d")
    assert raw.frame.select("smiles_a", "smiles_b", "text", "label").rows() == [
        ("C", None, 'The molecule is "small.', None),
        ("CC", None, "The molecule is an alkane.", None),
    ]
    assert "draws its split" in raw.notes[0]


def test_sentences_on_interactions_are_cut_and_counted(write):
    rows = "7\tC\tA gas. It interacts with fire.\n8\tCC\tIt interacts.\n9\tCCC\t\n10\tCCCC\n"
    raw = read_chebi(write(HEADER + rows, "test.txt"), dataset="d")
    assert raw.frame.select("text", "source_row").rows() == [("A gas.", 0)]
    assert raw.notes[1] == "Sentences on interactions cut from the captions of test.txt: 2."
    assert [(reject.row, reject.kind) for reject in raw.rejects] == [
        (3, "short line"),
        (1, "caption on interactions only"),
        (2, "empty caption"),
    ]


def test_another_layout_is_refused(write):
    with pytest.raises(DataError, match="does not begin with the columns CID, SMILES, description"):
        read_chebi(write("SMILES,description\nC,methane\n", "test.txt"), dataset="d")


def test_columns_of_the_user_s_are_named(write):
    path = write("molecule,about,part\nC,A gas.,train\nCC,,test\nCCC,Fuel.,test\n")
    raw = read_captions(path, smiles="molecule", text="about", split="part", dataset="d")
    assert raw.frame.select("smiles_a", "text", "split").rows() == [
        ("C", "A gas.", "train"),
        ("CCC", "Fuel.", "test"),
    ]
    with pytest.raises(DataError, match="no column 'caption'"):
        read_captions(path, smiles="molecule", text="caption", dataset="d")
