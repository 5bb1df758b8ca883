"""The moltc command: a run from table to report and export, and questions to an exported model."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tiny_pairs import arguments, build, tiny_config, write_pairs

from data_prep.tables import write_parquet
from moltc.calibration import SplitConformal
from moltc.cli import main
from moltc.predictor import PairPredictor

FAMILIES = ("solvation", "ddi")
PLOTS = {
    "solvation": ["parity.png", "residuals.png", "loss1.png"],
    "ddi": ["roc.png", "calibration.png", "loss1.png"],
}
METRICS = {
    "solvation": {"mae", "rmse", "r2", "pearson", "interval_hit", "invalid_rate"},
    "ddi": {"accuracy", "auc_roc", "order_disagreement", "invalid_rate"},
}
BASELINES = {
    "solvation": {"mean of train", "per-solvent mean", "MolTC, most probable answer"},
    "ddi": {"MolTC, uncalibrated"},
}


@pytest.fixture(scope="module")
def trained(pairs_folder, tmp_path_factory):
    """Folder of a short run of a family."""
    done: dict[str, Path] = {}

    def root(family: str) -> Path:
        if family not in done:
            done[family] = tmp_path_factory.mktemp(family)
            assert main(arguments("fit", pairs_folder(family), done[family])) == 0
        return done[family]

    return root


@pytest.mark.parametrize("family", FAMILIES)
def test_fit_leaves_report_metrics_plots_predictions_and_export(trained, family):
    """Promise: one command from a table to metrics beside naive baselines, plots, a page and a model."""
    root = trained(family)
    for name in ["report.html", "metrics.json", "predictions.parquet", *PLOTS[family]]:
        assert (root / "test" / name).stat().st_size > 0, name
    for name in ["checkpoints/best.ckpt", "checkpoints/last.ckpt", "logs/version_0/config.yaml"]:
        assert (root / name).is_file(), name
    results = json.loads((root / "test/metrics.json").read_text())
    assert METRICS[family] <= results["metrics"].keys()
    assert BASELINES[family] <= results["baselines"].keys()
    page = (root / "test/report.html").read_text()
    assert "tiny-" in page
    assert page.count("<img") >= 3
    frame = pl.read_parquet(root / "test/predictions.parquet")
    assert len(frame) == 8
    assert frame["truth"].null_count() == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_invalid_rate_is_zero(trained, family):
    """Promise: no invalid answer under the automaton, and the rate is reported."""
    results = json.loads((trained(family) / "test/metrics.json").read_text())
    assert results["metrics"]["invalid_rate"]["value"] == 0.0
    if family == "solvation":
        assert results["metrics"]["self_consistency"]["value"] == 1.0


@pytest.mark.parametrize("family", FAMILIES)
def test_export_answers_as_the_test_run_did(trained, family):
    """Promise: the exported model is the one that was tested."""
    root = trained(family)
    frame = pl.read_parquet(root / "test/predictions.parquet")
    pairs = list(zip(frame["smiles_a"], frame["smiles_b"], strict=True))
    found = PairPredictor.from_pretrained(root / "export").predict(pairs)
    if family == "solvation":
        assert [answered.value for answered in found] == pytest.approx(frame["value"].to_list(), abs=1e-5)
    else:
        probabilities = [answered.probability for answered in found]
        assert probabilities == pytest.approx(frame["probability"].to_list(), abs=1e-5)


def test_tested_again_the_results_are_the_same(trained, pairs_folder, tmp_path):
    """Promise: evaluation is deterministic and needs only data, configuration and checkpoint."""
    root = trained("solvation")
    best = root / "checkpoints/best.ckpt"
    assert main(arguments("test", pairs_folder("solvation"), tmp_path, ckpt_path=best)) == 0
    first, second = ((folder / "test/metrics.json").read_text() for folder in (root, tmp_path))
    assert first == second


def test_saved_configuration_starts_the_same_run(trained, tmp_path):
    """Promise: every option is in the saved YAML, and the YAML alone repeats the run."""
    root = trained("solvation")
    config = root / "logs/version_0/config.yaml"
    again = ["fit", "--config", str(config), f"--trainer.default_root_dir={tmp_path}"]
    assert main(again) == 0
    losses = [pl.read_csv(folder / "logs/version_0/metrics.csv")["train/loss"] for folder in (root, tmp_path)]
    assert losses[0].equals(losses[1])


def test_validate_runs(trained, pairs_folder, tmp_path, capsys):
    best = trained("ddi") / "checkpoints/best.ckpt"
    assert main(arguments("validate", pairs_folder("ddi"), tmp_path, ckpt_path=best)) == 0
    assert "val/auc" in capsys.readouterr().out


@pytest.mark.parametrize("family", FAMILIES)
def test_predict_needs_no_labels(trained, family, tmp_path):
    """Promise: pairs of unknown label are answered as the test run answers them."""
    folder = write_pairs(tmp_path / "unlabelled", family)
    file = folder / "pairs.parquet"
    frame, metadata = pl.read_parquet(file), pl.read_parquet_metadata(file)
    unknown = pl.when(pl.col("split") == "test").then(None).otherwise("label").alias("label")
    write_parquet(frame.with_columns(unknown), file, metadata=metadata)
    root = trained(family)
    best = root / "checkpoints/best.ckpt"
    assert main(arguments("predict", folder, tmp_path / "run", ckpt_path=best)) == 0
    found = pl.read_parquet(tmp_path / "run/predictions.parquet")
    expected = pl.read_parquet(root / "test/predictions.parquet")
    assert found["text"].to_list() == expected["text"].to_list()
    assert found["truth"].is_nan().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data__folder": "nowhere"}, r"nowhere holds no pairs\.parquet"),
        ({"data__batch_size": 0}, "batch_size must be at least 1"),
        ({"data__max_train_pairs": -1}, "max_train_pairs must be at least 1"),
        ({"model__optim__pretrain_epochs": 1}, "head.weight"),
        ({"model__head__pair_tokens": 2}, "head.weight"),
        ({"model__towers__sharing": "adapter", "model__towers__adapter_rank": 0}, "adapter_rank"),
        ({"ckpt_path": "nowhere.ckpt"}, "nowhere.ckpt"),
        ({"trainer__max_epochs": -1}, "max_epochs or trainer.max_steps"),
        ({"checkpoint_every": -5}, "checkpoint_every"),
        ({"trainer__accelerator": "cuda", "trainer__devices": 64}, "cuda|CUDA|GPU|gpu"),
    ],
    ids=[
        "no-table",
        "batch-size",
        "training-pairs",
        "head-missing",
        "pair-tokens",
        "sharing",
        "no-checkpoint",
        "no-end",
        "checkpoint-interval",
        "no-device",
    ],
)
def test_wrong_options_end_in_one_sentence(pairs_folder, tmp_path, capsys, options, message):
    """Promise: a user's mistake gets exit status 2 and a sentence that says what to change, no traceback."""
    command = arguments("fit", pairs_folder("solvation"), tmp_path, **options)
    try:
        status = main(command)
    except SystemExit as stopped:  # options that the parser refuses
        status = stopped.code
    assert status == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert re.search(message, said), said


def test_checkpoint_of_other_data_is_refused(trained, pairs_folder, tmp_path, capsys):
    """Promise: a checkpoint is never continued on another task."""
    last = trained("ddi") / "checkpoints/last.ckpt"
    assert main(arguments("fit", pairs_folder("solvation"), tmp_path, ckpt_path=last)) == 2
    assert "checkpoint" in capsys.readouterr().err


# -- moltc answer --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(pairs, tmp_path_factory) -> str:
    """Folder of an untrained solvation model."""
    folder = tmp_path_factory.mktemp("exported") / "export"
    model = build(tiny_config(), pairs("solvation"))
    conformal = SplitConformal.fit(np.zeros(20), np.linspace(0.1, 2.0, 20))
    model.calibration = {"conformal": conformal.to_dict()}
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


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("fit", "validate", "test", "predict", "answer"))
