"""Losses by name: every combination is one line, and what would change nothing is refused."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from jsonargparse import auto_cli
from preference_batches import random_batch

from align.gap_statistics import GapState
from align.loss_config import PARTS, PreferenceLossConfig, build_loss
from align.margins import AdaptiveMargin, ConstantMargin
from align.methods import METHODS
from align.objective import Step
from align.pair_losses import Softmax
from align.pairwise import PairwiseLoss
from align.reductions import SoftMinimum


def pairwise(**options: Any) -> PairwiseLoss:
    loss = build_loss(PreferenceLossConfig(**options))
    assert isinstance(loss, PairwiseLoss)
    return loss


class TestParts:
    @pytest.mark.parametrize("method", METHODS)
    def test_every_method_is_built(self, method: Any) -> None:
        for mode in ("default", "authors"):
            build_loss(PreferenceLossConfig(method=method, mode=mode))

    def test_every_combination_of_parts_runs(self) -> None:
        slots = [[(slot, name) for name in choices] for slot, choices in PARTS.items()]
        batch = random_batch(rejected=2)
        for choice in product(*slots):
            options: dict[str, Any] = dict(choice)
            if options["margin"] != "none":
                if options["pair_loss"] == "kto_pair":
                    continue
                options["gamma_beta_ratio"] = 0.2
            loss = pairwise(**options)
            output = loss(batch, GapState(0.1, 2.0, 3, 3), Step(key=(0,)))
            assert output.loss.isfinite(), options

    def test_an_override_replaces_one_part(self) -> None:
        loss = pairwise(method="sdpo", reduction="dr", beta_prime=0.5)
        assert loss.pair_loss == Softmax() and loss.reduction == SoftMinimum(0.5)

    def test_the_margin_may_be_said_either_way(self) -> None:
        assert pairwise(method="simpo").margin == ConstantMargin(gamma_beta_ratio=0.5)
        assert pairwise(method="simpo", gamma=0.9).margin == ConstantMargin(gamma=0.9)
        assert pairwise(method="alpha_dpo", gamma=0.9).margin == AdaptiveMargin(0.1, gamma=0.9)

    def test_authors_mode_may_be_overridden(self) -> None:
        loss = pairwise(method="beta_dpo", mode="authors", scope="global")
        assert loss.statistics.ema == "authors" and loss.reduction.scope == "global"

    @pytest.mark.parametrize(
        ("method", "reference", "coupled"),
        [
            ("dpo", True, False),
            ("simpo", False, False),
            ("orpo", False, False),
            ("alpha_dpo", True, True),
            ("beta_dpo", True, True),
            ("dr_dpo", True, True),
            ("sdpo", True, False),
            ("kto", True, True),
            ("sft", False, False),
        ],
    )
    def test_what_a_trainer_must_know(self, method: Any, reference: bool, coupled: bool) -> None:
        loss = build_loss(PreferenceLossConfig(method=method))
        assert (loss.needs_reference, loss.couples_batch) == (reference, coupled)


def read(loss: PreferenceLossConfig) -> PreferenceLossConfig:
    """What a command gets."""
    return loss


class TestYaml:
    def test_command_line_and_file_give_the_same(self, tmp_path: Any) -> None:
        file = tmp_path / "loss.yaml"
        file.write_text("loss: {method: sdpo, reduction: dr, beta: 0.5}\n")
        words = ["--loss.method=sdpo", "--loss.reduction=dr", "--loss.beta=0.5"]
        for arguments in ([f"--config={file}"], words):
            assert auto_cli(read, args=arguments) == PreferenceLossConfig("sdpo", reduction="dr", beta=0.5)


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            pytest.param({"method": "ppo"}, "choose one of sft, dpo", id="method"),
            pytest.param({"mode": "paper"}, "'default' or 'authors'", id="mode"),
            pytest.param({"selector": "half"}, "selector='half' is not known", id="part"),
            pytest.param({"score": "log_loss"}, "choose one of log_ratio", id="score"),
            pytest.param({"alpha": 0.1}, "choose what reads it: margin: adaptive", id="alpha-of-dpo"),
            pytest.param(
                {"method": "sdpo", "label_smoothing": 0.1}, "pair_loss: logistic", id="smoothing-of-softmax"
            ),
            pytest.param({"momentum": 0.5}, "selector: gaussian", id="momentum-of-nothing"),
            pytest.param({"method": "sft", "beta": 0.1}, "beta='?0.1", id="beta-of-sft"),
            pytest.param(
                {"method": "kto", "margin": "none"}, "compares chosen with rejected", id="margin-of-kto"
            ),
            pytest.param({"desirable_weight": 2.0}, "method: kto", id="kto-weight-of-dpo"),
            pytest.param({"margin": "constant"}, "target margin once", id="margin-without-size"),
            pytest.param(
                {"method": "simpo", "gamma": 1.0, "gamma_beta_ratio": 1.0}, "once", id="margin-twice"
            ),
            pytest.param(
                {"method": "orpo", "length_normalize": False}, "length_normalize: true", id="odds-of-sums"
            ),
            pytest.param(
                {"method": "kto_pair", "margin": "constant", "gamma": 1.0}, "margin: none", id="kto-margin"
            ),
            pytest.param({"nll_on_prompt": True}, "set sft_weight", id="prompt-without-likelihood"),
            pytest.param({"sft_weight": -1.0}, "at least zero", id="negative-likelihood"),
            pytest.param(
                {"method": "alpha_dpo", "stats": "batch", "ema": "authors"},
                "stats: running",
                id="ema-of-batch",
            ),
            pytest.param({"beta": 0.0}, "above zero", id="beta-zero"),
            pytest.param({"method": "robust_dpo", "label_smoothing": 0.5}, "below 0.5", id="robust-half"),
            pytest.param({"method": "beta_dpo", "keep_ratio": 0.0}, "above 0", id="keep-none"),
            pytest.param({"method": "beta_dpo", "discrepancy": "x"}, "log_ratio", id="discrepancy"),
            pytest.param({"method": "alpha_dpo", "alpha_scale": "x"}, "'code' or 'paper'", id="alpha-scale"),
            pytest.param({"method": "sft", "sft_reduction": "mean"}, "token_mean", id="sft-reduction"),
        ],
    )
    def test_message_says_what_to_change(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            PreferenceLossConfig(**options)
