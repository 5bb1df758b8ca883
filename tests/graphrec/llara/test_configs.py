"""Shipped configurations of LLaRA: a tiny twin of each, and what their headers promise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_language import NUM_ITEMS, listed_data, random_llama

from graphrec.cli import main
from graphrec.configuration import chosen_model, fit_parser, model_config

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "graphrec"
NAMES = sorted(path.stem for path in CONFIGS.glob("llara_*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_tiny_twin(name: str, tmp_path: Path) -> None:
    data, run = listed_data(tmp_path / "data", rows=6, empty=1), tmp_path / "run"
    options = [
        f"--config={CONFIGS / name}.yaml",
        f"--data.folder={data.folder}",
        f"--out={run}",
        "--model.sources=[cooccurrence]",
        "--model.vector_width=8",
        "--model.planned_epochs=1",
        "--model.batch_size=64",
        "--trainer.max_epochs=1",
        "--trainer.accelerator=cpu",
    ]
    if name.endswith("7b"):
        llama = random_llama(tmp_path / "llama", [f"Item {n}" for n in range(NUM_ITEMS)])
        options += [f"--model.pretrained={llama}", "--model.random_init=true", "--model.num_layers=1"]
        options += ["--model.num_candidates=4", "--model.length=3"]
    else:
        options += ["--model.width=16", "--trainer.validate_every=1"]
    assert main(["fit", *options]) == 0
    assert json.loads((run / "test" / "results.json").read_text())["metrics"]
    found = json.loads((run / "test" / "answers" / "report.json").read_text())
    assert found["answers"]["constrained, strict"]["ValidRatio"]["value"] == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_the_header_says_how_to_run_it(name: str) -> None:
    text = (CONFIGS / f"{name}.yaml").read_text()
    assert f"graphrec fit --config configs/graphrec/{name}.yaml --seed_everything 0" in text
    assert f"out: runs/graphrec/{name}\n" in text


@pytest.mark.parametrize("name", NAMES)
def test_the_run_is_as_long_as_it_is_planned(name: str) -> None:
    arguments = [f"--config={CONFIGS / name}.yaml"]
    options = fit_parser(*chosen_model(arguments)).parse_args(arguments)
    assert model_config(options).planned_epochs == options.trainer.max_epochs


def test_every_arm_has_a_configuration() -> None:
    arms = {"llara_lastfm", "llara_lastfm_text", "llara_lastfm_token", "llara_lastfm_states"}
    assert arms | {"llara_movielens", "llara_llama2_7b"} <= set(NAMES)
