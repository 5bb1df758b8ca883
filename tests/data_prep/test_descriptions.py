from __future__ import annotations

import json

import pytest

from data_prep.build import load_pairs
from data_prep.cli import main
from data_prep.descriptions import random_pairs
from data_prep.errors import DataError


@pytest.fixture
def folders(tmp_path):
    """Two built folders of alkanes, sharing one; the second has a text of the user's about it."""
    texts = tmp_path / "texts.csv"
    texts.write_text("smiles,text\nCCCCCC,A solvent. It interacts with fat.\nCCCCCCC,A fuel.\n")
    built = []
    for name, sizes, more in (
        ("short", range(1, 7), []),
        ("long", range(6, 12), ["--properties", str(texts)]),
    ):
        table = tmp_path / f"{name}.csv"
        table.write_text("a,b,y\n" + "".join(f"{'C' * size},O,1\n" for size in sizes))
        columns = ["--a", "a", "--b", "b", "--label", "y", "--family", "solvation"]
        built.append(tmp_path / name)
        assert (
            main(["pairs", "--input", str(table), *columns, "--out", str(built[-1]), "--quiet", *more]) == 0
        )
    return built


def test_pairs_are_different_and_of_different_molecules(folders):
    raw = random_pairs(folders, 60, seed=1)
    drawn = raw.frame.select("smiles_a", "smiles_b").rows()
    assert len({frozenset(pair) for pair in drawn}) == 60
    assert all(len(set(pair)) == 2 for pair in drawn)
    assert len({smiles for pair in drawn for smiles in pair}) == 12
    assert any(a < b for a, b in drawn)
    assert any(a > b for a, b in drawn)
    assert raw.frame.equals(random_pairs(folders, 60, seed=1).frame)
    assert not raw.frame.equals(random_pairs(folders, 60, seed=2).frame)


def test_texts_stand_as_in_the_folders_or_as_the_user_gives_them(folders, tmp_path):
    own = tmp_path / "own.csv"
    own.write_text("smiles,text\nO,Water.\n")
    arguments = [
        "--pairs",
        "66",
        "--seed",
        "3",
        "--properties",
        str(own),
        "--out",
        str(tmp_path / "out"),
        "--quiet",
    ]
    assert main(["descriptions", "--from", *map(str, reversed(folders)), *arguments]) == 0
    pairs, table = load_pairs(tmp_path / "out")
    texts = dict(zip(table.smiles, table.property_text, strict=True))
    assert texts["O"] == "Water."
    assert texts["CCCCCC"] == "A solvent."
    assert texts["CCCCCCC"] == "A fuel."
    assert texts["C"].startswith("weight 16.0")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["property_text"]["supplied"] == 1
    assert report["property_text"]["carried_over"] == 11
    assert report["split"]["sizes"] == {"train": 64, "valid": 1, "test": 1, "none": 0}
    assert pairs["text"].null_count() == pairs["label"].null_count() == len(pairs)
    assert pairs["family"].unique().to_list() == ["description"]


@pytest.mark.parametrize("count", [0, 67], ids=["none", "too_many"])
def test_molecules_form_only_so_many_pairs(folders, count):
    with pytest.raises(DataError, match="12 molecules form 66 pairs"):
        random_pairs(folders, count, seed=0)
