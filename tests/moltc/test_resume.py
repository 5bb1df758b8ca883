"""A run that was stopped anywhere goes on as if nothing had happened, and no half-written file passes for a whole one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import torch
from tiny_pairs import StoppedError, arguments

from moltc.backbone.checkpoint import CheckpointError
from moltc.lightning_cli import run
from moltc.training import AtomicCheckpointIO

EPOCHS, STEPS_PER_EPOCH = 3, 4


def fit(folder: Path, root: Path, **options: object) -> None:
    """Run ``moltc fit`` in this process."""
    assert run("fit", arguments("fit", folder, root, trainer__max_epochs=EPOCHS, **options)) == 0


def log(root: Path, version: int, column: str) -> dict[int, float]:
    """Step -> value of a column of metrics.csv."""
    frame = pl.read_csv(root / f"logs/version_{version}/metrics.csv", infer_schema_length=None)
    return dict(frame.filter(pl.col(column).is_not_null()).select("step", column).iter_rows())


def weights(root: Path) -> dict[str, torch.Tensor]:
    """Trained weights after the last step."""
    state = torch.load(root / "checkpoints/last.ckpt", weights_only=True)
    assert state["global_step"] == EPOCHS * STEPS_PER_EPOCH
    return state["state_dict"]


@pytest.mark.parametrize("family", ["solvation", "ddi"])
@pytest.mark.parametrize(
    ("every", "stop"),
    [(3, 7), (4, 9), (0, 7), (0, 4)],
    ids=["mid-epoch", "last-batch-of-an-epoch", "epoch-end", "first-step-of-an-epoch"],
)
def test_resumed_run_repeats_the_uninterrupted_one(pairs_folder, tmp_path, family, every, stop):
    """Promise: stop and resume change nothing, step by step and to the last bit (also exchanged rows of ddi)."""
    folder, whole, broken = pairs_folder(family), tmp_path / "whole", tmp_path / "broken"
    fit(folder, whole, checkpoint_every=every)
    with pytest.raises(StoppedError):
        callback = {"trainer__callbacks": f'[{{"class_path": "tiny_pairs.StopAt", "init_args": {{"step": {stop}}}}}]'}
        fit(folder, broken, checkpoint_every=every, **callback)
    fit(folder, broken, checkpoint_every=every, ckpt_path=broken / "checkpoints/last.ckpt")

    expected, resumed = log(whole, 0, "train/loss"), log(broken, 1, "train/loss")
    first = stop - stop % (every or STEPS_PER_EPOCH)
    assert list(resumed) == list(range(first, EPOCHS * STEPS_PER_EPOCH))
    assert resumed == {step: expected[step] for step in resumed}
    score = "val/rmse" if family == "solvation" else "val/auc"
    validated = log(broken, 0, score) | log(broken, 1, score)
    assert validated == log(whole, 0, score)
    for name, tensor in weights(whole).items():
        assert torch.equal(weights(broken)[name], tensor), name
    models = [(root / "export/model.safetensors").read_bytes() for root in (whole, broken)]
    assert models[0] == models[1], "the best weights differ"
