"""Test pairs of one build that must not train in another."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.build import load_pairs
from data_prep.cli import main
from data_prep.exclusion import exclude_tests
from data_prep.molecules import MoleculeTable
from data_prep.records import FAMILIES


@pytest.fixture
def pairs_folder(tmp_path):
    """Build a csv with columns a, b, y, part of a family; returns the folder and the exit code."""

    def _build(name: str, text: str, family: str, *exclude: Path, b: bool = True) -> tuple[Path, int]:
        table = tmp_path / f"{name}.csv"
        table.write_text(("a,b,y,part\n" if b else "a,y,part\n") + text)
        columns = ["--a", "a", *(["--b", "b"] if b else []), "--label", "y", "--split", "part"]
        excluding = ["--exclude-tests", *map(str, exclude)] if exclude else []
        out = tmp_path / name
        options = ["--input", str(table), "--family", family, "--out", str(out), "--quiet"]
        return out, main(["pairs", *options, *columns, *excluding])

    return _build


def parts(folder: Path) -> dict[tuple[str, str], str]:
    pairs, table = load_pairs(folder)
    first, second = (table.smiles[pairs[side].to_numpy()] for side in ("mol_a", "mol_b"))
    return dict(zip(zip(first, second, strict=True), pairs["split"], strict=True))


def counts(folder: Path) -> list[dict]:
    return json.loads((folder / "report.json").read_text())["excluded_tests"]


def test_two_drugs_are_one_pair_in_any_order_and_family(pairs_folder):
    tested, _ = pairs_folder("tested", "C,O,1,train\nN,C,1,test\nO,N,0,test\n", "ddi")
    rows = "C,N,4,train\nN,C,5,valid\nO,C,4,train\nO,N,1,test\nN,O,2,train\n"
    out, code = pairs_folder("typed", rows, "typed-ddi", tested)
    assert code == 0
    assert parts(out) == {
        ("C", "N"): "none",
        ("N", "C"): "none",
        ("O", "C"): "train",
        ("O", "N"): "test",
        ("N", "O"): "none",
    }
    assert counts(out) == [
        {"folder": "tested", "dataset": "tested", "test_pairs": 2, "compared": True, "train": 2, "valid": 1}
    ]


def test_solute_and_solvent_are_told_apart(pairs_folder):
    tested, _ = pairs_folder("tested", "OCC,O,-5,test\nC,O,2,train\n", "solvation")
    out, _ = pairs_folder("own", "C(C)O,O,-5,train\nO,CCO,-6,train\nC,O,2,train\n", "solvation", tested)
    assert parts(out) == {("CCO", "O"): "none", ("O", "CCO"): "train", ("C", "O"): "train"}


def test_other_roles_share_no_pair_and_the_report_says_so(pairs_folder, capsys):
    tested, _ = pairs_folder("tested", "C,O,1,test\n", "ddi")
    captions, _ = pairs_folder("captions", "C,methane,test\n", "caption", b=False)
    out, _ = pairs_folder("own", "C,O,2,train\n", "solvation", tested, captions)
    assert parts(out) == {("C", "O"): "train"}
    assert [entry["compared"] for entry in counts(out)] == [False, False]
    assert "pairs of other roles" in capsys.readouterr().out


def test_a_captioned_molecule_is_its_own_pair(pairs_folder):
    tested, _ = pairs_folder("tested", "C,a gas,test\nCC,a gas,train\n", "caption", b=False)
    out, _ = pairs_folder("own", "C,methane,train\nCC,ethane,train\n", "caption", tested, b=False)
    pairs, table = load_pairs(out)
    assert dict(zip(table.smiles[pairs["mol_a"].to_numpy()], pairs["split"], strict=True)) == {
        "C": "none",
        "CC": "train",
    }


def test_each_build_is_counted_for_itself(pairs_folder):
    first, _ = pairs_folder("first", "C,O,1,test\n", "ddi")
    second, _ = pairs_folder("second", "O,C,0,test\nC,N,0,test\n", "ddi")
    out, _ = pairs_folder("own", "C,O,1,train\nC,N,0,valid\n", "ddi", first, second)
    assert [(one["train"], one["valid"]) for one in counts(out)] == [(1, 0), (1, 1)]
    assert set(parts(out).values()) == {"none"}
    page = (out / "report.html").read_text()
    assert "Test pairs of other sets, set aside" in page
    assert "<td>second</td>" in page


@pytest.mark.parametrize(
    ("rows", "message"),
    [("C,O,1,train\n", "tested has no test pairs to exclude"), (None, "is not a file")],
    ids=["no_test_part", "no_build"],
)
def test_what_excludes_nothing_is_an_error(pairs_folder, tmp_path, capsys, rows, message):
    tested = pairs_folder("tested", rows, "ddi")[0] if rows else tmp_path
    assert pairs_folder("own", "C,O,1,train\n", "ddi", tested)[1] == 2
    assert message in capsys.readouterr().err


NAMES = ("C", "CC", "CCC", "CO", "N")


@pytest.fixture(scope="module")
def molecules() -> MoleculeTable:
    return MoleculeTable.from_smiles(NAMES)


def drawn(rows: list[tuple[int, int, str]], dataset: str) -> pl.DataFrame:
    first, second, split = zip(*rows, strict=True)
    return pl.DataFrame(
        {
            "mol_a": pl.Series(first, dtype=pl.Int32),
            "mol_b": pl.Series(second, dtype=pl.Int32),
            "split": pl.Series(split, dtype=pl.String),
            "family": "ddi",
            "dataset": dataset,
        }
    )


ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from(["train", "valid", "test", "none"])),
    min_size=1,
    max_size=20,
)


@settings(max_examples=40, deadline=None)
@given(own=ROWS, other=ROWS)
def test_no_tested_pair_is_left_to_learn_from_and_nothing_else_changes(molecules, own, other):
    other = [*other, (0, 1, "test")]
    after, (entry,) = exclude_tests(
        drawn(own, "own"), molecules, FAMILIES["ddi"], [("other", drawn(other, "other"), molecules)]
    )
    tested = {frozenset(row[:2]) for row in other if row[2] == "test"}
    for (a, b, before), now in zip(own, after["split"], strict=True):
        learnt = before in ("train", "valid")
        assert now == ("none" if learnt and frozenset((a, b)) in tested else before)
    changed = sum(before != now for (_, _, before), now in zip(own, after["split"], strict=True))
    assert entry["train"] + entry["valid"] == changed
