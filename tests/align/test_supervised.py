"""Fine-tuning as a loss of batches."""

from __future__ import annotations

import pytest
import torch
from preference_batches import policy_gradient, random_batch, with_gradient

from align.loss_config import PreferenceLossConfig, build_loss
from align.losses import sft
from align.objective import Step
from align.ranks import SimulatedRanks


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_sum"])
def test_equals_the_plain_function(reduction: str) -> None:
    batch = random_batch()
    loss = build_loss(PreferenceLossConfig(method="sft", sft_reduction=reduction))
    expected = sft(batch.policy[:, 0], batch.lengths[:, 0], reduction=reduction)
    torch.testing.assert_close(loss(batch).loss, expected)


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_sum"])
def test_parts_and_ranks_give_the_mean_of_the_whole(reduction: str) -> None:
    loss = build_loss(PreferenceLossConfig(method="sft", sft_reduction=reduction))
    alone = with_gradient(random_batch())
    whole = loss(alone).loss
    whole.backward()
    cuts = (slice(0, 1), slice(1, 6))
    parts = [with_gradient(random_batch().rows(rows)) for rows in cuts]
    shares = [loss(part, step=Step(totals=loss.count(alone))).loss for part in parts]
    torch.testing.assert_close(torch.stack(shares).sum(), whole)
    for rank, part in enumerate(parts):
        output = loss(part, step=Step(ranks=SimulatedRanks(parts, rank)))
        torch.testing.assert_close(output.loss, whole)
        output.loss.backward()
    gradient = torch.cat([policy_gradient(part) for part in parts]) / 2
    torch.testing.assert_close(gradient, policy_gradient(alone))


def test_neither_rejected_completions_nor_a_reference_are_read() -> None:
    batch = with_gradient(random_batch(rejected=3))
    loss = build_loss(PreferenceLossConfig(method="sft"))
    loss(batch).loss.backward()
    assert not policy_gradient(batch)[:, 1:].any()
    assert not loss.needs_reference and not loss.couples_batch


def test_a_selection_is_refused() -> None:
    with pytest.raises(ValueError, match="sft selects no examples"):
        build_loss(PreferenceLossConfig(method="sft"))(
            random_batch(), step=Step(selected=torch.ones(6).bool())
        )
