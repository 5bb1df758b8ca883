"""KTO as a loss of batches: reference point, weights, processes, micro-batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from preference_batches import policy_gradient, random_batch, with_gradient

from align.loss_config import PreferenceLossConfig, build_loss
from align.objective import Step
from align.preferences import Preferences
from align.ranks import SimulatedRanks
from align.two_pass import plan


def unpaired(rows: int = 8) -> Preferences:
    return replace(random_batch(rows), desirable=torch.arange(rows) % 3 > 0)


def kto(**options: Any) -> Any:
    return build_loss(PreferenceLossConfig(method="kto", **options))


def test_gradient_follows_the_mark_and_leaves_the_mismatched_alone() -> None:
    batch = with_gradient(unpaired())
    kto()(batch).loss.backward()
    gradient = policy_gradient(batch)
    assert batch.desirable is not None
    assert (gradient[batch.desirable, 0] < 0).all() and (gradient[~batch.desirable, 0] > 0).all()
    assert not gradient[:, 1].any()


def test_gradient_by_formula() -> None:
    """``-lambda beta s sigmoid(u) sigmoid(-u) / N``."""
    batch = with_gradient(unpaired())
    output = kto(beta=0.3, undesirable_weight=1.5)(batch)
    output.loss.backward()
    assert batch.desirable is not None
    sign = torch.where(batch.desirable, 1.0, -1.0).double()
    weight = torch.where(batch.desirable, 1.0, 1.5).double()
    u = 0.3 * sign * (batch.log_ratios()[:, 0] - output.gauges["kl/reference_point"])
    expected = -weight * 0.3 * sign * torch.sigmoid(u) * torch.sigmoid(-u) / 8
    torch.testing.assert_close(policy_gradient(batch)[:, 0], expected.detach())


@pytest.mark.parametrize("reduction", ["mean", "dr"])
def test_two_ranks_and_micro_batches_equal_one(reduction: str) -> None:
    loss, batch = kto(reduction=reduction), unpaired()
    alone = with_gradient(batch)
    whole = loss(alone)
    whole.loss.backward()
    parts = [with_gradient(batch.rows(slice(0, 3))), with_gradient(batch.rows(slice(3, 8)))]
    for rank, part in enumerate(parts):
        output = loss(part, step=Step(ranks=SimulatedRanks(parts, rank)))
        torch.testing.assert_close(output.loss, whole.loss)
        output.loss.backward()
    shared = torch.cat([policy_gradient(part) for part in parts]) / 2
    torch.testing.assert_close(shared, policy_gradient(alone))
    torch.testing.assert_close(plan(loss, batch).gradients, policy_gradient(alone))


def test_an_empty_completion_weighs_nothing() -> None:
    batch = unpaired(4)
    lengths = batch.lengths.clone()
    lengths[0, 0] = 0
    empty = with_gradient(replace(batch, lengths=lengths))
    output = kto()(empty)
    output.loss.backward()
    assert not output.kept[0] and not policy_gradient(empty)[0].any()
    torch.testing.assert_close(output.loss.detach(), output.per_example[1:].mean())
    assert len(output.chosen_rewards) + len(output.rejected_rewards) == 3


def test_unmarked_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="no marks"):
        kto()(random_batch())


def test_rows_without_a_mismatched_completion_are_refused() -> None:
    with pytest.raises(ValueError, match="1 columns"):
        kto()(
            Preferences(
                torch.zeros(2, 1), torch.ones(2, 1), torch.zeros(2, 1), desirable=torch.ones(2).bool()
            )
        )


def test_a_selection_is_refused() -> None:
    with pytest.raises(ValueError, match="kto selects no examples"):
        kto()(unpaired(), step=Step(selected=torch.ones(8).bool()))


def test_negative_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="desirable_weight=-1"):
        kto(desirable_weight=-1.0)
