"""Losses by name, run on random batches of preferences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from preference_batches import policy_gradient, with_gradient
from torch import Tensor

from align.gap_statistics import GapState
from align.loss_config import PreferenceLossConfig, build_loss
from align.objective import LossOutput, Step
from align.preferences import Preferences

PAIRED = ["dpo", "cdpo", "robust_dpo", "ipo", "kto_pair", "simpo", "cpo", "orpo"]
COUPLED = ["alpha_dpo", "beta_dpo", "dr_dpo"]
EVERY = [*PAIRED, *COUPLED, "sdpo"]
COMBINED: dict[str, dict[str, Any]] = {
    "s-dpo-with-dr": {"method": "sdpo", "reduction": "dr"},
    "simpo-with-gaussian": {"method": "simpo", "selector": "gaussian"},
    "ipo-with-dynamic-beta": {"method": "ipo", "beta_policy": "batch_dynamic"},
    "s-dpo-with-everything": {
        "method": "sdpo",
        "selector": "gaussian",
        "beta_policy": "batch_dynamic",
        "reduction": "dr",
        "margin": "adaptive",
        "gamma": 0.3,
    },
}
EVERY_LOSS = [pytest.param({"method": name}, id=name) for name in EVERY]
EVERY_LOSS += [pytest.param(options, id=name) for name, options in COMBINED.items()]
WARM = GapState(mean=0.4, std=2.0, updates=7, std_updates=7)
STEP = Step(key=(1, 2))


def run(batch: Preferences, state: GapState = WARM, step: Step = STEP, **options: Any) -> LossOutput:
    """A loss by its options, back-propagated."""
    output = build_loss(PreferenceLossConfig(**options))(batch, state, step)
    output.loss.backward()
    return output


def value_and_gradient(batch: Preferences, step: Step = STEP, **options: Any) -> tuple[Tensor, Tensor]:
    batch = with_gradient(batch)
    output = run(batch, step=step, **options)
    return output.loss.detach(), policy_gradient(batch)


def assert_same(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], **tolerance: float) -> None:
    for left, right in zip(one, other, strict=True):
        torch.testing.assert_close(left, right, **({"rtol": 1e-9, "atol": 1e-12} | tolerance))
