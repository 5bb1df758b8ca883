"""The losses on numbers worked out by hand, on the authors' own values, and on what theory promises."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from align import losses

LOG_THREE = math.log(3.0)


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


class TestByHand:
    """With u = ln 3, sigmoid(u) = 3/4, so the logistic loss is ln(4/3) and its mirror ln 4."""

    def test_dpo_without_and_with_smoothing(self) -> None:
        pair = (column(-1.0), column(-2.0 - LOG_THREE), column(-4.0), column(-5.0))  # gap = ln 3
        torch.testing.assert_close(losses.dpo(*pair, beta=1.0), column(math.log(4 / 3)))
        smoothed = losses.dpo(*pair, beta=1.0, label_smoothing=0.25)
        torch.testing.assert_close(smoothed, column(0.75 * math.log(4 / 3) + 0.25 * math.log(4)))

    def test_dpo_reference_free_needs_no_reference(self) -> None:
        loss = losses.dpo(column(-1.0), column(-1.0 - 2 * LOG_THREE), beta=0.5, reference_free=True)
        torch.testing.assert_close(loss, column(math.log(4 / 3)))

    def test_dpo_length_normalised_divides_each_sum_by_its_own_length(self) -> None:
        # (-2/2 + 6/3) - (-4/2 + 6/3) = 1 - 0
        loss = losses.dpo(
            column(-2.0),
            column(-6.0),
            column(-4.0),
            column(-6.0),
            beta=LOG_THREE,
            length_normalize=True,
            chosen_lengths=column(2),
            rejected_lengths=column(3),
        )
        torch.testing.assert_close(loss, column(math.log(4 / 3)))

    def test_ipo_is_the_squared_distance_to_its_target(self) -> None:
        # gap = 3, target = 1 / (2 * 0.25) = 2
        loss = losses.ipo(
            column(-1.0), column(-4.0), column(-2.0), column(-2.0), beta=0.25, length_normalize=False
        )
        torch.testing.assert_close(loss, column(1.0))

    def test_simpo_takes_gamma_or_its_ratio_to_beta(self) -> None:
        pair = (column(-2.0), column(-9.0), column(2), column(3))  # averages -1 and -3, margin 2
        by_ratio = losses.simpo(*pair, beta=LOG_THREE, gamma_beta_ratio=1.0)
        by_gamma = losses.simpo(*pair, beta=LOG_THREE, gamma=LOG_THREE)
        torch.testing.assert_close(by_ratio, column(math.log(4 / 3)))
        torch.testing.assert_close(by_gamma, by_ratio)

    def test_simpo_hinge_is_zero_beyond_the_margin(self) -> None:
        sums, lengths = (column(-2.0, -2.0), column(-9.0, -2.5)), (column(1, 1), column(1, 1))
        loss = losses.simpo(*sums, *lengths, beta=1.0, gamma=0.0, hinge=True)
        torch.testing.assert_close(loss, column(0.0, 0.5))

    def test_sft_by_token_and_by_sequence(self) -> None:
        logps, lengths = column(-6.0, -2.0), torch.tensor([3, 1])
        torch.testing.assert_close(losses.sft(logps, lengths), torch.tensor(2.0, dtype=torch.float64))
        by_sequence = losses.sft(logps, lengths, reduction="sequence_sum")
        torch.testing.assert_close(by_sequence, torch.tensor(4.0, dtype=torch.float64))

    def test_sft_parts_add_up_to_the_whole(self) -> None:
        logps, lengths = column(-6.0, -2.0, -1.0), torch.tensor([3, 1, 2])
        parts = [
            losses.sft(logps[part], lengths[part], total_tokens=6) for part in (slice(0, 1), slice(1, 3))
        ]
        torch.testing.assert_close(sum(parts), losses.sft(logps, lengths))


class TestProperties:
    @settings(max_examples=25, deadline=None)
    @given(
        sums=st.lists(st.floats(-300, 0), min_size=4, max_size=4),
        beta=st.floats(0.01, 10),
        shift=st.floats(-50, 50),
    )
    def test_a_constant_added_to_both_policy_sums_changes_nothing(
        self, sums: list[float], beta: float, shift: float
    ) -> None:
        chosen, rejected, ref_chosen, ref_rejected = (column(value) for value in sums)
        for loss in (losses.dpo, losses.ipo):
            options = {"beta": beta, "length_normalize": False}
            moved = loss(chosen + shift, rejected + shift, ref_chosen, ref_rejected, **options)
            still = loss(chosen, rejected, ref_chosen, ref_rejected, **options)
            torch.testing.assert_close(moved, still, rtol=1e-9, atol=1e-9)

    def test_half_smoothing_makes_the_pair_symmetric(self) -> None:
        chosen, rejected, ref_chosen, ref_rejected = (
            column(-3, -9),
            column(-5, -1),
            column(-4, -4),
            column(-4, -2),
        )
        there = losses.dpo(chosen, rejected, ref_chosen, ref_rejected, label_smoothing=0.5)
        back = losses.dpo(rejected, chosen, ref_rejected, ref_chosen, label_smoothing=0.5)
        torch.testing.assert_close(there, back)

    @pytest.mark.parametrize("gap", [-800.0, 800.0], ids=["far-wrong", "far-right"])
    def test_large_gaps_stay_finite_in_float32(self, gap: float) -> None:
        chosen = torch.tensor([gap], requires_grad=True)
        zero = torch.zeros(1)
        loss = losses.dpo(chosen, zero, zero, zero, beta=1.0, label_smoothing=0.1)
        loss.sum().backward()
        assert chosen.grad is not None
        torch.testing.assert_close(loss, torch.tensor([720.0 if gap < 0 else 80.0]))
        torch.testing.assert_close(chosen.grad, torch.tensor([-0.9 if gap < 0 else 0.1]))

    def test_gradient_raises_the_chosen_and_lowers_the_rejected(self) -> None:
        chosen, rejected = (column(-4.0, -2.0).requires_grad_() for _ in range(2))
        lengths = torch.tensor([2, 5])
        losses.simpo(chosen, rejected, lengths, lengths, gamma_beta_ratio=0.5).sum().backward()
        assert chosen.grad is not None and rejected.grad is not None
        assert (chosen.grad < 0).all()
        torch.testing.assert_close(rejected.grad, -chosen.grad)

    def test_half_precision_is_raised_before_anything_is_subtracted(self) -> None:
        chosen, rejected = torch.tensor([-400.0]).bfloat16(), torch.tensor([-401.0]).bfloat16()
        loss = losses.dpo(chosen, rejected, rejected, rejected)
        assert loss.dtype == torch.float32

    def test_an_empty_completion_scores_zero(self) -> None:
        zero, length = column(0.0), torch.tensor([0])
        loss = losses.simpo(zero, zero, length, length, beta=1.0, gamma=0.0)
        torch.testing.assert_close(loss, column(math.log(2)))


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            pytest.param({"beta": 0.0}, "beta=0.0 must be above zero", id="beta-zero"),
            pytest.param({"label_smoothing": 0.7}, "from 0 to 0.5", id="smoothing-too-large"),
            pytest.param({"length_normalize": True}, "give chosen_lengths", id="lengths-missing"),
        ],
    )
    def test_dpo(self, options: dict[str, Any], message: str) -> None:
        zero = column(0.0)
        with pytest.raises(ValueError, match=message):
            losses.dpo(zero, zero, zero, zero, **options)

    def test_dpo_without_a_reference(self) -> None:
        with pytest.raises(ValueError, match="reference_free=True"):
            losses.dpo(column(0.0), column(0.0))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            pytest.param({}, "target margin once", id="no-margin"),
            pytest.param({"gamma": 1.0, "gamma_beta_ratio": 0.5}, "target margin once", id="two-margins"),
            pytest.param(
                {"gamma": 1.0, "hinge": True, "label_smoothing": 0.1}, "no meaning", id="hinge-smoothed"
            ),
        ],
    )
    def test_simpo(self, options: dict[str, Any], message: str) -> None:
        one = column(1.0)
        with pytest.raises(ValueError, match=message):
            losses.simpo(-one, -one, one, one, **options)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            pytest.param({"reduction": "mean"}, "'mean' is not known", id="unknown-reduction"),
            pytest.param({"reduction": "sequence_sum", "total_tokens": 4}, "token_mean", id="tokens-unused"),
        ],
    )
    def test_sft(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            losses.sft(column(-1.0), torch.tensor([1]), **options)


def numbers(values: list[Any]) -> Tensor:
    return torch.tensor([float(value) for value in values], dtype=torch.float64)


def apply(
    method: str, sums: dict[str, Tensor], lengths: dict[str, Tensor], options: dict[str, Any]
) -> Tensor:
    policy = (sums["policy_chosen"], sums["policy_rejected"])
    if method == "simpo":
        return losses.simpo(*policy, lengths["len_chosen"], lengths["len_rejected"], **options)
    function = {"dpo": losses.dpo, "ipo": losses.ipo}[method]
    options = {"length_normalize": False, **options}
    if options["length_normalize"]:
        options |= {"chosen_lengths": lengths["len_chosen"], "rejected_lengths": lengths["len_rejected"]}
    return function(*policy, sums["ref_chosen"], sums["ref_rejected"], **options)


class TestAuthorsValues:
    """Losses and gradients against values computed with the authors' own functions."""

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
    def test_pair_losses(self, vectors: Path, dtype: torch.dtype) -> None:
        tolerance = {"rtol": 1e-9, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 2e-5, "atol": 1e-6}
        compared = []
        for case in json.loads((vectors / "align.json").read_text())["cases"]:
            if "batches" in case or "ranks" in case or case["id"] == "dev-sdpo-k1":
                continue
            for variant in case["variants"]:
                if variant["method"] not in ("dpo", "ipo", "simpo"):
                    continue
                inputs = {name: numbers(values).to(dtype) for name, values in case["inputs"].items()}
                lengths = {name: value for name, value in inputs.items() if name.startswith("len_")}
                sums = {name: value.requires_grad_() for name, value in inputs.items() if name not in lengths}
                per_pair = apply(variant["method"], sums, lengths, variant["hyperparameters"])
                per_pair.mean().backward()
                expected = variant["outputs"]
                for got, name in (
                    (per_pair, "losses"),
                    (sums["policy_chosen"].grad, "grad_policy_chosen"),
                    (sums["policy_rejected"].grad, "grad_policy_rejected"),
                ):
                    torch.testing.assert_close(got, numbers(expected[name]).to(dtype), **tolerance)
                compared.append((case["id"], variant["method"]))
        assert {method for _, method in compared} == {"dpo", "ipo", "simpo"}
        assert len(compared) >= 9

    def test_sft_reductions(self, vectors: Path) -> None:
        cases = json.loads((vectors / "align.json").read_text())["cases"]
        outputs = next(case for case in cases if case["id"] == "dev-token-logps")["variants"][0]["outputs"]
        logps, lengths = numbers(outputs["sum_logps"]), numbers(outputs["lengths"])
        for reduction in ("token_mean", "sequence_sum"):
            loss = losses.sft(logps, lengths, reduction=reduction)
            assert loss.item() == pytest.approx(outputs[f"sft_loss_{reduction}"], rel=1e-9)
