"""A training run that can be compared with itself over several processes: double precision, weights kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning
import torch
from tiny_pairs import data, module, trainer

from moltc.model import MolTCConfig
from moltc.module import PairModule
from moltc.training import AtomicCheckpointIO


class DoubleModule(PairModule):
    """Trains in float64: Adam's first steps are the signs of gradients, which rounding must not decide."""

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.double()


class Losses(lightning.Callback):
    """Keeps what is logged at each step, and validation scores."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self.validations: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.steps.append({k: float(v) for k, v in trainer.logged_metrics.items() if "train/" in k})

    def on_validation_end(self, trainer: Any, *_: Any) -> None:
        found = {k: float(v) for k, v in trainer.callback_metrics.items() if "val/" in k}
        self.validations.append({k: v for k, v in found.items() if v == v})


def fit_and_keep(
    config: MolTCConfig, folder: Path, out: Path, options: dict[str, Any], settings: dict[str, Any]
) -> int:
    """Train for two epochs; the first process writes losses.json and weights.pt to ``out``.

    ``options`` are the trainer's, ``settings`` the module's and, behind "data", the data module's.
    """
    settings = dict(settings)
    pairs = data(folder, **settings.pop("data", {}))
    template = module(config, **settings)
    learner = DoubleModule(**{k: getattr(template.config, k) for k in PARTS}, **settings)
    losses = Losses()
    runner = trainer(
        out, max_epochs=2, callbacks=[losses], plugins=[AtomicCheckpointIO()], gradient_clip_val=1.0, **options
    )
    runner.fit(learner, datamodule=pairs)
    if runner.is_global_zero:
        out.mkdir(parents=True, exist_ok=True)
        found = {"steps": losses.steps, "validations": losses.validations}
        (out / "losses.json").write_text(json.dumps(found))
        torch.save(learner.moltc.state_dict(), out / "weights.pt")
    return 0


PARTS = ("language_model", "towers", "cot", "prompt", "head", "decoding")
