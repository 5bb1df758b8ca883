"""Training runs that can be compared with themselves over several processes: float64, weights kept."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from tiny_pairs import StopAt, StoppedError, trainer
from torch.distributed.tensor import DTensor

from moltc.backbone.sharding import whole_state
from moltc.data import PairDataModule
from moltc.model import MolTCConfig
from moltc.module import PairModule
from moltc.training import AtomicCheckpointIO, LastCheckpoint


class DoubleModule(PairModule):
    """Trains in float64: Adam's first steps are the signs of gradients, which rounding must not decide."""

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.double()


class Losses(lightning.Callback):
    """Keeps what is logged at each step, and validation scores that are numbers."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self.validations: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.steps.append({k: float(v) for k, v in trainer.logged_metrics.items() if "train/" in k})

    def on_validation_end(self, trainer: Any, *_: Any) -> None:
        found = {k: float(v) for k, v in trainer.callback_metrics.items() if "val/" in k}
        self.validations.append({k: v for k, v in found.items() if v == v})


def _fit(run: dict[str, Any], out: Path, checkpoint: Path | None, stop: int | None) -> None:
    """One start of a run, from a checkpoint or from the beginning, to its end or to step ``stop``."""
    config: MolTCConfig = run["config"]
    parts = {f.name: getattr(config, f.name) for f in fields(config)}
    learner = DoubleModule(**parts, **run.get("module", {}))
    losses = Losses()
    name = "last.ckpt" if stop is None else "crashed.ckpt"
    callbacks: list[Any] = [losses, LastCheckpoint(out / name, stop or 0)]
    if stop is not None:
        callbacks.append(StopAt(stop))
    runner = trainer(
        out,
        max_epochs=2,
        callbacks=callbacks,
        enable_checkpointing=True,
        plugins=[AtomicCheckpointIO()],
        gradient_clip_val=1.0,
        **run.get("trainer", {}),
    )
    data = PairDataModule(**({"batch_size": 7, "eval_batch_size": 5} | run["data"]))
    try:
        runner.fit(learner, datamodule=data, ckpt_path=checkpoint)
    except StoppedError:
        return
    held = sum((p.to_local() if isinstance(p, DTensor) else p).numel() for p in learner.parameters())
    weights = whole_state(learner, set(learner.stored_names()))  # all processes take part, here and below
    learner.export(out / "export")
    if runner.is_global_zero:
        share = held / sum(p.numel() for p in learner.parameters())
        found = {"steps": losses.steps, "validations": losses.validations, "share": share}
        (out / "losses.json").write_text(json.dumps(found))
        torch.save(weights, out / "weights.pt")


def train(run: dict[str, Any], out: Path, resume: Path | None = None, stop: int | None = None) -> int:
    """Train for two epochs; the first process writes losses.json, weights.pt and export/ to ``out``.

    ``run`` has the ``config`` of the model and the settings of ``module``, ``data`` and ``trainer``. With
    ``stop`` the run ends there as a crash would and is resumed from its last checkpoint, crashed.ckpt.
    """
    out.mkdir(parents=True, exist_ok=True)
    if stop is not None:
        _fit(run, out, resume, stop)
        resume = out / "crashed.ckpt"
    _fit(run, out, resume, None)
    return 0


def assert_same(found: Path, expected: Path, *, first: int = 0) -> None:
    """Losses of the steps from ``first`` on, their validations and the last weights are those of another
    run."""
    one, other = (json.loads((folder / "losses.json").read_text()) for folder in (found, expected))
    assert len(one["steps"]) == len(other["steps"]) - first
    for name in ("steps", "validations"):
        for told, wanted in zip(reversed(one[name]), reversed(other[name]), strict=False):
            assert told == pytest.approx(wanted, rel=1e-6), name  # logged in float32
    weights, wanted = (torch.load(folder / "weights.pt", weights_only=True) for folder in (found, expected))
    assert weights.keys() == wanted.keys()
    for key, tensor in weights.items():
        torch.testing.assert_close(tensor, wanted[key], rtol=1e-6, atol=1e-8, msg=key)
