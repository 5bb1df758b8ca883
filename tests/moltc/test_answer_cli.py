"""``moltc answer``: one pair, or a file of pairs; bad rows, wrong options and wrong files."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from tiny_pairs import build, tiny_config

from data_prep.properties import PropertyTexts
from moltc.calibration import SplitConformal
from moltc.chain_of_thought import ChainOfThought
from moltc.cli import main
from moltc.predictor import PairPredictor


@pytest.fixture(scope="module")
def exported(pairs, tmp_path_factory) -> str:
    """Folder of an untrained solvation model."""
    folder = tmp_path_factory.mktemp("exported") / "export"
    model = build(tiny_config(), pairs("solvation"))
    conformal = SplitConformal.fit(np.zeros(20), np.linspace(0.1, 2.0, 20))
    model.calibration[model.task.name] = {"conformal": conformal.to_dict()}
    model.save_pretrained(folder)
    return str(folder)


def ask(exported: str, *rest: str) -> int:
    return main(["answer", "--model", exported, *rest])


def test_pair_on_the_command_line_is_answered(exported, capsys):
    assert ask(exported, "CCO", "O") == 0
    out, err = capsys.readouterr()
    assert "Solute: CCO" in out
    assert "Solvent: O" in out
    assert "Answer: The value lies between" in out
    assert "kcal/mol" in out
    assert err == ""


def test_smiles_with_brackets_are_printed_as_typed(exported, capsys):
    """Promise: [nH] and [Na+] are no markup."""
    assert ask(exported, "c1cc[nH]c1", "[Na+].[Cl-]") == 0
    out = capsys.readouterr().out
    assert "Solute: c1cc[nH]c1" in out
    assert "Solvent: [Na+].[Cl-]" in out
    assert "2 fragments" in out


@pytest.mark.parametrize(
    "smiles", ["C(C", "", "C" * 600, "not a molecule"], ids=["broken", "empty", "large", "words"]
)
def test_bad_molecule_on_the_command_line(exported, capsys, smiles):
    """Promise: a clear answer and exit status 1, never a traceback."""
    assert ask(exported, smiles, "O") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("moltc answer: cannot answer: Solute")
    assert len(err.splitlines()) == 1


ROWS = [
    ("CCO", "O"),
    ("C(C", "O"),
    ("", "O"),
    ("CCO", ""),
    ("C" * 600, "O"),
    ("hello", "world"),
    ("c1ccccc1", "CO"),
    ("C1CC", "O"),
    ("[Na+].[Cl-]", "O"),
    ("C(C)(C)(C)(C)C", "O"),
    ("CC N", "O"),
    ("Q", "O"),
    ("CC(=O)O", "nan"),
    ("CC#N", "CO"),
]
GOOD_ROWS = [0, 6, 8, 13]


def test_file_with_ten_bad_rows_is_answered_in_full(exported, tmp_path, capsys):
    """Promise: every row has its answer or its reason, bad rows are named on stderr, good ones answered."""
    source = tmp_path / "asked.csv"
    with source.open("w", newline="") as handle:
        csv.writer(handle).writerows([("solute", "solvent"), *ROWS])
    assert ask(exported, "--csv", str(source), "--batch-size", "3") == 1
    out, err = capsys.readouterr()
    assert f"4 of 14 pairs answered: {tmp_path / 'asked.answers.csv'}" in out
    bad = [row for row in range(len(ROWS)) if row not in GOOD_ROWS]
    assert [line.split(":")[0] for line in err.splitlines()] == [f"row {row}" for row in bad]
    answers = list(csv.DictReader((tmp_path / "asked.answers.csv").open()))
    assert [int(line["row"]) for line in answers] == list(range(len(ROWS)))
    for row, line in enumerate(answers):
        assert line["valid"] == str(row in GOOD_ROWS)
        assert bool(line["value"]) == (row in GOOD_ROWS)
        assert bool(line["warnings"]) == (row not in GOOD_ROWS or row == 8)
    alone = PairPredictor.from_pretrained(exported).predict([ROWS[row] for row in GOOD_ROWS])
    written = [float(answers[row]["value"]) for row in GOOD_ROWS]
    assert written == pytest.approx([answered.value for answered in alone])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["asked.answers.csv", "asked.csv"]


def test_columns_are_chosen_by_name(exported, tmp_path):
    source = tmp_path / "asked.tsv"
    source.write_text("id\tsolvent\tsolute\n1\tO\tCCO\n2\tCO\tCC#N\n")
    target = tmp_path / "out.csv"
    assert ask(exported, "--csv", str(source), "--a", "solute", "--b", "solvent", "--out", str(target)) == 0
    answers = list(csv.DictReader(target.open()))
    assert [(line["smiles_a"], line["smiles_b"]) for line in answers] == [("CCO", "O"), ("CC#N", "CO")]


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ((), "give either two SMILES or --csv"),
        (("CCO",), "a pair has two SMILES, 1 were given"),
        (("CCO", "O", "C"), "3 were given"),
        (("CCO", "O", "--out", "x.csv"), "go with --csv"),
        (("--csv", "nowhere.csv"), "nowhere.csv"),
        (("CCO", "O", "--batch-size", "0"), "at least 1"),
        (("CCO", "O", "--device", "abacus"), "abacus"),
    ],
    ids=["nothing", "one", "three", "out-without-csv", "no-file", "batch-size", "device"],
)
def test_wrong_questions_end_in_one_sentence(exported, capsys, rest, message):
    assert ask(exported, *rest) == 2
    err = capsys.readouterr().err
    assert err.startswith("moltc answer: ")
    assert message in err


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "empty"), ("a\nCCO\n", "1 column"), ("x,y\nCCO,O\n", "no column 'solute'")],
    ids=["empty", "one-column", "other-columns"],
)
def test_wrong_files_end_in_one_sentence(exported, tmp_path, capsys, content, message):
    source = tmp_path / "asked.csv"
    source.write_text(content)
    more = ("--a", "solute") if "x,y" in content else ()
    assert ask(exported, "--csv", str(source), *more) == 2
    assert message in capsys.readouterr().err


def test_folder_without_model_is_an_error(tmp_path, capsys):
    assert main(["answer", "--model", str(tmp_path), "CCO", "O"]) == 2
    assert "no saved model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("CCO,O\nCCN,O\n", "no header: 'CCO' and 'O' are molecules; name the columns in the first line"),
        ("a,b\nCCO,O\nCCO,O,1\nCCN,O\nC,N,2,3\n", "line 3 has 3, line 5 has 4 fields, the header 2"),
        ("a,b\n" + "C,N,2\n" * 7, "line 6 has 3 fields (and 2 more lines), the header 2"),
    ],
    ids=["no-header", "ragged", "many-ragged"],
)
def test_files_that_would_be_misread_are_refused(exported, tmp_path, capsys, content, message):
    """Promise: the first pair is not lost as a header, and ragged rows are named by their lines."""
    source = tmp_path / "asked.csv"
    source.write_text(content)
    assert ask(exported, "--csv", str(source)) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["asked.csv"]


def test_columns_that_are_named_may_look_like_molecules(exported, tmp_path):
    """Promise: what the user names is taken at their word."""
    source = tmp_path / "asked.csv"
    source.write_text("C,N\nCCO,O\n")
    assert ask(exported, "--csv", str(source), "--a", "C", "--b", "N") == 0


# -- texts about molecules -----------------------------------------------------------------------------


def test_texts_of_a_file_reach_the_prompt(pairs, tmp_path):
    """Promise: --properties gives the answer of PairPredictor with the same texts."""
    given = ChainOfThought(properties=True, teacher_force_properties=True)
    build(tiny_config(cot=given), pairs("solvation")).save_pretrained(tmp_path / "export")
    texts = tmp_path / "texts.csv"
    texts.write_text("smiles,text\nOCC,an alcohol of two carbons\nO,water itself\n")
    (tmp_path / "asked.csv").write_text("a,b\nCCO,O\n")
    command = ("--csv", str(tmp_path / "asked.csv"))
    answers = []
    for more in (("--properties", str(texts)), ()):
        assert ask(str(tmp_path / "export"), *command, *more) == 0
        (line,) = csv.DictReader((tmp_path / "asked.answers.csv").open())
        answers.append(float(line["value"]))
    predictor = PairPredictor.from_pretrained(tmp_path / "export")
    (expected,) = predictor.predict([("CCO", "O")], properties=PropertyTexts.from_csv(texts))
    assert answers[0] == expected.value
    assert answers[0] != answers[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [("smiles,text\nCCO,alcohol\n", "reads no property texts"), (None, "texts.csv is not a file")],
    ids=["model-without-texts", "no-file"],
)
def test_texts_that_cannot_be_used_are_refused(exported, tmp_path, capsys, content, message):
    """Promise: an option is honoured or it is an error."""
    file = tmp_path / "texts.csv"
    if content:
        file.write_text(content)
    assert ask(exported, "CCO", "O", "--properties", str(file)) == 2
    assert message in capsys.readouterr().err
