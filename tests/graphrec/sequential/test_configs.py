"""Shipped configurations of sequential recommenders: a tiny twin of each, and what their headers promise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_recommenders import write_walks

from graphrec.cli import main
from graphrec.configuration import chosen_model, fit_parser

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "graphrec"
KINDS = ("sasrec", "gru4rec", "caser", "cl4srec", "lightgcn")
NAMES = sorted(path.stem for kind in KINDS for path in CONFIGS.glob(f"{kind}_*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_tiny_twin(name: str, tmp_path: Path) -> None:
    folder, run = write_walks(tmp_path / "data", repeats=False), tmp_path / "run"
    options = [
        f"--config={CONFIGS / name}.yaml",
        f"--data.folder={folder}",
        f"--out={run}",
        "--model.width=8",
        "--model.batch_size=32",
        "--trainer.max_epochs=1",
        "--trainer.validate_every=1",
    ]
    assert main(["fit", *options]) == 0
    assert json.loads((run / "test" / "results.json").read_text())["metrics"]
    settings = json.loads((run / "export" / "config.json").read_text())["settings"]
    assert settings.get("network", "strong") == ("reference" if name.endswith("_reference") else "strong")


@pytest.mark.parametrize("name", NAMES)
def test_the_header_says_how_to_run_it(name: str) -> None:
    text = (CONFIGS / f"{name}.yaml").read_text()
    assert f"graphrec fit --config configs/graphrec/{name}.yaml --seed_everything 0" in text
    assert f"out: runs/graphrec/{name}\n" in text


BATCHES = {"sasrec_beauty_2min": 177, "sasrec_beauty": 177, "sasrec_ml1m_9min": 192}
"""Batches of an epoch, by the counts of the sets."""


@pytest.mark.parametrize("name", BATCHES)
def test_the_learning_rate_has_fallen_when_training_ends(name: str) -> None:
    arguments = [f"--config={CONFIGS / name}.yaml"]
    options = fit_parser(*chosen_model(arguments)).parse_args(arguments)
    assert options.model.decay_steps == options.trainer.max_epochs * BATCHES[name]
