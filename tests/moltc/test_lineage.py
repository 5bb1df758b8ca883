"""Logs of different runs in one folder stay apart; those of one run stay together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_pairs import arguments

from moltc.lightning_cli import run
from moltc.lineage import Lineage, stored_lineage


@pytest.fixture(scope="module")
def finished(pairs_folder, tmp_path_factory) -> Path:
    """Folder of a run of one epoch."""
    root = tmp_path_factory.mktemp("finished")
    assert run("fit", arguments("fit", pairs_folder("solvation"), root, trainer__max_epochs=1)) == 0
    return root


@pytest.fixture
def used(finished, tmp_path) -> Path:
    """A copy of that folder, to go on in."""
    return Path(shutil.copytree(finished, tmp_path / "used"))


def curves(root: Path) -> list[str]:
    return sorted(plot.name for plot in (root / "test").glob("loss*.png"))


def test_fresh_run_in_a_used_folder_draws_its_own_curve(used, pairs_folder):
    assert run("fit", arguments("fit", pairs_folder("solvation"), used, trainer__max_epochs=1)) == 0
    assert (used / "logs/version_1/metrics.csv").is_file()
    assert curves(used) == ["loss1.png"]
    assert stored_lineage(used / "checkpoints/last.ckpt")["logs"] == ["logs/version_1"]


def test_resumed_run_draws_both_parts_and_a_test_of_it_too(used, pairs_folder, tmp_path):
    """Promise: the curve is that of the weights: every start that made them, and no other."""
    folder = pairs_folder("solvation")
    first = shutil.copy(used / "checkpoints/last.ckpt", used / "first.ckpt")
    assert run("fit", arguments("fit", folder, used, trainer__max_epochs=1)) == 0  # by mistake: version_1
    assert run("fit", arguments("fit", folder, used, trainer__max_epochs=2, ckpt_path=first)) == 0
    assert curves(used) == ["loss1.png", "loss2.png"]
    last = used / "checkpoints/last.ckpt"
    assert stored_lineage(last)["logs"] == ["logs/version_0", "logs/version_2"]
    assert run("test", arguments("test", folder, used, ckpt_path=first)) == 0
    assert curves(used) == ["loss1.png"]


def test_checkpoint_of_another_folder_brings_no_logs(finished, tmp_path):
    assert Lineage(tmp_path, finished / "checkpoints/last.ckpt").logs == []
    assert Lineage(finished, finished / "checkpoints/last.ckpt").logs == ["logs/version_0"]


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint"], ids=["missing", "empty", "text"])
def test_what_is_no_checkpoint_has_no_lineage(tmp_path, content):
    file = tmp_path / "last.ckpt"
    if content is not None:
        file.write_bytes(content)
    assert stored_lineage(file) == {}
