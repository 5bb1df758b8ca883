"""A run stopped anywhere goes on as if nothing had happened: weights, statistics, sampler, reference."""

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
from tiny_preferences import StoppedError, arguments, callback, write_records

from align.lightning_cli import run

EPOCHS, STEPS_PER_EPOCH = 2, 5
STEPS = EPOCHS * STEPS_PER_EPOCH
SUPPORT = Path(__file__).parents[1] / "support"
RUNS = {
    "beta-dpo": ("pair", {"model__loss__method": "beta_dpo", "model__optim__micro_batch": 3}),
    "alpha-dpo-redrawn": (
        "list",
        {"model__loss__method": "alpha_dpo", "data__negatives": 1, "data__draw": "epoch"},
    ),
    "kto": ("unpaired", {"model__loss__method": "kto"}),
    "sft-with-dropout": (
        "pair",
        {"model__loss__method": "sft", "model__language_model__tiny__dropout": 0.2},
    ),
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("records")
    return lambda kind: write_records(folder / f"{kind}.jsonl", kind)


def options(name: str, file: Callable[[str], Path], root: Path, **more: object) -> list[str]:
    kind, own = RUNS[name]
    return arguments("fit", file(kind), root, trainer__max_epochs=EPOCHS, samples=0, **own, **more)


@pytest.fixture(scope="module")
def uninterrupted(file, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a run that nothing stopped."""
    done: dict[str, Path] = {}

    def root(name: str) -> Path:
        if name not in done:
            done[name] = tmp_path_factory.mktemp("whole")
            assert run("fit", options(name, file, done[name])) == 0
        return done[name]

    return root


def log(root: Path, version: int, column: str) -> dict[int, float]:
    """Step -> value of a column of metrics.csv."""
    frame = pl.read_csv(root / f"logs/version_{version}/metrics.csv", infer_schema_length=None)
    return dict(frame.filter(pl.col(column).is_not_null()).select("step", column).iter_rows())


def assert_same_run(broken: Path, whole: Path, first: int) -> None:
    """``broken``, resumed from step ``first``, is ``whole`` to the last bit."""
    expected, resumed = log(whole, 0, "train/loss"), log(broken, 1, "train/loss")
    assert list(resumed) == list(range(first, STEPS))
    assert resumed == {step: expected[step] for step in resumed}
    scores = log(whole, 0, "val/loss")
    assert log(broken, 1, "val/loss") == {step: scores[step] for step in scores if step >= first}

    ends = [torch.load(root / "checkpoints/last.ckpt", weights_only=True) for root in (whole, broken)]
    assert [end["global_step"] for end in ends] == [STEPS, STEPS]
    assert ends[0]["align"] == ends[1]["align"]
    assert ends[0]["state_dict"].keys() == ends[1]["state_dict"].keys()
    for name, tensor in ends[0]["state_dict"].items():
        assert torch.equal(ends[1]["state_dict"][name], tensor), name
    exports = [(root / "export/model.safetensors").read_bytes() for root in (whole, broken)]
    assert exports[0] == exports[1], "the best weights differ"


@pytest.mark.parametrize(
    ("name", "every", "stop", "first"),
    [
        pytest.param("beta-dpo", 3, 7, 6, id="statistics-mid-epoch"),
        pytest.param("alpha-dpo-redrawn", 0, 5, 5, id="redrawn-negatives-epoch-end"),
        pytest.param("kto", 2, 9, 8, id="mismatches-in-a-growing-cache"),
        pytest.param("sft-with-dropout", 3, 8, 6, id="dropout"),
    ],
)
def test_resumed_run_repeats_the_uninterrupted_one(file, uninterrupted, tmp_path, name, every, stop, first):
    """Promise: stop and resume change nothing, whatever the method keeps between steps."""
    saved = tmp_path / "checkpoints/last.ckpt"
    crash = {"checkpoint_every": every, "trainer__callbacks": callback("StopAt", step=stop)}
    with pytest.raises(StoppedError):
        run("fit", options(name, file, tmp_path, **crash))
    assert torch.load(saved, weights_only=True)["global_step"] == first
    assert run("fit", options(name, file, tmp_path, checkpoint_every=every, ckpt_path=saved)) == 0
    assert_same_run(tmp_path, uninterrupted(name), first)


def test_killed_process_resumes(file, uninterrupted, tmp_path):
    """Promise: SIGKILL at a random moment loses nothing but the steps since the last checkpoint, and the
    reference is read from disk."""
    name, saved = "beta-dpo", tmp_path / "checkpoints/last.ckpt"
    slow = callback("Slow", seconds=0.1)
    command = options(name, file, tmp_path, checkpoint_every=1, trainer__callbacks=slow)
    process = subprocess.Popen(
        [sys.executable, "-m", "align.cli", *command],
        env=os.environ | {"PYTHONPATH": str(SUPPORT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 240
        while not saved.exists():
            assert process.poll() is None, "the run ended by itself"
            assert time.monotonic() < deadline, "no checkpoint after four minutes"
            time.sleep(0.01)
        time.sleep(random.uniform(0.0, 0.6))
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    reference = tmp_path / "reference/logps.safetensors"
    written, first = reference.stat().st_mtime_ns, torch.load(saved, weights_only=True)["global_step"]
    assert run("fit", options(name, file, tmp_path, checkpoint_every=1, ckpt_path=saved)) == 0
    assert_same_run(tmp_path, uninterrupted(name), first)
    assert reference.stat().st_mtime_ns == written, "the reference was computed again"
