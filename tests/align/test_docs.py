"""The commands of docs/align.md: each is a run that can be set up, but for its weights and data."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from align.cli import main
from align.lightning_cli import PreferenceCLI
from align.methods import METHODS
from align.study import StudyConfig

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/align.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line, comments=True) for line in re.findall(r"^align .*$", PAGE, re.M)]
FITS = [command[1:] for command in COMMANDS if command[1] == "fit"]
STUDIES = {command[2] for command in COMMANDS if command[1] == "study"}


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Runs that were set up completely and not started."""
    found: list[Any] = []
    monkeypatch.setattr(PreferenceCLI, "_run_subcommand", lambda cli, name: found.append(cli))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    return found


@pytest.mark.parametrize("command", FITS, ids=lambda command: " ".join(command[2:])[:80])
def test_every_run_can_be_set_up(command: list[str], set_up: list[Any]) -> None:
    """Promise: its options exist and go together; what a paper's row changes has reached the run."""
    on_cpu = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    assert main([*command, *on_cpu]) == 0
    (cli,) = set_up
    given = dict(zip(command[3::2], command[4::2], strict=True))
    if "--model.loss.beta" in given and given["--model.loss.beta"] != "null":
        assert cli.model.loss_config.beta == float(given["--model.loss.beta"])
    if "--model.optim.lr" in given:
        assert cli.model.optim.lr == float(given["--model.optim.lr"])
    assert cli.model.language_model_config.name == given.get(
        "--model.language_model.name", cli.model.language_model_config.name
    )


def test_every_study_is_shipped() -> None:
    assert STUDIES
    for path in STUDIES:
        assert StudyConfig.load(ROOT / path).cells()


def test_every_method_is_spoken_of() -> None:
    for method in METHODS:
        if method not in ("sft", "kto_pair"):
            assert f"`{method}`" in PAGE, method
