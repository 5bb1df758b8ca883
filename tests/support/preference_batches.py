"""Random batches of preferences for tests of losses."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from align.preferences import Preferences


def random_batch(
    rows: int = 6,
    rejected: int = 1,
    *,
    seed: int = 0,
    ragged: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Preferences:
    """Log-probabilities of some tens of nats whose reference differs by a few, with ids 100, 101, ..."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    lengths = torch.randint(1, 40, (rows, 1 + rejected), generator=generator)
    policy = -lengths * (0.2 + 2 * draw(rows, 1 + rejected))
    reference = policy + 6 * (draw(rows, 1 + rejected) - 0.5)
    mask = None
    if ragged:  # at least the chosen and one rejected completion
        counts = 2 + (draw(rows) * rejected).long()
        mask = torch.arange(1 + rejected) < counts[:, None]
    return Preferences(
        policy.to(dtype), lengths, reference.to(dtype), mask, ids=torch.arange(100, 100 + rows)
    )


def uneven_parts() -> list[Preferences]:
    """Two parts of one batch, of different size and width."""
    narrow = random_batch(rows=3, seed=1).with_mask()
    return [random_batch(rows=2, rejected=3, ragged=True), replace(narrow, ids=torch.arange(200, 203))]


def with_gradient(batch: Preferences) -> Preferences:
    """The same numbers, the policy's with a gradient."""
    return replace(batch, policy=batch.policy.clone().requires_grad_())


def policy_gradient(batch: Preferences) -> Tensor:
    """The gradient that reached the policy's sums, ``[B, 1 + K]``."""
    assert batch.policy.grad is not None
    return batch.policy.grad
