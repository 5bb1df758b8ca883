"""``align fit | validate | test | predict`` from the command line: what a run leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from offline_runs import offline_runs
from safetensors.torch import load_file
from tiny_preferences import arguments, write_llama, write_records

from align.cli import main
from moltc.backbone.soft_prompt_lm import SoftPromptLM

CONFIGS = sorted((Path(__file__).parents[2] / "configs/align").glob("*.yaml"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_records(tmp_path_factory.mktemp("records") / "pairs.jsonl")


@pytest.fixture(scope="module")
def imitated(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of the tiny model tuned on the chosen replies."""
    root = tmp_path_factory.mktemp("sft")
    assert main(arguments("fit", file, root, model__loss__method="sft")) == 0
    return root


@pytest.fixture(scope="module")
def aligned(file: Path, imitated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of DPO from there."""
    root = tmp_path_factory.mktemp("dpo")
    assert main(arguments("fit", file, root, model__start_from=imitated / "export")) == 0
    return root


def log(root: Path) -> pl.DataFrame:
    return pl.read_csv(root / "logs/version_0/metrics.csv", infer_schema_length=None)


class TestRun:
    def test_supervised_training_comes_first(self, imitated: Path) -> None:
        """Promise: method sft trains the tiny model in place, and exports what alignment starts from."""
        losses = log(imitated)["train/loss"].drop_nulls()
        assert losses[-1] < losses[0] - 0.1
        assert not (imitated / "reference").exists()
        assert not (imitated / "margins").exists()

    def test_alignment_starts_from_the_export(self, aligned: Path, imitated: Path) -> None:
        """Promise: policy and reference are the export; the tokenizer is that of the first stage."""
        first = log(aligned).row(0, named=True)
        assert first["train/loss"] == pytest.approx(0.693147, abs=1e-4)
        assert first["train/kl/chosen"] == pytest.approx(0, abs=1e-4)
        before, after = (SoftPromptLM.from_pretrained(root / "export") for root in (imitated, aligned))
        vocabularies = [m.language_model.tokenizer.get_vocab() for m in (before, after)]
        assert vocabularies[0] == vocabularies[1]

    def test_results_have_intervals(self, aligned: Path) -> None:
        record = json.loads((aligned / "test/results.json").read_text())
        accuracy = record["results"]["rewards/accuracies"]
        assert 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1
        assert {"loss/per_example", "rewards/margins", "log_ratio/accuracies"} <= record["results"].keys()

    def test_page_and_pictures(self, aligned: Path) -> None:
        page = (aligned / "test/report.html").read_text()
        assert "reward accuracy" in page and "Greedy replies" in page
        assert "http" not in page, "the page must stand alone"
        assert page.count("<img") == len(list((aligned / "test").glob("*.png")))
        assert (aligned / "test/margins.png").stat().st_size > 1000

    def test_samples_and_margins_of_each_validation(self, aligned: Path) -> None:
        steps = sorted(int(file.stem[5:]) for file in (aligned / "samples").glob("step-*.jsonl"))
        assert len(steps) == 2
        assert sorted(int(file.stem[5:]) for file in (aligned / "margins").glob("*.png")) == steps
        rows = [json.loads(line) for line in (aligned / f"samples/step-{steps[0]}.jsonl").open()]
        again = [json.loads(line) for line in (aligned / f"samples/step-{steps[1]}.jsonl").open()]
        assert len(rows) == 2
        assert [row["prompt"] for row in rows] == [row["prompt"] for row in again]
        assert all(row["chosen"].strip() for row in rows)

    def test_configuration_is_kept(self, aligned: Path) -> None:
        assert "method: dpo" in (aligned / "logs/version_0/config.yaml").read_text()


class TestLater:
    def test_test_repeats_the_results_of_fit(
        self, aligned: Path, imitated: Path, file: Path, tmp_path
    ) -> None:
        before = json.loads((aligned / "test/results.json").read_text())["results"]
        best = aligned / "checkpoints/best.ckpt"
        options = {"model__start_from": imitated / "export", "ckpt_path": best}
        assert main(arguments("test", file, tmp_path, **options)) == 0
        again = json.loads((tmp_path / "test/results.json").read_text())["results"]
        for name, metric in before.items():
            assert again[name] == pytest.approx(metric, rel=1e-4, abs=1e-5), name

    def test_predict_writes_every_completion(
        self, aligned: Path, imitated: Path, file: Path, tmp_path
    ) -> None:
        best = aligned / "checkpoints/best.ckpt"
        options = {"model__start_from": imitated / "export", "ckpt_path": best}
        assert main(arguments("predict", file, tmp_path, **options)) == 0
        found = pl.read_parquet(tmp_path / "predictions.parquet")
        assert found.columns == ["example_id", "completion", "tokens", "logp", "ref_logp", "reward"]
        assert found.group_by("example_id").len()["len"].unique().to_list() == [2]
        expected = 0.1 * (found["logp"] - found["ref_logp"])
        assert found["reward"].to_list() == pytest.approx(expected.to_list(), rel=1e-4, abs=1e-5)

    def test_score_reads_the_export(self, aligned: Path, file: Path, tmp_path: Path) -> None:
        """Promise: ``align score`` gives the numbers that training saw."""
        options = {"model__start_from": aligned / "export", "model__loss__method": "simpo"}
        assert main(arguments("predict", file, tmp_path, **options)) == 0
        found = pl.read_parquet(tmp_path / "predictions.parquet")
        out = tmp_path / "scores.jsonl"
        command = ["score", "--model", str(aligned / "export"), "--input", str(file), "--out", str(out)]
        assert main(command) == 0
        scored = np.array([logp for line in out.open() for logp in json.loads(line)["logps"]])
        distance = np.abs(scored[:, None] - found["logp"].to_numpy()).min(0)
        assert distance.max() < 1e-3

    def test_validate_needs_weights(self, file: Path, tmp_path: Path, capsys) -> None:
        assert main(arguments("validate", file, tmp_path)) == 2
        assert "--ckpt_path" in capsys.readouterr().err


def test_adapter_is_exported_as_an_adapter(file: Path, tmp_path: Path) -> None:
    """Promise: LoRA from a Hugging Face folder; the export holds the adapter and names its base."""
    llama = write_llama(tmp_path / "llama")
    options = {
        "model__language_model__name": llama,
        "model__language_model__training": "lora",
        "model__language_model__lora__r": 2,
        "trainer__max_epochs": 1,
        "samples": 0,
    }
    assert main(arguments("fit", file, tmp_path / "run", **options)) == 0
    export = tmp_path / "run/export"
    assert [f.name for f in (export / "adapter").iterdir() if f.suffix == ".safetensors"]
    assert (export / "model.safetensors").stat().st_size < 1000
    again = options | {"model__start_from": export, "model__loss__method": "dr_dpo"}
    assert main(arguments("fit", file, tmp_path / "again", **again)) == 0
    before = load_file(export / "adapter/adapter_model.safetensors")
    after = load_file(tmp_path / "again/export/adapter/adapter_model.safetensors")
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_tracked_run_is_kept_offline(file: Path, tmp_path: Path, monkeypatch) -> None:
    """Promise: metrics, samples, margins and results are kept for ``wandb sync``; nothing is sent."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    options = {"tracking": "wandb", "wandb__mode": "offline", "trainer__max_epochs": 1}
    assert main(arguments("fit", file, tmp_path, **options)) == 0
    (found,) = offline_runs(tmp_path)
    assert found.run.project == "align"
    assert found.config["model"]["loss"]["method"] == "dpo"
    for name in ("train/loss", "val/rewards/accuracies", "val/samples", "val/margins"):
        assert found.series(name), name
    assert found.summary["test/rewards/accuracies_low"] <= found.summary["test/rewards/accuracies"]
    assert "model.safetensors" in found.files("model")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_trains(config: Path, tmp_path: Path) -> None:
    """Promise: its tiny twin, the same but for model, data and length, runs."""
    method = yaml.safe_load(config.read_text())["model"]["loss"]["method"]
    kind = "list" if method == "sdpo" else "pair"
    twin = {
        "config": config,
        "model.start_from": "null",
        "model.language_model.name": "tiny",
        "model.language_model.training": "full",
        "model.language_model.tiny.hidden": 32,
        "model.language_model.tiny.vocab_size": 300,
        "data.folder": write_records(tmp_path / "records.jsonl", kind),
        "trainer.default_root_dir": tmp_path / "run",
        "trainer.precision": "32-true",
        "trainer.accelerator": "cpu",
        "trainer.max_steps": 1,
        "trainer.enable_progress_bar": "false",
        "samples": 0,
    }
    assert main(["fit", *(f"--{name}={value}" for name, value in twin.items())]) == 0
    assert (tmp_path / "run/export/config.json").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"model__loss__method": "dop"}, "method", id="unknown-method"),
        pytest.param({"model__loss__alpha": 0.2}, "alpha", id="option-nothing-reads"),
        pytest.param({"trainer__limit_test_batches": 1}, "limit_test_batches", id="part-of-the-test"),
        pytest.param({"trainer__accumulate_grad_batches": 2}, "accumulate_grad_batches", id="accumulation"),
        pytest.param({"model__start_from": "nowhere"}, "nowhere", id="no-export"),
    ],
)
def test_what_cannot_be_honoured_is_one_line(options, message, file: Path, tmp_path: Path, capsys) -> None:
    assert main(arguments("fit", file, tmp_path, **options)) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("align fit: ")
    assert message in said[-1]
