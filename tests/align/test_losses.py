"""The losses on numbers worked out by hand, and on what theory promises."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from align import losses
from align.gap_statistics import Spread

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

    def test_robust_dpo_is_unbiased_under_flips(self) -> None:
        """Over a pair and its flip, weighed by their probabilities, it is the loss without noise."""
        pair = (column(-1.0), column(-2.0 - LOG_THREE), column(-4.0), column(-5.0))  # gap = ln 3
        flip = (pair[1], pair[0], pair[3], pair[2])
        right, wrong = (
            losses.dpo(*sums, beta=1.0, label_smoothing=0.25, robust=True) for sums in (pair, flip)
        )
        torch.testing.assert_close(right, column((0.75 * math.log(4 / 3) - 0.25 * math.log(4)) / 0.5))
        torch.testing.assert_close(0.75 * right + 0.25 * wrong, column(math.log(4 / 3)))

    def test_cpo_compares_sums(self) -> None:
        loss = losses.cpo(column(-1.0), column(-1.0 - 2 * LOG_THREE), beta=0.5)
        torch.testing.assert_close(loss, column(math.log(4 / 3)))

    def test_orpo_compares_odds(self) -> None:
        # token probabilities 3/4 and 1/2: odds 3 and 1
        chosen, rejected = column(2 * math.log(0.75)), column(3 * math.log(0.5))
        loss = losses.orpo(chosen, rejected, column(2), column(3), beta=0.5)
        torch.testing.assert_close(loss, column(0.5 * math.log(4 / 3)))

    def test_kto_measures_from_the_reference_point(self) -> None:
        # r - k = ln 3 for the good and -ln 3 for the bad completion: both are on the right side
        ratios, desirable = column(1.0 + LOG_THREE, 1.0 - LOG_THREE), torch.tensor([True, False])
        point = losses.kto_reference_point(column(3.0, -1.0))
        loss = losses.kto(ratios, desirable, point, beta=1.0, undesirable_weight=2.0)
        torch.testing.assert_close(loss, column(0.25, 0.5))

    def test_kto_reference_point_is_never_negative(self) -> None:
        assert losses.kto_reference_point(column(-3.0, 1.0)) == 0
        assert losses.kto_reference_point(column(-3.0, 1.0), torch.tensor([False, True])) == 1

    def test_alpha_dpo_asks_more_of_a_pair_beyond_the_mean_gap(self) -> None:
        # margin 2; gap 2 is one deviation above 1, so the target is 0.5 + 0.25
        sums = (column(-2.0), column(-4.0), column(-3.0), column(-3.0))
        loss = losses.alpha_dpo(
            *sums, Spread(1.0, 1.0), beta=1.0, alpha=0.25, gamma_beta_ratio=0.5, length_normalize=False
        )
        torch.testing.assert_close(loss, column(math.log1p(math.exp(-1.25))))

    def test_s_dpo_is_the_softmax_of_rewards(self) -> None:
        # ratios 1 against 1 - ln 2 and 1 - ln 3: softmax at the chosen = 1 / (1 + 1/2 + 1/3)
        rejected = torch.tensor([[-1 - math.log(2.0), -1 - LOG_THREE]], dtype=torch.float64)
        loss = losses.sdpo(column(-1.0), rejected, column(-2.0), torch.full_like(rejected, -2.0))
        torch.testing.assert_close(loss, column(math.log(11 / 6)))

    def test_s_dpo_flat_equals_padded(self) -> None:
        logps, ref_logps = -torch.rand(2, 9, dtype=torch.float64) * 90
        owner = torch.tensor([0, 0, 0, 0, 1, 1, 2, 3, 3])
        mask = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 0, 0]]).bool()
        first = torch.tensor([0, 4, 6, 7])
        rest = torch.tensor([1, 2, 3, 5, 8])
        grid, ref_grid = (
            torch.zeros(4, 3).double().masked_scatter(mask, v[rest]) for v in (logps, ref_logps)
        )
        padded = losses.sdpo(logps[first], grid, ref_logps[first], ref_grid, mask=mask)
        flat = losses.sdpo_flat(logps.requires_grad_(), ref_logps, owner)
        torch.testing.assert_close(flat, padded)
        assert flat[2] == 0
        assert torch.autograd.gradcheck(lambda x: losses.sdpo_flat(x, ref_logps, owner), logps)

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

    def test_robust_dpo_of_coin_flips(self) -> None:
        zero = column(0.0)
        with pytest.raises(ValueError, match="below 0.5"):
            losses.dpo(zero, zero, zero, zero, label_smoothing=0.5, robust=True)

    @pytest.mark.parametrize("owner", [[0, 0, 2], [1, 1, 2], [0, 1, 0]], ids=["gap", "late", "unsorted"])
    def test_s_dpo_owners(self, owner: list[int]) -> None:
        with pytest.raises(ValueError, match="owner must count up"):
            losses.sdpo_flat(torch.zeros(3), torch.zeros(3), torch.tensor(owner))

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
