"""The moltc command: a run from table to report, predictions and export."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from tiny_pairs import KINDS, SHARE, SMILES, arguments, write_pairs

from data_prep.cli import main as data_prep
from data_prep.tables import write_parquet
from moltc.cli import main
from moltc.predictor import PairPredictor
from moltc.shards import read_predictions

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
    "solvation": {
        "mean of train",
        "per-solvent mean",
        "MolTC, most probable answer",
        "MolTC, written freely (4 pairs)",
    },
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
def test_predict_needs_no_labels(trained, family, tmp_path, capsys):
    """Promise: pairs of unknown label are answered as the test run answers them."""
    folder = write_pairs(tmp_path / "unlabelled", family)
    file = folder / "pairs.parquet"
    frame, metadata = pl.read_parquet(file), pl.read_parquet_metadata(file)
    unknown = pl.when(pl.col("split") == "test").then(None).otherwise("label").alias("label")
    write_parquet(frame.with_columns(unknown), file, metadata=metadata)
    root = trained(family)
    best = root / "checkpoints/best.ckpt"
    assert main(arguments("predict", folder, tmp_path / "run", ckpt_path=best)) == 0
    found = read_predictions(tmp_path / "run/predictions").collect()
    expected = pl.read_parquet(root / "test/predictions.parquet")
    assert found["pair_id"].equals(expected["pair_id"])
    assert found["truth"].is_nan().all()
    if family == "solvation":
        assert found["text"].equals(expected["text"])
        return
    assert ((found["text"] == "Interaction: yes") == (found["probability"] > 0.5)).all()
    slope, offset = np.polyfit(found["log_odds"], expected["log_odds"], 1)  # calibration is a straight line
    np.testing.assert_allclose(slope * found["log_odds"] + offset, expected["log_odds"], atol=1e-6)
    assert "not calibrated" in capsys.readouterr().out


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


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_untrained_weights_are_never_evaluated(trained, pairs_folder, capsys, command):
    """Promise: without a checkpoint these commands stop with a sentence that names one; nothing changes."""
    root = trained("solvation")
    before = contents(root)
    assert main(arguments(command, pairs_folder("solvation"), root)) == 2
    said = capsys.readouterr().err
    assert "the weights are random: add --ckpt_path" in said
    assert str(root / "checkpoints/best.ckpt") in said
    assert len(said.splitlines()) == 1
    assert contents(root) == before


def contents(root: Path) -> dict[Path, bytes]:
    """Every file of a run but its logs."""
    files = (path for path in root.rglob("*") if path.is_file() and "logs" not in path.parts)
    return {path: path.read_bytes() for path in files}


def test_a_test_leaves_the_export_alone(pairs_folder, tmp_path):
    """Promise: only a fit exports; testing another checkpoint does not change the model that was saved."""
    folder = pairs_folder("solvation")
    assert main(arguments("fit", folder, tmp_path)) == 0
    before = contents(tmp_path / "export")
    last = tmp_path / "checkpoints/last.ckpt"
    state = torch.load(last, weights_only=True)
    state["state_dict"] = {name: value * 0.5 for name, value in state["state_dict"].items()}
    torch.save(state, last)
    assert main(arguments("test", folder, tmp_path, ckpt_path=last)) == 0
    assert contents(tmp_path / "export") == before


def test_seed_decides_everything(pairs_folder, tmp_path):
    """Promise: --seed_everything is the one seed: the same gives the same model, another gives another."""
    models = {}
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        options = {"seed_everything": seed, "trainer__max_epochs": 1}
        assert main(arguments("fit", pairs_folder("ddi"), tmp_path / name, **options)) == 0
        models[name] = load_file(tmp_path / name / "export/model.safetensors")
    assert all(torch.equal(models["first"][key], models["again"][key]) for key in models["first"])
    matrices = [key for key, weight in models["first"].items() if weight.ndim == 2]
    assert not any(torch.equal(models["first"][key], models["other"][key]) for key in matrices)
    for name, seed in (("first", 1), ("other", 2)):
        assert f"seed_everything: {seed}\n" in (tmp_path / name / "logs/version_0/config.yaml").read_text()


@pytest.mark.parametrize(
    "limit", [{"max_epochs": 3}, {"max_epochs": -1, "max_steps": 12}], ids=["epochs", "steps"]
)
def test_validated_in_pretraining_only_the_last_weights_are_exported(pairs_folder, tmp_path, limit):
    """Promise: a language model that was never validated is exported as it was trained, not as it began."""
    options = {f"trainer__{name}": value for name, value in limit.items()} | {
        "trainer__check_val_every_n_epoch": 2,
        "model__head__weight": 1.0,
        "model__optim__pretrain_epochs": 2,
    }
    assert main(arguments("fit", pairs_folder("solvation"), tmp_path, **options)) == 0
    assert not (tmp_path / "checkpoints/best.ckpt").exists()
    exported = load_file(tmp_path / "export/model.safetensors")
    last = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert exported.keys() == {name.removeprefix("model.") for name in last}
    assert all(torch.equal(exported[name.removeprefix("model.")], weight) for name, weight in last.items())
    log = pl.read_csv(tmp_path / "logs/version_0/metrics.csv", infer_schema_length=None)
    assert log["train/nll"].drop_nulls().len() == 4, "the language model was trained in the third epoch"


def test_interrupted_predictions_leave_the_old_ones(trained, pairs_folder, tmp_path, monkeypatch):
    """Promise: the folder of predictions is whole, or the one that was there before."""
    command = arguments(
        "predict",
        pairs_folder("solvation"),
        tmp_path,
        ckpt_path=trained("solvation") / "checkpoints/best.ckpt",
    )
    assert main(command) == 0
    before = read_predictions(tmp_path / "predictions").collect()

    def torn(frame, file, **_):
        Path(file).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", torn)
    assert main(command) == 2
    assert read_predictions(tmp_path / "predictions").collect().equals(before)
    assert not list(tmp_path.glob(".predictions*"))


# -- data of one's own ---------------------------------------------------------------------------------

MOLECULES = list(zip(SMILES, SHARE, KINDS, strict=True))
OWN = {
    "solvation": [
        "Solvent;Compound;dG",
        *(f"{b};{a};{x + y:.2f}" for a, x, _ in MOLECULES for b, y, _ in MOLECULES[:4]),
    ],
    "ddi": [
        "left,right,both",
        *(f"{a[0]},{b[0]},{int(a[1] < b[1])}" for a, b in combinations(MOLECULES, 2)),
    ],
}
COLUMNS = {"solvation": ("Compound", "Solvent", "dG"), "ddi": ("left", "right", "both")}


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unlisted_file_goes_through_without_code(tmp_path, family):
    """Promise: two commands from a foreign table, with bad rows in it, to a model that answers."""
    bad = OWN[family][1].replace("CCO", "C(C", 1)
    (tmp_path / "own.csv").write_text("\n".join([*OWN[family], bad]) + "\n")
    a, b, label = COLUMNS[family]
    build = ["pairs", "--input", str(tmp_path / "own.csv"), "--a", a, "--b", b, "--label", label]
    build += ["--family", family, "--out", str(tmp_path / "data"), "--quiet"]
    assert data_prep([*build, "--fractions", "0.6", "0.2", "0.2"]) == 0
    report = json.loads((tmp_path / "data/report.json").read_text())
    assert report["rows"]["rejected"]["count"] == 1
    assert report["pairs"] == len(OWN[family]) - 1
    assert main(arguments("fit", tmp_path / "data", tmp_path / "run", trainer__max_epochs=1)) == 0
    results = json.loads((tmp_path / "run/test/metrics.json").read_text())
    assert results["title"].startswith("own: ")
    answers = PairPredictor.from_pretrained(tmp_path / "run/export").predict([("CCO", "CC#N"), ("CC#N", "O")])
    assert all(found.valid for found in answers)


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("fit", "validate", "test", "predict", "answer"))
