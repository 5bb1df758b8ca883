"""DrugBank's layout with invented drugs and sentences."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_prep import catalog
from data_prep.build import BuildOptions, build_pairs, load_classes
from data_prep.errors import DataError
from data_prep.readers.sentences import read_classes, read_published
from data_prep.readers.typed import read_drugbank, read_drugbank_part
from data_prep.records import TypedClass
from data_prep.tables import read_parquet, write_parquet

SENTENCES = """Interaction type,Description,Subject,DDI type
3,"#Drug1 and #Drug2, taken together, tire the patient.",3,DDI type 1
1,#Drug1 speeds up the removal of #Drug2.,1,DDI type 2
2,#Drug2 and what #Drug2 becomes stay longer with #Drug1.,2,DDI type 3
"""
SMILES = ",drug_id,smiles\n0,DB1,C\n1,DB2,CC\n2,DB3,\n"
PAIRS = "drug1\tdrug2\tLabel\nDB1\tDB2\t1\nDB2\tDB1\t3\nDB1\tDB3\t1\nDB9\tDB3\t2\nDB1\tDB2\t4\nDB1\tDB2\t\n"
NODES = '{"DB1": 0, "DB2": 1, "DB3": 7}'


@pytest.fixture
def companions(write) -> dict[str, Path]:
    texts = {
        "drug_smiles.csv": SMILES,
        "Interaction_information.csv": SENTENCES,
        "node2id.json": NODES,
    }
    return {name: write(text, name) for name, text in texts.items()}


def test_pairs_sentences_and_structures_are_joined(write, companions):
    raw = read_drugbank(write(PAIRS, "Drugbank.txt"), dataset="d", companions=companions)
    assert raw.frame.select("smiles_a", "smiles_b", "label", "source_row").rows() == [
        ("C", "CC", 0.0, 0),
        ("CC", "C", 2.0, 1),
    ]
    assert {(reject.row, reject.kind) for reject in raw.rejects} == {
        (2, "drug without SMILES"),
        (3, "drug without SMILES"),
        (4, "class without a sentence"),
        (5, "empty label"),
    }
    missing = next(reject for reject in raw.rejects if reject.row == 3)
    assert missing.value == "DB9 and DB3"
    assert "drug_smiles.csv" in missing.reason
    assert raw.rows_read == 6


def test_sentences_are_found_by_the_label_and_keep_both_slots(companions):
    assert read_published(companions["Interaction_information.csv"]) == (
        TypedClass("{a} speeds up the removal of {b}.", False),
        TypedClass("{b} and what {b} becomes stay longer with {a}.", False),
        TypedClass("{a} and {b}, taken together, tire the patient.", True),
    )


def test_parts_of_the_published_split_count_from_zero(write, companions):
    path = write("0 1 0\n1 0 2\n0 7 1\n5 1 1\n", "train.txt")
    raw = read_drugbank_part(path, dataset="d", companions=companions)
    assert raw.frame.select("smiles_a", "smiles_b", "label").rows() == [("C", "CC", 0.0), ("CC", "C", 2.0)]
    assert [reject.value for reject in raw.rejects] == ["DB3", "node 5"]
    with pytest.raises(DataError, match="row 1 has 2 cells"):
        read_drugbank_part(write("0 1 0\n1 0\n", "valid.txt"), dataset="d", companions=companions)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class,text\n0,{a} and {b}\n2,{b} and {a}\n", "without gaps"),
        ("class,text\n0,{a} and {b}\n0,{b} and {a}\n", "without gaps"),
        ("class,text\n0,{a} alone\n", "lacks {b}"),
        ("class,text,symmetric\n0,{a} and {b},maybe\n", "holds 'maybe'; use 0 or 1"),
        ("class,sentence\n0,{a} and {b}\n", "no column 'text'"),
    ],
    ids=["gap", "repeated", "one_slot", "not_a_flag", "column"],
)
def test_wrong_sentences_are_named(write, text, message):
    with pytest.raises(DataError, match=message):
        read_classes(write(text, "classes.csv"))


def test_classes_lie_with_the_pairs(write, companions, tmp_path):
    raw = read_drugbank(write(PAIRS, "Drugbank.txt"), dataset="d", companions=companions)
    report = build_pairs(raw, tmp_path / "out", BuildOptions(progress=False))
    assert load_classes(tmp_path / "out") == list(raw.classes)
    assert report["classes"] == {"sentences": 3, "symmetric": 1}
    pairs, metadata = read_parquet(tmp_path / "out" / "pairs.parquet")
    write_parquet(pairs, tmp_path / "out" / "pairs.parquet", metadata=metadata | {"classes": '[{"text": 1}]'})
    with pytest.raises(DataError, match="damaged classes"):
        load_classes(tmp_path / "out")


def test_a_card_hands_its_companions_to_the_reader(write, companions, tmp_path):
    write(PAIRS, "Drugbank.txt")
    raw = catalog.read_dataset("drugbank86", tmp_path, allow_changed=True)
    assert [(source.name, source.rows, source.verified) for source in raw.sources] == [
        ("Drugbank.txt", 6, False),
        ("drug_smiles.csv", None, False),
        ("Interaction_information.csv", None, False),
    ]
    assert len(raw.classes) == 3
    (tmp_path / "drug_smiles.csv").unlink()
    with pytest.raises(DataError, match=r"drug_smiles\.csv is missing"):
        catalog.read_dataset("drugbank86", tmp_path, allow_changed=True)
