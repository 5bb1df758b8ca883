from __future__ import annotations

import pytest

from data_prep.readers.columns import PairColumnNames
from data_prep.report_page import render
from data_prep.splits import SplitPlan

LEAKY = """a,b,y,part
c1ccccc1C,O,1,train
O,Cc1ccccc1,1,test
c1ccccc1CC,N,0,test
C,N,0,valid
"""
NAMES = PairColumnNames(a="a", b="b", label="y", split="part")
PLAN = SplitPlan("column", column="part")


def test_rejects_are_counted_by_reason_with_examples(build, solvation_columns, solvation_rows):
    rejected = build(solvation_rows, solvation_columns, "solvation")["rows"]["rejected"]
    assert rejected["count"] == 4
    assert {kind: entry["count"] for kind, entry in rejected["by_reason"].items()} == {
        "empty label": 1,
        "label is not a number": 1,
        "unparseable SMILES": 1,
        "empty SMILES": 1,
    }
    example = rejected["by_reason"]["unparseable SMILES"]["examples"][0]
    assert (example["row"], example["value"], example["source"]) == (4, "C(C", "table.csv")


def test_every_row_is_accounted_for(build, solvation_columns, solvation_rows):
    report = build(solvation_rows, solvation_columns, "solvation")
    merged = report["merged"]
    gone = report["rows"]["rejected"]["count"] + merged["duplicate_rows"] + merged["conflict_rows"]
    assert report["rows"]["read"] == report["pairs"] + gone == sum(report["split"]["sizes"].values()) + gone


def test_leakage_by_pair_molecule_and_scaffold(build):
    shared = build(LEAKY, NAMES, "ddi", split=PLAN)["leakage"]
    assert shared["train-test"]["pairs"] == 1
    assert shared["train-test"]["molecules"] == {"any role": 2}
    assert shared["train-test"]["scaffolds"] == {"any role": 1}
    assert shared["train-test"]["rows_with_known"] == {"a": 1, "b": 1, "both": 1, "of": 2}
    assert shared["valid-test"]["molecules"] == {"any role": 1}
    assert shared["train-valid"]["pairs"] == 0


def test_leakage_by_role_where_roles_differ(build):
    names = PairColumnNames(a="a", b="b", label="y", split="part")
    text = "a,b,y,part\nCC,O,1,train\nO,CC,1,test\nCCC,O,1,test\n"
    shared = build(text, names, "solvation", split=PLAN)["leakage"]["train-test"]
    assert shared["molecules"] == {"any role": 2, "solute": 0, "solvent": 1}
    assert shared["rows_with_known"] == {"a": 0, "b": 1, "both": 0, "of": 2}


def test_similarity_of_test_to_train_molecules_by_role(build, tmp_path):
    names = PairColumnNames(a="a", b="b", label="y", split="part")
    text = "a,b,y,part\nCCCCCCO,O,1,train\nCCCCCCCO,O,1,test\nc1ccccc1,O,1,test\n"
    nearest = build(text, names, "solvation", split=PLAN)["leakage"]["train-test"]["nearest"]
    solute, solvent = nearest["solute"], nearest["solvent"]
    assert (solute["molecules"], solute["in_train"]) == (2, 0)
    assert sum(solute["histogram"]["counts"]) == 2
    assert solute["histogram"]["counts"][0] == 1  # benzene shares no bit with hexanol
    assert solvent["share_at_least_0.9"] == 1.0
    assert solvent["median_not_in_train"] is None
    assert "Similarity of test to train" in (tmp_path / "out" / "report.html").read_text()


def test_a_part_without_pairs_has_no_similarity(build, solvation_columns):
    report = build("solute,solvent,dG\nC,O,1\n", solvation_columns, "solvation")
    assert report["leakage"]["train-test"]["nearest"] == {"any role": {}, "solute": {}, "solvent": {}}


def test_tautomers_that_share_an_inchikey_are_two_molecules_and_counted(build, solvation_columns):
    text = "solute,solvent,dG\nOc1ccccn1,O,-5\nO=c1cccc[nH]1,O,-6\n"
    report = build(text, solvation_columns, "solvation")
    assert report["pairs"] == 2
    assert report["molecules"]["inchikey_shared"]["keys"] == 1


def test_unusual_atoms_and_bonds_are_counted(build, solvation_columns):
    text = "solute,solvent,dG\n*CC,O,-5\n[NH3]->[Cu+2],O,-6\nC[Pt@SP1](F)(Cl)[H],O,-6\n[Na+].[Cl-],O,1\n"
    molecules = build(text, solvation_columns, "solvation")["molecules"]
    assert molecules["unusual"]["dummy atoms (*)"] == 1
    assert molecules["unusual"]["bonds of another type"] == 1
    assert molecules["unusual"]["chirality other than tetrahedral"] == 1
    assert molecules["several_fragments"] == 1


def test_label_statistics_per_part(build):
    report = build(LEAKY, NAMES, "ddi", split=PLAN)
    assert report["labels"]["interaction"]["test"] == {"rows": 2, "classes": {"0": 1, "1": 1}}


def test_the_manifest_follows_assignment_and_source(build, solvation_columns):
    lines = "solute,solvent,dG\n" + "".join(f"{'C' * count},O,{-count}\n" for count in range(1, 30))
    first, again, other = (
        build(lines, solvation_columns, "solvation", split=SplitPlan(seed=seed))["split"]["sha256"]
        for seed in (0, 0, 1)
    )
    assert first == again != other
    changed = build(lines + "OCC,O,1\n", solvation_columns, "solvation")["split"]["sha256"]
    assert changed != first


def test_the_page_stands_alone_and_escapes_what_it_shows(build, solvation_columns, tmp_path):
    report = build("solute,solvent,dG\n<b>x,O,1\nCC,O,-2\n", solvation_columns, "solvation")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;b&gt;x" in page
    assert "<b>x" not in page
    assert "http" not in page
    assert "<svg" in page
    assert page == render(report)


def test_an_interrupted_build_leaves_no_report(build, solvation_columns, tmp_path, monkeypatch):
    build("solute,solvent,dG\nC,O,1\n", solvation_columns, "solvation")

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("data_prep.build.write_parquet", fail)
    with pytest.raises(OSError, match="disk full"):
        build("solute,solvent,dG\nCC,O,1\n", solvation_columns, "solvation")
    assert not (tmp_path / "out" / "report.json").exists()
    assert not list((tmp_path / "out").glob("*.tmp"))


def test_an_empty_part_is_a_note_of_the_report(build, solvation_columns):
    text = "solute,solvent,dG\n" + "".join(f"{'C' * count},O,{-count}\n" for count in range(1, 30))
    assert build(text, solvation_columns, "solvation")["notes"] == []
    held_out = build(text, solvation_columns, "solvation", split=SplitPlan("solvent"))
    assert held_out["notes"] == ["The split has no pair in: valid, test."]
