"""Losses put together from parts: limits, gradients, degenerate batches, evaluation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from preference_batches import policy_gradient, random_batch, with_gradient
from preference_losses import COUPLED, EVERY, EVERY_LOSS, WARM, assert_same, run, value_and_gradient
from torch import Tensor

from align import losses
from align.gap_statistics import FRESH, GapState, GapStatistics
from align.loss_config import PreferenceLossConfig, build_loss
from align.objective import Step
from align.preferences import Preferences, concatenate
from align.ranks import SimulatedRanks
from align.two_pass import plan


class TestLimits:
    """One method turns into another where its extra part is switched off."""

    @pytest.mark.parametrize(
        ("special", "general"),
        [
            pytest.param({"method": "dpo", "beta": 1.0}, {"method": "sdpo"}, id="s-dpo-of-one-is-dpo"),
            pytest.param(
                {"method": "simpo", "beta": 10.0, "gamma_beta_ratio": 0.4},
                {"method": "alpha_dpo", "alpha": 0.0},
                id="alpha-zero-is-simpo",
            ),
            pytest.param(
                {"method": "dpo"},
                {"method": "beta_dpo", "beta_slope": 0.0, "keep_ratio": 1.0},
                id="beta-dpo-without-slope-and-filter-is-dpo",
            ),
            pytest.param({"method": "dpo"}, {"method": "cdpo", "label_smoothing": 0.0}, id="cdpo-is-dpo"),
            pytest.param(
                {"method": "dpo"}, {"method": "robust_dpo", "label_smoothing": 0.0}, id="robust-is-dpo"
            ),
            pytest.param(
                {"method": "cpo", "sft_weight": 0.0},
                {"method": "dpo", "score": "log_prob"},
                id="cpo-is-free-dpo",
            ),
            pytest.param(
                {"method": "alpha_dpo", "alpha": 0.2},
                {"method": "alpha_dpo", "alpha": 2.0, "alpha_scale": "paper"},
                id="alpha-outside-beta-is-beta-times-as-large",
            ),
            pytest.param(
                {"method": "simpo", "gamma_beta_ratio": 0.5}, {"method": "simpo", "gamma": 1.0}, id="gamma"
            ),
            pytest.param(
                {"method": "beta_dpo", "beta_slope": 0.6},
                {"method": "beta_dpo", "beta_slope": 6.0, "discrepancy": "reward"},
                id="discrepancy-in-rewards",
            ),
        ],
    )
    def test_special_case(self, special: dict[str, Any], general: dict[str, Any]) -> None:
        batch = random_batch()
        assert_same(value_and_gradient(batch, **special), value_and_gradient(batch, **general))

    def test_soft_minimum_of_large_softness_is_the_mean(self) -> None:
        batch = random_batch()
        soft = value_and_gradient(batch, method="dr_dpo", beta_prime=1e8)
        assert_same(soft, value_and_gradient(batch, method="dpo"), rtol=1e-6)

    def test_soft_minimum_of_small_softness_is_the_least_loss(self) -> None:
        output = run(with_gradient(random_batch()), method="dr_dpo", beta_prime=1e-6)
        assert output.loss.item() == pytest.approx(output.per_example.min().item(), abs=1e-4)
        assert output.weights.max().item() == pytest.approx(1.0)

    def test_small_beta_makes_dpo_linear_in_the_gap(self) -> None:
        batch = random_batch()
        gradient = value_and_gradient(batch, method="dpo", beta=1e-8)[1] / 1e-8
        torch.testing.assert_close(gradient[:, 0], torch.full((6,), -0.5 / 6, dtype=torch.float64))

    def test_s_dpo_of_equal_policy_and_reference_is_the_logarithm_of_the_choices(self) -> None:
        batch = random_batch(rows=3, rejected=4)
        output = build_loss(PreferenceLossConfig(method="sdpo"))(replace(batch, reference=batch.policy))
        torch.testing.assert_close(output.per_example, torch.full((3,), math.log(5.0)).double())


class TestPureFunctions:
    """The functions of :mod:`align.losses` and the losses made of parts are the same."""

    def test_agree(self) -> None:
        batch = random_batch(rejected=2)
        pairs = random_batch()
        assert batch.reference is not None and pairs.reference is not None
        policy, reference, lengths = pairs.policy.T, pairs.reference.T, pairs.lengths.T
        words = {"chosen_lengths": lengths[0], "rejected_lengths": lengths[1]}
        spread = GapStatistics().observe(WARM, per_token_gap(pairs), training=True)[1]
        expected = {
            "dpo": losses.dpo(*policy, *reference),
            "cdpo": losses.dpo(*policy, *reference, label_smoothing=0.1),
            "robust_dpo": losses.dpo(*policy, *reference, label_smoothing=0.1, robust=True),
            "ipo": losses.ipo(*policy, *reference, **words),
            "simpo": losses.simpo(*policy, *lengths, gamma_beta_ratio=0.5),
            "cpo": losses.cpo(*policy),
            "orpo": losses.orpo(*policy, *lengths),
            "alpha_dpo": losses.alpha_dpo(*policy, *reference, spread, gamma_beta_ratio=0.4, **words),
            "kto_pair": losses.paired_kto(pairs.log_ratios(), 0.1).mean(1),
        }
        for method, values in expected.items():
            torch.testing.assert_close(run(with_gradient(pairs), method=method).per_example, values)
        chosen, rejected = batch.policy[:, 0], batch.policy[:, 1:]
        together = losses.sdpo(chosen, rejected, batch.reference[:, 0], batch.reference[:, 1:])
        torch.testing.assert_close(run(with_gradient(batch), method="sdpo").per_example, together)


def per_token_gap(batch: Preferences) -> Tensor:
    ratios = batch.log_ratios(length_normalize=True)
    return ratios[:, 0] - ratios[:, 1]


class TestGradient:
    @pytest.mark.parametrize(
        "options", [{"method": name} for name in EVERY if name not in COUPLED[:2]], ids=str
    )
    def test_equals_finite_differences(self, options: dict[str, Any]) -> None:
        loss = build_loss(PreferenceLossConfig(**options))
        batch = random_batch(rows=3, rejected=2 if options["method"] == "sdpo" else 1)
        assert torch.autograd.gradcheck(
            lambda policy: loss(replace(batch, policy=policy)).loss, batch.policy.clone().requires_grad_()
        )

    @pytest.mark.parametrize("method", ["alpha_dpo", "beta_dpo"])
    def test_statistics_and_beta_are_constants(self, method: str) -> None:
        """With offset, beta and selection held, the gradient is that of the plain logistic loss."""
        batch = with_gradient(random_batch())
        output = run(batch, method=method)
        assert output.offset is not None and output.beta is not None
        score = "log_prob" if method == "alpha_dpo" else "log_ratio"
        again = with_gradient(random_batch())
        scores = again.sums(length_normalize=True) if score == "log_prob" else again.log_ratios()
        u = output.beta * (scores[:, 0] - scores[:, 1] - output.offset)
        (torch.nn.functional.softplus(-u)[output.kept].sum() / output.kept.sum()).backward()
        torch.testing.assert_close(policy_gradient(batch), policy_gradient(again))

    @pytest.mark.parametrize("method", [name for name in EVERY if name not in ("ipo", "kto_pair")])
    def test_raises_the_chosen_and_lowers_the_rejected(self, method: str) -> None:
        gradient = value_and_gradient(random_batch(), method=method)[1]
        assert (gradient[:, 0] <= 0).all() and gradient[:, 0].any()
        assert (gradient[:, 1] >= 0).all() and gradient[:, 1].any()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["single", "bfloat16"])
    @pytest.mark.parametrize("margin", [-5000.0, 5000.0], ids=["far-wrong", "far-right"])
    @pytest.mark.parametrize("method", EVERY)
    def test_extreme_margins_stay_finite(self, method: str, margin: float, dtype: torch.dtype) -> None:
        policy = torch.tensor([[-6000.0 + margin, -6000.0], [-6000.0, -6000.0]], dtype=dtype)
        reference = torch.full((2, 2), -6000.0, dtype=dtype)
        batch = with_gradient(Preferences(policy, torch.ones(2, 2), reference))
        output = run(batch, method=method)
        assert output.loss.isfinite() and output.loss.dtype == torch.float32
        assert policy_gradient(batch).isfinite().all()

    def test_certain_completions_have_finite_odds(self) -> None:
        """Probability one: the odds are held, and the gradient is finite."""
        batch = with_gradient(Preferences(torch.zeros(1, 2), torch.ones(1, 2)))
        assert run(batch, method="orpo").loss.isfinite()
        assert policy_gradient(batch).isfinite().all()


class TestDegenerate:
    @pytest.mark.parametrize("method", EVERY)
    def test_empty_completions_weigh_nothing(self, method: str) -> None:
        batch = random_batch()
        lengths = torch.cat([batch.lengths, torch.tensor([[3, 0], [0, 5]])])
        policy = torch.cat([batch.policy, torch.tensor([[-4.0, 0.0], [0.0, -9.0]]).double()])
        longer = Preferences(policy, lengths, policy - 1, ids=torch.arange(100, 108))
        assert batch.reference is not None and longer.reference is not None
        longer.reference[:6] = batch.reference
        loss, gradient = value_and_gradient(longer, method=method)
        assert_same((loss, gradient[:6]), value_and_gradient(batch, method=method))
        assert not gradient[6:].any()

    @pytest.mark.parametrize("options", EVERY_LOSS)
    def test_nothing_to_compare_is_zero_and_attached(self, options: dict[str, Any]) -> None:
        batch = with_gradient(Preferences(torch.zeros(2, 2), torch.zeros(2, 2), torch.zeros(2, 2)))
        output = run(batch, state=FRESH, **options)
        assert output.loss.item() == 0 and output.state == FRESH
        assert not policy_gradient(batch).any()

    @pytest.mark.parametrize("options", EVERY_LOSS)
    @pytest.mark.parametrize("rows", [1, 4])
    def test_policy_equal_to_reference_in_the_first_step(self, options: dict[str, Any], rows: int) -> None:
        batch = random_batch(rows=rows)
        batch = with_gradient(replace(batch, reference=batch.policy))
        output = run(batch, state=FRESH, **options)
        assert output.loss.isfinite() and policy_gradient(batch).isfinite().all()

    def test_a_rank_without_a_kept_pair_is_attached(self) -> None:
        parts = [with_gradient(random_batch(rows=2, seed=seed)) for seed in (1, 2)]
        step = Step(ranks=SimulatedRanks(parts, 1), selected=torch.tensor([1, 1, 0, 0]).bool())
        for scope in ("global", "local"):
            output = run(parts[1], step=step, method="beta_dpo", scope=scope)
            assert not policy_gradient(parts[1]).any()
        assert output.loss.item() == 0  # the local part of it

    def test_rows_of_several_rejected_are_pairs_to_a_pair_loss(self) -> None:
        batch = random_batch(rows=3, rejected=3, ragged=True)
        pairs = batch.pairs()
        assert len(pairs) == int(batch.exists[:, 1:].sum())
        loss, gradient = value_and_gradient(batch, method="dpo")
        expected, of_pairs = value_and_gradient(pairs, method="dpo")
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(gradient[:, 1:][batch.exists[:, 1:]], of_pairs[:, 1])

    def test_a_prompt_without_rejected_completions_changes_nothing(self) -> None:
        batch = random_batch(rows=3, rejected=2)
        lonely = Preferences.from_flat(
            *(torch.tensor([value]) for value in (-3.0, 4, 1)), torch.tensor([-2.0])
        )
        both = concatenate([replace(batch, ids=None), replace(lonely, policy=lonely.policy.double())])
        loss, gradient = value_and_gradient(both, method="sdpo")
        assert_same((loss, gradient[:3]), value_and_gradient(batch, method="sdpo"))
        assert not gradient[3].any()


class TestEvaluation:
    def test_leaves_the_state_alone(self) -> None:
        for method in ("alpha_dpo", "beta_dpo"):
            assert run(with_gradient(random_batch()), step=Step(training=False), method=method).state == WARM

    def test_authors_update_it(self) -> None:
        output = run(
            with_gradient(random_batch()), step=Step(training=False), method="alpha_dpo", mode="authors"
        )
        assert output.state != WARM

    def test_beta_dpo_is_plain_dpo_beside_that_of_the_batch_beta(self) -> None:
        batch, step = random_batch(), Step(training=False)
        output = run(with_gradient(batch), step=step, method="beta_dpo")
        torch.testing.assert_close(output.loss, run(with_gradient(batch), method="dpo").loss)
        assert output.kept.all()
        assert output.gauges["loss/at_batch_beta"] != output.loss

    def test_resumed_state_gives_the_uninterrupted_run(self) -> None:
        """Also selections: they depend on the step's key, not on what was drawn before."""
        loss = build_loss(PreferenceLossConfig(method="beta_dpo"))

        def steps(state: GapState, numbers: range) -> tuple[GapState, list[float]]:
            values = []
            for number in numbers:
                output = loss(random_batch(rows=5, seed=number), state, Step(key=(7, number)))
                state = output.state
                values.append(output.loss.item())
            return state, values

        through, values = steps(FRESH, range(6))
        half, _ = steps(FRESH, range(3))
        end, rest = steps(GapState.from_state_dict(half.state_dict()), range(3, 6))
        assert end == through and rest == values[3:]


class TestLikelihoodTerm:
    def test_is_the_token_mean_of_the_chosen(self) -> None:
        batch = random_batch()
        output = run(with_gradient(batch), method="cpo", sft_weight=2.0)
        nll = -batch.policy[:, 0].sum() / batch.lengths[:, 0].sum()
        torch.testing.assert_close(output.gauges["loss/nll"], nll)
        torch.testing.assert_close(output.loss.detach(), output.per_example.mean() + 2 * nll)

    def test_may_count_the_prompt(self) -> None:
        batch = random_batch(rows=2)
        batch = replace(
            batch, prompt_logps=torch.tensor([-5.0, -7.0]).double(), prompt_lengths=torch.tensor([3, 4])
        )
        nll = run(with_gradient(batch), method="orpo", nll_on_prompt=True).gauges["loss/nll"]
        expected = (12.0 - batch.policy[:, 0].sum()) / (batch.lengths[:, 0].sum() + 7)
        torch.testing.assert_close(nll, expected)
        planned = plan(build_loss(PreferenceLossConfig(method="orpo", nll_on_prompt=True)), batch)
        assert planned.prompt_gradients is not None
        torch.testing.assert_close(
            planned.prompt_gradients, torch.full((2,), -1.0).double() / (batch.lengths[:, 0].sum() + 7)
        )

    def test_missing_prompt_is_named(self) -> None:
        with pytest.raises(ValueError, match="give prompt_logps"):
            run(with_gradient(random_batch()), method="orpo", nll_on_prompt=True)


class TestRefusals:
    def test_missing_reference(self) -> None:
        with pytest.raises(ValueError, match="give the reference"):
            run(with_gradient(replace(random_batch(), reference=None)), method="dpo")

    def test_no_reference_is_needed_without_one(self) -> None:
        options = {"method": "simpo", "selector": "gaussian"}
        assert run(with_gradient(replace(random_batch(), reference=None)), **options).loss.isfinite()

    def test_missing_key_of_a_draw(self) -> None:
        with pytest.raises(ValueError, match="give the step a key"):
            run(with_gradient(random_batch()), method="beta_dpo", step=Step())

    def test_selection_of_another_size(self) -> None:
        with pytest.raises(ValueError, match="6 examples"):
            run(with_gradient(random_batch()), step=Step(selected=torch.ones(5).bool()), method="dpo")


class TestRewards:
    """What a completion is worth to a method, all completions of a list at once."""

    @pytest.mark.parametrize("method", [name for name in EVERY if name != "sdpo"])
    def test_are_those_of_an_evaluation(self, method: Any) -> None:
        batch, loss = random_batch(), build_loss(PreferenceLossConfig(method=method))
        output = loss(batch, WARM, Step(training=False))
        assert output.chosen_rewards is not None and output.rejected_rewards is not None
        expected = torch.cat([output.chosen_rewards[:, None], output.rejected_rewards], 1)
        assert_rewards(loss.rewards(batch), expected)

    def test_by_formula(self) -> None:
        batch = random_batch(rejected=3)
        averages, ratios = batch.policy / batch.lengths, batch.policy - batch.reference
        alpha = averages - 0.2 * ratios / batch.lengths
        for options, expected in (
            ({"method": "dpo", "beta": 0.3}, 0.3 * ratios),
            ({"method": "simpo", "beta": 2.5}, 2.5 * averages),
            ({"method": "orpo", "beta": 0.1}, 0.1 * averages),
            ({"method": "cpo", "beta": 0.1}, 0.1 * batch.policy),
            ({"method": "alpha_dpo", "beta": 10.0, "alpha": 0.2}, 10 * alpha),
            ({"method": "kto", "beta": 0.1}, 0.1 * ratios),
        ):
            assert_rewards(build_loss(PreferenceLossConfig(**options)).rewards(batch), expected)

    def test_completions_that_do_not_exist_are_worth_nothing(self) -> None:
        batch = random_batch(rejected=3, ragged=True)
        rewards = build_loss(PreferenceLossConfig(method="sdpo")).rewards(batch)
        assert rewards is not None and not rewards[~batch.exists].any()

    def test_imitation_compares_nothing(self) -> None:
        assert build_loss(PreferenceLossConfig(method="sft")).rewards(random_batch()) is None


def assert_rewards(found: Tensor | None, expected: Tensor) -> None:
    assert found is not None
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
