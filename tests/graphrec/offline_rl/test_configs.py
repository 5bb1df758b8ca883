"""The shipped configurations, a tiny twin of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_sessions import write_sessions

from graphrec.cli import main

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "graphrec"
NAMES = ("supervised", "sqn", "sa2c", "mcrl", "mcrl_bare")


@pytest.mark.parametrize("name", NAMES)
def test_tiny_twin(name: str, tmp_path: Path) -> None:
    data = write_sessions(tmp_path / "data", count=12)
    run = tmp_path / "run"
    options = [
        f"--config={CONFIGS / f'{name}_retailrocket.yaml'}",
        f"--data.folder={data.folder}",
        f"--out={run}",
        "--model.width=8",
        "--trainer.max_epochs=2",
        "--trainer.log_every=1",
    ]
    assert main(["fit", *options]) == 0
    results = json.loads((run / "test" / "results.json").read_text())
    assert {"event click", "event purchase"} <= set(results["metrics"])
    settings = json.loads((run / "export" / "config.json").read_text())["settings"]
    assert settings["method"] == name.removesuffix("_bare")
