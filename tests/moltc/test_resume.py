"""A run stopped anywhere goes on as if nothing had happened; no half-written file passes for a whole one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from tiny_pairs import StoppedError, arguments, callback

from moltc.backbone.checkpoint import CheckpointError
from moltc.lightning_cli import run
from moltc.training import AtomicCheckpointIO, LastCheckpoint

EPOCHS, STEPS_PER_EPOCH = 3, 4
STEPS = EPOCHS * STEPS_PER_EPOCH
SCORE = {"solvation": "val/rmse", "ddi": "val/auc"}
SUPPORT = Path(__file__).parents[1] / "support"


def options(folder: Path, root: Path, **more: object) -> list[str]:
    """Arguments of ``moltc fit``, with every source of noise that training has."""
    noise = {"data__label_noise": 0.1, "model__language_model__tiny__dropout": 0.1}
    return arguments("fit", folder, root, trainer__max_epochs=EPOCHS, **noise, **more)


def log(root: Path, version: int, column: str) -> dict[int, float]:
    """Step -> value of a column of metrics.csv."""
    frame = pl.read_csv(root / f"logs/version_{version}/metrics.csv", infer_schema_length=None)
    return dict(frame.filter(pl.col(column).is_not_null()).select("step", column).iter_rows())


def assert_same_run(broken: Path, whole: Path, family: str, first: int, *, killed: bool = False) -> None:
    """``broken``, resumed from step ``first``, is ``whole`` to the last bit, its best model included.

    A killed process may lack one row of its log: that of the step whose checkpoint was just written.
    """
    expected, resumed = log(whole, 0, "train/loss"), log(broken, 1, "train/loss")
    assert list(resumed) == list(range(first, STEPS))
    assert resumed == {step: expected[step] for step in resumed}
    before = {step: loss for step, loss in log(broken, 0, "train/loss").items() if step < first}
    complete = range(first - 1 if killed and first - 1 not in before else first)
    assert before == {step: expected[step] for step in complete}

    scores = log(whole, 0, SCORE[family])
    epoch_ends = [step for step in scores if step >= first]
    assert log(broken, 1, SCORE[family]) == {step: scores[step] for step in epoch_ends}

    ends = [torch.load(root / "checkpoints/last.ckpt", weights_only=True) for root in (whole, broken)]
    assert [end["global_step"] for end in ends] == [STEPS, STEPS]
    assert ends[0]["state_dict"].keys() == ends[1]["state_dict"].keys()
    for name, tensor in ends[0]["state_dict"].items():
        assert torch.equal(ends[1]["state_dict"][name], tensor), name
    models = [(root / "export/model.safetensors").read_bytes() for root in (whole, broken)]
    assert models[0] == models[1], "the best weights differ"


@pytest.fixture(scope="module")
def uninterrupted(pairs_folder, tmp_path_factory) -> Callable[[str], Path]:
    """Folder of a run that nothing stopped."""
    done: dict[str, Path] = {}

    def root(family: str) -> Path:
        if family not in done:
            done[family] = tmp_path_factory.mktemp("whole")
            assert run("fit", options(pairs_folder(family), done[family])) == 0
        return done[family]

    return root


@pytest.mark.parametrize(
    ("family", "every", "stop", "first"),
    [
        pytest.param("solvation", 3, 7, 6, id="mid-epoch"),
        pytest.param("solvation", 4, 9, 8, id="step-count-meets-epoch-end"),
        pytest.param("solvation", 0, 4, 4, id="first-step-of-an-epoch"),
        pytest.param("ddi", 3, 8, 8, id="exchanged-pairs-epoch-end"),
        pytest.param("ddi", 1, 7, 7, id="exchanged-pairs-mid-epoch"),
    ],
)
def test_resumed_run_repeats_the_uninterrupted_one(
    pairs_folder, uninterrupted, tmp_path, family, every, stop, first
):
    """Promise: stop and resume change nothing, wherever in the epoch the run stopped."""
    folder, saved = pairs_folder(family), tmp_path / "checkpoints/last.ckpt"
    crash = options(
        folder, tmp_path, checkpoint_every=every, trainer__callbacks=callback("StopAt", step=stop)
    )
    with pytest.raises(StoppedError):
        run("fit", crash)
    assert torch.load(saved, weights_only=True)["global_step"] == first
    assert run("fit", options(folder, tmp_path, checkpoint_every=every, ckpt_path=saved)) == 0
    assert_same_run(tmp_path, uninterrupted(family), family, first)


def test_options_that_came_later_do_not_stop_a_run(pairs_folder, tmp_path):
    """Promise: what a checkpoint does not know was at its default when it was written."""
    folder, saved = pairs_folder("ddi"), tmp_path / "checkpoints/last.ckpt"
    with pytest.raises(StoppedError):
        run(
            "fit",
            options(folder, tmp_path, checkpoint_every=1, trainer__callbacks=callback("StopAt", step=2)),
        )
    checkpoint = torch.load(saved, weights_only=True)
    del checkpoint["moltc"]["settings"]["model.head.neighbours"]
    torch.save(checkpoint, saved)
    assert run("fit", options(folder, tmp_path, checkpoint_every=1, ckpt_path=saved)) == 0


VOTES = {
    "model__head__weight": 1.0,
    "model__head__pair_tokens": 1,
    "model__head__pair_tokens_see_output": True,
    "model__head__neighbours": 10.0,
}


def test_a_run_with_votes_is_resumed_and_tested_again(pairs_folder, tmp_path):
    """Promise: the pairs that vote are part of a checkpoint."""
    folder, saved = pairs_folder("ddi"), tmp_path / "checkpoints/last.ckpt"
    stopped = callback("StopAt", step=6)
    with pytest.raises(StoppedError):
        run("fit", options(folder, tmp_path, checkpoint_every=1, trainer__callbacks=stopped, **VOTES))
    assert run("fit", options(folder, tmp_path, checkpoint_every=1, ckpt_path=saved, **VOTES)) == 0
    (best,) = (tmp_path / "checkpoints").glob("best*.ckpt")
    again = arguments(
        "test", folder, tmp_path / "again", ckpt_path=best, fingerprint_baselines=False, **VOTES
    )
    assert run("test", again) == 0
    first, second = (
        pl.read_parquet(root / "test/predictions.parquet") for root in (tmp_path, tmp_path / "again")
    )
    assert first.equals(second)


def test_killed_process_resumes(pairs_folder, uninterrupted, tmp_path):
    """Promise: SIGKILL at a random moment loses nothing but the steps since the last checkpoint."""
    folder, saved = pairs_folder("solvation"), tmp_path / "checkpoints/last.ckpt"
    slow = callback("Slow", seconds=0.1)
    command = options(folder, tmp_path, checkpoint_every=1, trainer__callbacks=slow)
    process = subprocess.Popen(
        [sys.executable, "-m", "moltc.cli", *command],
        env=os.environ | {"PYTHONPATH": str(SUPPORT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while not saved.exists():
            assert process.poll() is None, "the run ended by itself"
            assert time.monotonic() < deadline, "no checkpoint after two minutes"
            time.sleep(0.01)
        time.sleep(random.uniform(0.0, 0.8))
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    first = torch.load(saved, weights_only=True)["global_step"]
    assert run("fit", options(folder, tmp_path, checkpoint_every=1, ckpt_path=saved)) == 0
    assert_same_run(tmp_path, uninterrupted("solvation"), "solvation", first, killed=True)


# -- files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["write", "sync", "rename"])
def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch, step):
    """Promise: a half-written file is never taken for a whole one, wherever writing stopped."""
    files, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    files.save_checkpoint({"step": 1}, path)

    def torn(*arguments):
        if step == "write":
            arguments[1].write(b"half")
        raise OSError("disk full")

    place, name = {"write": (torch, "save"), "sync": (os, "fsync"), "rename": (os, "replace")}[step]
    monkeypatch.setattr(place, name, torn)
    with pytest.raises(OSError, match="disk full"):
        files.save_checkpoint({"step": 2}, path)
    assert files.load_checkpoint(path) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99], ids=["empty", "head-only", "half", "tail-cut"])
def test_truncated_checkpoint_is_refused(tmp_path, kept):
    """Promise: a cut file is reported with its name, not read in part."""
    files, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    files.save_checkpoint({"weights": torch.arange(1000)}, path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"last\.ckpt is not a whole checkpoint"):
        files.load_checkpoint(path)


class Harmful:
    """Would run code when unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code ran')",))


@pytest.mark.parametrize("content", ["code", "text"])
def test_checkpoint_that_is_not_plain_is_refused(tmp_path, content):
    """Promise: nothing on a load path can run code; a foreign file is an error that names it."""
    path = tmp_path / "last.ckpt"
    if content == "code":
        torch.save({"state": Harmful()}, path)
    else:
        path.write_text("not a checkpoint\n")
    with pytest.raises(CheckpointError, match=r"last\.ckpt is not a whole checkpoint"):
        AtomicCheckpointIO().load_checkpoint(path)


def test_missing_checkpoint_says_where_to_look(tmp_path):
    with pytest.raises(CheckpointError, match="there is no checkpoint .*nowhere"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "nowhere.ckpt")


def test_unused_options_are_refused(tmp_path):
    """Promise: an option is honoured or it is an error."""
    with pytest.raises(ValueError, match="storage_options"):
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "a.ckpt", storage_options={"x": 1})
    with pytest.raises(ValueError, match="checkpoint_every"):
        LastCheckpoint(tmp_path / "last.ckpt", every=-1)
