"""Two processes compute the gradient of one, to rounding, however each cuts its share into micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from processes import together
from tiny_preferences import batch, moved, policy
from torch import Tensor

from align.accumulation import Gradients
from align.batch import PreferenceBatch
from align.gap_statistics import GapState
from align.loss_config import PreferenceLossConfig, build_loss
from align.objective import LossOutput, Step
from align.policy import Policy
from align.processes import average_gradients, current_ranks
from align.reference import FrozenCopy

pytestmark = pytest.mark.distributed

KEY = (0, 3)
STATE = GapState(mean=0.4, std=0.9, updates=2, std_updates=2)
LOSSES = {
    "alpha-dpo": PreferenceLossConfig(method="alpha_dpo"),
    "beta-dpo": PreferenceLossConfig(method="beta_dpo", keep_ratio=0.5),
    "dr-dpo": PreferenceLossConfig(method="dr_dpo"),
    "s-dpo": PreferenceLossConfig(method="sdpo"),
}
CUTS: dict[str, tuple[Sequence[int], Sequence[int]]] = {
    "one-by-one": ((1, 1, 1, 1), (1, 1, 1, 1)),
    "twos": ((2, 2), (2, 2)),
    "whole-shares": ((4,), (4,)),
    "uneven": ((3, 2), (1, 1, 1)),
}
"""Sizes of the micro-batches of either process; 8 examples in all."""


def model() -> tuple[Policy, FrozenCopy]:
    """A policy in float64 that has moved away from its reference; the same in every process."""
    made = policy().double()
    reference = FrozenCopy(made)
    return moved(made), reference


def examples(made: Policy, method: str) -> PreferenceBatch:
    return batch(made, (2, 4, 3, 2, 6, 2, 3, 2) if method == "sdpo" else (2,) * 8)


def step(name: str, sizes: Sequence[int], start: int) -> tuple[LossOutput, dict[str, Tensor]]:
    """One optimiser step on this process's examples, from ``start`` on, in parts of the given sizes."""
    made, reference = model()
    config = LOSSES[name]
    whole = examples(made, config.method)
    parts = []
    for size in sizes:
        parts.append(whole.take(np.arange(start, start + size), made.pack))
        start += size
    output = Gradients(build_loss(config), made, reference).accumulate(
        parts, STATE, Step(ranks=current_ranks(), key=KEY)
    )
    average_gradients(made.parameters())
    return output, {name: p.grad for name, p in made.named_parameters() if p.grad is not None}


def share(folder: Path) -> int:
    """What one of two processes does: a step for each loss and each cut, told in a file of its own."""
    dist.init_process_group("gloo")
    rank, told = dist.get_rank(), {}
    for name in LOSSES:
        for cut, sizes in CUTS.items():
            output, gradients = step(name, sizes[rank], rank * sum(sizes[0]))
            told[f"{name} {cut}"] = {"loss": output.loss, "state": list(output.state), "gradients": gradients}
    torch.save(told, folder / f"rank{rank}.pt")
    dist.destroy_process_group()
    return 0


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What both processes found."""
    folder = tmp_path_factory.mktemp("ranks")
    together(share, folder, logs=folder / "logs")
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", LOSSES)
def test_two_processes_have_the_gradient_of_one(name: str, cut: str, told: list[dict]) -> None:
    """Promise: loss, statistics and the gradient of every weight are those of the whole batch at once."""
    expected, wanted = step(name, (8,), 0)
    for found in (rank[f"{name} {cut}"] for rank in told):
        torch.testing.assert_close(found["loss"], expected.loss, rtol=1e-9, atol=0)
        assert found["state"] == pytest.approx(list(expected.state), rel=1e-9)
        assert found["gradients"].keys() == wanted.keys()
        scale = max(float(gradient.abs().max()) for gradient in wanted.values())
        assert scale > 0
        for weight, gradient in wanted.items():
            torch.testing.assert_close(
                found["gradients"][weight], gradient, rtol=1e-9, atol=1e-10 * scale, msg=weight
            )
