from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest

from data_prep import cli, records, splits
from data_prep.build import load_classes, load_pairs
from data_prep.cards import CARDS
from data_prep.readers import chromophore
from data_prep.records import TypedClass


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def report_of(folder) -> dict:
    return json.loads((folder / "report.json").read_text())


@pytest.fixture
def pairs_command(write, tmp_path):
    def _run(text, *arguments, columns=("--a", "a", "--b", "b"), family="ddi") -> int:
        path = write(text)
        return run(
            "pairs",
            "--input",
            path,
            *columns,
            "--label",
            "y",
            "--family",
            family,
            "--out",
            tmp_path / "out",
            "--quiet",
            *arguments,
        )

    return _run


def test_words_agree_with_the_modules_behind_them():
    assert {*cli.FAMILIES, "description"} == set(records.FAMILIES)  # descriptions have a command of their own
    assert splits.METHODS == cli.METHODS
    chromophores = records.FAMILIES["chromophore"].properties
    assert tuple(chromophore.COLUMNS) == cli.CHROMOPHORE_PROPERTIES == chromophores


def test_list_shows_every_card(capsys):
    assert run("list") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in CARDS)


def test_help_loads_no_heavy_library():
    code = (
        "import sys; from data_prep.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'rdkit', 'polars', 'torch', 'numpy', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_pairs_of_a_table_with_a_byte_order_mark_and_latin_letters(pairs_command, tmp_path, capsys):
    assert pairs_command("\ufeffa,b,y\nC,O,1\nC,N,0\nC(,N,0\n") == 0
    assert "unparseable SMILES" in capsys.readouterr().out
    assert report_of(tmp_path / "out")["pairs"] == 2
    assert pairs_command("a,b,y,name\nC,O,1,é\n".encode("latin-1")) == 0
    assert report_of(tmp_path / "out")["sources"][0]["encoding"] == "latin-1"


def test_ten_bad_rows_among_good_ones(pairs_command, tmp_path):
    bad = [
        "C(C,O,1",
        ",O,1",
        "C,O,",
        "C,O,yes",
        "C1,O,0",
        "C,[Zz],0",
        "C C,O,0",
        "C,,1",
        f"{'C' * 600},O,1",
        "C,O,2",
    ]
    good = ["CC,O,1", "CCC,O,0"]
    assert pairs_command("a,b,y\n" + "\n".join(bad + good) + "\n") == 0
    report = report_of(tmp_path / "out")
    assert report["pairs"] == 2
    assert report["rows"]["rejected"]["count"] == 10


@pytest.mark.parametrize("split", ["random", "cold-1", "cold-2", "scaffold", "solvent"])
def test_every_split_rule_runs(pairs_command, tmp_path, split):
    rows = "".join(f"{'C' * (1 + row % 9)},{'O' * (1 + row // 9)},{row % 2}\n" for row in range(60))
    assert pairs_command("a,b,y\n" + rows, "--split", split, "--fractions", "0.6", "0.2", "0.2") == 0
    assert report_of(tmp_path / "out")["split"]["method"] == split


@pytest.mark.parametrize(
    "arguments",
    [("--split", "part"), ("--split-column", "part"), ("--split", "column", "--split-column", "part")],
    ids=["by_name", "by_option", "both"],
)
def test_a_column_gives_the_split(pairs_command, tmp_path, arguments, capsys):
    code = pairs_command("a,b,y,part\nC,O,1,train\nC,N,0,test\n", *arguments)
    if arguments[:2] == ("--split", "column"):
        assert code == 2
        assert "name a column" in capsys.readouterr().err
        return
    assert code == 0
    assert report_of(tmp_path / "out")["split"]["sizes"]["test"] == 1


def test_joined_molecules(pairs_command, tmp_path):
    code = pairs_command("ssid,y\nO.CCO,-5\n", columns=("--dot-joined", "ssid"), family="solvation")
    assert code == 0
    pairs, table = load_pairs(tmp_path / "out")
    assert (table.smiles[pairs["mol_a"][0]], table.smiles[pairs["mol_b"][0]]) == ("CCO", "O")


def test_side_effects_with_a_query(pairs_command, tmp_path):
    text = "a,b,y,effect\nC,O,1,nausea\nC,O,-1,cough\n"
    assert pairs_command(text, "--query", "effect", family="side-effect") == 0
    pairs = load_pairs(tmp_path / "out")[0]
    assert sorted(pairs["query"]) == ["cough", "nausea"]
    assert pairs["property"].unique().to_list() == ["side effect"]
    assert report_of(tmp_path / "out")["queries"]["queries"] == 2


def test_typed_pairs_with_the_user_s_sentences(pairs_command, tmp_path, write):
    sentences = write(
        "class,text,symmetric\n1,{a} and {b} add up.,1\n0,{b} slows {a} down.,0\n", "classes.csv"
    )
    text = "a,b,y\nC,O,0\nO,C,0\nC,N,1\nC,S,2\n"
    assert pairs_command(text, "--classes", sentences, family="typed-ddi") == 0
    assert load_classes(tmp_path / "out") == [
        TypedClass("{b} slows {a} down.", False),
        TypedClass("{a} and {b} add up.", True),
    ]
    report = report_of(tmp_path / "out")
    assert list(report["rows"]["rejected"]["by_reason"]) == ["class without a sentence"]
    assert report["classes"] == {"sentences": 2, "symmetric": 1}
    assert report["pairs"] == 3


def test_typed_pairs_without_sentences_are_warned_about(pairs_command, tmp_path, capsys):
    assert pairs_command("a,b,y\nC,O,0\n", family="typed-ddi") == 0
    assert "no sentences" in capsys.readouterr().out
    assert load_classes(tmp_path / "out") == []


def test_captions_of_the_user_s(pairs_command, tmp_path):
    rows = "".join(
        f"{'C' * size},alkane of {size} carbons,{'test' if size > 6 else 'train'}\n" for size in range(1, 9)
    )
    columns = ("--a", "a")
    assert pairs_command("a,y,part\n" + rows, "--split", "part", columns=columns, family="caption") == 0
    pairs, table = load_pairs(tmp_path / "out")
    assert pairs["mol_b"].unique().to_list() == [-1]
    assert pairs["role_b"].null_count() == pairs["label"].null_count() == len(pairs) == 8
    captions = dict(zip(table.smiles[pairs["mol_a"].to_numpy()], pairs["text"], strict=True))
    assert captions["CCC"] == "alkane of 3 carbons"
    report = report_of(tmp_path / "out")
    assert report["split"]["sizes"] == {"train": 6, "valid": 0, "test": 2, "none": 0}
    assert report["merged"]["self_pairs"] == 0
    assert all(shared["pairs"] == 0 for shared in report["leakage"].values())
    assert "roles of the molecules: drug." in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("split", ["random", "cold-2", "scaffold"])
def test_splits_of_single_molecules_share_none(pairs_command, tmp_path, split):
    rows = "".join(f"C1{'C' * size}C1,ring of {size + 2}\n" for size in range(1, 31))
    shares = ("--fractions", "0.6", "0.2", "0.2")
    columns = ("--a", "a")
    assert pairs_command("a,y\n" + rows, "--split", split, *shares, columns=columns, family="caption") == 0
    report = report_of(tmp_path / "out")
    assert report["split"]["sizes"] == {"train": 18, "valid": 6, "test": 6, "none": 0}
    assert all(shared["molecules"]["any role"] == 0 for shared in report["leakage"].values())


@pytest.mark.parametrize(
    ("family", "options"),
    [("molecule-property", ("--property", "log solubility")), ("molecule-class", ())],
    ids=["number", "yes_or_no"],
)
@pytest.mark.parametrize("split", ["random", "scaffold"])
def test_labelled_molecules_of_the_user_s(pairs_command, tmp_path, family, options, split):
    rows = "".join(f"C1{'C' * size}C1,{size % 2}\n" for size in range(1, 31))
    arguments = ("--split", split, "--fractions", "0.6", "0.2", "0.2", *options)
    assert pairs_command(f"a,y\n{rows}C1CC1,0\nC(,1\n", *arguments, columns=("--a", "a"), family=family) == 0
    report = report_of(tmp_path / "out")
    assert report["rows"]["rejected"]["count"] == 1
    conflict = family == "molecule-class"  # one ring is listed with both labels
    assert (report["merged"]["conflict_pairs"], report["merged"]["duplicate_rows"]) == (
        conflict,
        not conflict,
    )
    pairs = load_pairs(tmp_path / "out")[0]
    assert pairs["mol_b"].unique().to_list() == [-1]
    assert pairs["property"].unique().to_list() == [*options[1:], "blood-brain barrier"][:1]
    assert all(report["split"]["sizes"][part] for part in ("train", "valid", "test"))
    assert all(shared["molecules"]["any role"] == 0 for shared in report["leakage"].values())


@pytest.mark.parametrize("family", ["caption", "molecule-class"])
@pytest.mark.parametrize("split", ["solvent", "cold-1"])
def test_splits_by_the_second_molecule_need_one(pairs_command, capsys, family, split):
    arguments = ("--split", split)
    assert pairs_command("a,y\nC,1\n", *arguments, columns=("--a", "a"), family=family) == 2
    assert "needs two molecules in a row" in capsys.readouterr().err


def test_every_rejected_row_is_in_the_table_of_rejects(pairs_command, tmp_path):
    bad = "".join(f"C,O,{row}\n" for row in range(2, 22))
    assert pairs_command(f"a,b,y\nC,N,1\n{bad}C(C,N,0\n") == 0
    with (tmp_path / "out" / "rejects.csv").open(newline="") as stream:
        rejects = list(csv.DictReader(stream))
    assert list(rejects[0]) == ["source", "row", "kind", "value", "reason"]
    assert [int(one["row"]) for one in rejects] == [*range(1, 21), 21]
    assert (rejects[0]["value"], rejects[-1]["kind"]) == ("2", "unparseable SMILES")
    assert report_of(tmp_path / "out")["rows"]["rejected"]["count"] == 21


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--split", "colour"), "no column 'colour'"),
        (("--fractions", "0.5", "0.2", "0.2"), "add up to 1"),
        (("--split", "part", "--fractions", "0.8", "0.1", "0.1"), "no effect"),
        (("--split", "random", "--split-column", "part"), "--split-column needs"),
        (("--split", "random", "--split-file", "x.csv"), "--split-file already"),
        (("--split-file", "x.csv", "--split-column", "part"), "x.csv is not a file"),
        (("--split-file", "x.csv"), "Name the column"),
        (("--properties", "none.csv"), "none.csv is not a file"),
    ],
    ids=[
        "column",
        "sum",
        "given_fractions",
        "random_column",
        "two_ways",
        "no_file",
        "no_column",
        "no_properties",
    ],
)
def test_what_does_not_fit_is_one_line_and_exit_code_two(pairs_command, capsys, arguments, message):
    assert pairs_command("a,b,y,part\nC,O,1,train\n", *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("data-prep: ")
    assert "\n" not in error
    assert message in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("freesolv",), "data-prep fetch freesolv"),
        (("freesolv", "--keep-solid-state"), "--keep-solid-state has no effect on freesolv"),
        (("freesolv", "--property", "absorption"), "--property has no effect on freesolv"),
    ],
    ids=["no_files", "solid_state", "property"],
)
def test_build_of_a_set_without_files_or_with_options_of_another(tmp_path, capsys, arguments, message):
    assert run("build", *arguments, "--root", tmp_path, "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err


def test_build_resamples_negatives_or_keeps_the_published_split(tmp_path):
    folder = tmp_path / "zhangddi"
    folder.mkdir()
    parts = {"train": "C,O,1\nC,N,1\nCC,O,0\n", "valid": "O,C,1\n", "test": "N,C,0\nCCC,CCCC,0\n"}
    for part, rows in parts.items():
        (folder / f"ZhangDDI_{part}.csv").write_text("smiles_1,smiles_2,label\n" + rows)
    assert run("build", "zhangddi", "--root", tmp_path, "--out", tmp_path / "clean", "--quiet") == 0
    clean = report_of(tmp_path / "clean")
    assert (clean["merged"]["conflict_pairs"], clean["merged"]["sampled_negatives"], clean["pairs"]) == (
        1,
        1,
        2,
    )
    legacy = (
        "build",
        "zhangddi",
        "--root",
        tmp_path,
        "--out",
        tmp_path / "legacy",
        "--quiet",
        "--legacy-split",
    )
    assert run(*legacy) == 0
    kept = report_of(tmp_path / "legacy")
    assert (kept["pairs"], kept["merged"]["conflicts"]) == (6, "kept")
    assert kept["leakage"]["train-valid"]["pairs"] == 1
    assert run(*legacy, "--split", "random") == 2


@pytest.fixture
def stored_split(tmp_path):
    """Folder of two FreeSolv rows that differ from the published file, and a stored split of them."""
    (tmp_path / "database.txt").write_text("# id\na; CCO; ethanol; -5.0; 0.6\nb; CC; ethane; 1.8; 0.6\n")
    (tmp_path / "stored.csv").write_text("row,mine\n0,train\n1,test\n")
    arguments = ("--root", tmp_path, "--out", tmp_path / "out", "--allow-changed", "--quiet")
    return (
        "build",
        "freesolv",
        *arguments,
        "--split-file",
        tmp_path / "stored.csv",
        "--split-column",
        "mine",
    )


@pytest.mark.parametrize("more", [(), ("--split", "file")], ids=["file_alone", "said_twice"])
def test_build_takes_a_stored_split(stored_split, tmp_path, more):
    """A stored split that is named is used, whether or not --split says so too."""
    assert run(*stored_split, *more) == 0
    split = report_of(tmp_path / "out")["split"]
    assert split["method"] == "file"
    assert (split["sizes"]["train"], split["sizes"]["test"]) == (1, 1)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--split", "random"), "--split-file already says how to split"),
        (("--fractions", "0.8", "0.1", "0.1"), "no effect on a split that is read"),
        (("--legacy-split",), "leave --split, --split-file and --fractions out"),
    ],
    ids=["drawn", "fractions", "published"],
)
def test_build_refuses_two_splits(stored_split, capsys, more, message):
    assert run(*stored_split, *more) == 2
    assert message in capsys.readouterr().err


def test_a_bad_checksum_option_is_named(tmp_path, capsys):
    assert run("fetch", "zhangddi", "--out", tmp_path, "--sha256", "file=abc") == 2
    assert "64 hexadecimal" in capsys.readouterr().err


def test_demo_says_that_it_is_computed(tmp_path, capsys):
    assert run("demo", "--out", tmp_path / "demo", "--pairs", 50) == 0
    assert "not measurements" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--family", "solvation", "--property", "absorption"), "has one property, 'solvation free energy'"),
        (("--family", "chromophore", "--property", "absorbtion"), "no property 'absorbtion'; choose from"),
        (("--family", "solvation", "--query", "a"), "--query is for family side-effect"),
        (("--family", "solvation", "--classes", "c.csv"), "--classes is for family typed-ddi"),
        (("--family", "caption"), "one molecule in a row: give --a, and no --b"),
    ],
    ids=["other_property", "misspelt_property", "query", "classes", "two_molecules"],
)
def test_names_that_would_be_ignored_are_refused(tmp_path, capsys, options, message):
    table = tmp_path / "t.csv"
    table.write_text("a,b,y\nCCO,O,-5.0\nC,O,2.0\n")
    arguments = ["pairs", "--input", str(table), "--a", "a", "--b", "b", "--label", "y", *options]
    assert cli.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
