"""Metrics of batches: names, values by hand, and sums over parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from preference_batches import random_batch

from align.gap_statistics import GapState
from align.loss_config import PreferenceLossConfig, build_loss
from align.metrics import Mean, merged, preference_metrics, values
from align.objective import LossOutput, Step
from align.preferences import Preferences


def output_of(batch: Preferences, **options: Any) -> LossOutput:
    loss = build_loss(PreferenceLossConfig(**options))
    return loss(batch, GapState(0.0, 1.0, 5, 5), Step(key=(0,)))


def test_pairs_by_hand() -> None:
    batch = Preferences(
        torch.tensor([[-4.0, -6.0], [-3.0, -2.0]]),
        torch.tensor([[2, 3], [1, 2]]),
        torch.tensor([[-5.0, -4.0], [-3.0, -2.0]]),
    )
    found = values(preference_metrics(output_of(batch, method="dpo", beta=0.5)))
    expected = {
        "rewards/chosen": 0.25,  # 0.5 (1 + 0) / 2
        "rewards/rejected": -0.5,
        "rewards/margins": 0.75,
        "rewards/accuracies": 0.5,  # equal rewards are not right
        "logps/chosen": -3.5,
        "logps/rejected": -4.0,
        "logps/chosen_per_token": -2.5,
        "logps/rejected_per_token": -1.5,
        "logps/ref_chosen": -4.0,
        "logps/ref_rejected": -3.0,
        "kl/chosen": 0.5,
        "kl/rejected": -1.0,
        "kl/chosen_per_token": 0.25,
        "kl/rejected_per_token": -1 / 3,
        "length/chosen": 1.5,
        "length/rejected": 2.5,
    }
    per_example = found.pop("loss/per_example")
    assert found == pytest.approx(expected)
    assert per_example == pytest.approx(torch.nn.functional.softplus(torch.tensor([-1.5, 0.0])).mean().item())


def test_lists_by_hand() -> None:
    policy = torch.tensor([[0.0, -1.0, -3.0], [0.0, 1.0, 0.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    batch = Preferences(policy, torch.ones(2, 3), torch.zeros(2, 3), mask)
    found = values(preference_metrics(output_of(batch, method="sdpo")))
    assert found["rewards/rejected"] == pytest.approx((-1 - 3 + 1) / 3)
    assert found["rewards/margins"] == pytest.approx((1 + 3 - 1) / 3)
    assert found["rewards/least_margins"] == pytest.approx(0.0)
    assert found["rewards/accuracies"] == 0.5
    mass = torch.tensor([[0.0, -1.0, -3.0], [0.0, 1.0, -torch.inf]]).softmax(1)[:, 0].mean()
    assert found["rewards/chosen_mass"] == pytest.approx(mass.item())


def test_unpaired_by_hand() -> None:
    batch = Preferences(
        torch.tensor([[-1.0, -9.0], [-2.0, -9.0], [-5.0, -9.0]]),
        torch.ones(3, 2),
        torch.tensor([[-2.0, -8.0], [-2.0, -8.0], [-3.0, -8.0]]),
        desirable=torch.tensor([True, True, False]),
    )
    found = values(preference_metrics(output_of(batch, method="kto", beta=0.1)))
    assert found["rewards/chosen"] == pytest.approx(0.05)
    assert found["rewards/rejected"] == pytest.approx(-0.2)
    assert (found["logps/chosen"], found["logps/rejected"]) == pytest.approx((-1.5, -5.0))
    assert found["kl/reference_point"] == 0.0


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("alpha_dpo", {"offset/mean", "offset/min", "offset/max", "offset/var", "gap/mean", "gap/std"}),
        (
            "beta_dpo",
            {"beta/used", "selection/kept", "selection/gap", "selection/weight_entropy", "gap/mean"},
        ),
        ("dr_dpo", {"weights/effective_size", "weights/largest"}),
        ("cpo", {"loss/nll"}),
    ],
)
def test_methods_tell_their_own(method: str, names: set[str]) -> None:
    assert names <= preference_metrics(output_of(random_batch(), method=method)).keys()


def test_effective_size_of_equal_losses_is_their_number() -> None:
    batch = random_batch()
    output = output_of(replace(batch, reference=batch.policy), method="dr_dpo")
    assert output.gauges["weights/effective_size"].item() == pytest.approx(6.0)


def test_fine_tuning_has_one_side() -> None:
    found = preference_metrics(output_of(random_batch(), method="sft"))
    assert "logps/chosen" in found and "logps/rejected" not in found and "rewards/chosen" not in found


@pytest.mark.parametrize("method", ["dpo", "sdpo"])
def test_parts_are_counted_together(method: str) -> None:
    batch = random_batch(rows=7, rejected=3, ragged=True)
    parts = [batch.rows(slice(0, 2)), batch.rows(slice(2, 7))]
    together = values(merged(preference_metrics(output_of(part, method=method)) for part in parts))
    assert together == pytest.approx(values(preference_metrics(output_of(batch, method=method))))


def test_rows_that_cannot_be_compared_are_not_counted() -> None:
    batch = random_batch()
    lengths = batch.lengths.clone()
    lengths[0, 1] = 0
    found = preference_metrics(output_of(replace(batch, lengths=lengths), method="dpo"))
    assert {mean.count.item() for mean in found.values()} == {5}


def test_no_value_is_no_metric() -> None:
    assert values({"a": Mean.of(torch.zeros(0)), "b": Mean.of(torch.ones(2))}) == {"b": 1.0}
