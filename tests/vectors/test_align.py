"""Preference losses, their gradients and their states against values computed by the authors' own code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from vector_files import assert_close, tensor

from align.gap_statistics import GapState
from align.loss_config import PreferenceLossConfig, build_loss
from align.losses import sft
from align.metrics import preference_metrics
from align.objective import LossOutput, PreferenceLoss, Step
from align.pair_losses import paired_kto
from align.preferences import Preferences
from align.ranks import SimulatedRanks
from align.scores import completion_scores
from moltc.backbone.logps import label_logps

Values = dict[str, Any]
Convert = Callable[[Any], Tensor]

OPTIONS = {
    # the files' word -> ours; "filter_ratio" only repeats what "rho" says
    "beta": "beta",
    "label_smoothing": "label_smoothing",
    "length_normalize": "length_normalize",
    "gamma_beta_ratio": "gamma_beta_ratio",
    "gamma": "gamma",
    "alpha": "alpha",
    "alpha_scale": "alpha_scale",
    "stats": "stats",
    "ema": "ema",
    "momentum": "momentum",
    "rho": "keep_ratio",
    "a": "beta_slope",
    "beta_min": "beta_min",
    "discrepancy": "discrepancy",
    "normalizer": "scope",
    "scope": "scope",
    "beta_prime": "beta_prime",
    "cpo_alpha": "sft_weight",
    "sft_weight": "sft_weight",
    "desirable_weight": "desirable_weight",
    "undesirable_weight": "undesirable_weight",
}


def test_double_precision(align_variant: tuple[Values, Values]) -> None:
    case, variant = align_variant
    for got, expected in outcomes(case, variant, in_double):
        assert_close(variant["method"], got, expected, rtol=1e-9)


def test_single_precision(align_variant: tuple[Values, Values]) -> None:
    """The same in float32, where rounding the inputs is part of the difference."""
    case, variant = align_variant
    single, rounded = outcomes(case, variant, in_single), outcomes(case, variant, rounded_to_single)
    for (got, expected), (exact, _) in zip(single, rounded, strict=True):
        assert_close(variant["method"], got, expected, rtol=2e-5, atol=1e-9, rounded=exact)


def in_double(value: Any) -> Tensor:
    return tensor(value, torch.float64)


def in_single(value: Any) -> Tensor:
    return tensor(value, torch.float32)


def rounded_to_single(value: Any) -> Tensor:
    return tensor(value, torch.float64, through=torch.float32)


def outcomes(case: Values, variant: Values, convert: Convert) -> list[tuple[Values, Values]]:
    """What we get and what the file says, for each batch or rank of a case."""
    expected = variant["outputs"]
    if variant["method"] == "token_logps":
        return [(token_logps(case["inputs"], convert), expected)]
    loss, state = build_loss(config_of(variant)), GapState(**variant.get("state_in", {}))
    if "ranks" in case:
        parts = [batch_of(part, convert) for part in case["ranks"]]
        return [
            replay(loss, variant, part, state, Step(ranks=SimulatedRanks(parts, rank)), wanted)[0]
            for rank, (part, wanted) in enumerate(zip(parts, expected["ranks"], strict=True))
        ]
    if "batches" not in case:
        return [replay(loss, variant, batch_of(case["inputs"], convert), state, Step(), expected)[0]]
    found = []
    for inputs, wanted in zip(case["batches"], expected, strict=True):
        pair, state = replay(loss, variant, batch_of(inputs, convert), state, Step(), wanted)
        found.append(pair)
    return found


def config_of(variant: Values) -> PreferenceLossConfig:
    """Our words for a variant; the authors' statistics, draws and scopes unless it says otherwise."""
    options: dict[str, Any] = {"mode": "authors"}
    given = dict(variant["hyperparameters"])
    if given.pop("reference_free", False):
        options["score"] = "log_prob"
    if not given.pop("include_nll", True):
        options["sft_weight"] = 0.0
    if "filter_ratio" in given:
        keep_ratio = 1 - given.pop("filter_ratio")
        assert given.setdefault("rho", keep_ratio) == pytest.approx(keep_ratio)
    unknown = given.keys() - OPTIONS.keys()
    assert not unknown, f"no replay for the options {sorted(unknown)}"
    options |= {OPTIONS[name]: value for name, value in given.items()}
    return PreferenceLossConfig(method=variant["method"], **options)


def batch_of(inputs: Values, convert: Convert) -> Preferences:
    """Log-probabilities of a case as one batch; the policy's carry a gradient."""
    values = {name: convert(value) for name, value in inputs.items()}
    if "policy" in values:
        policy = torch.stack([values["policy"], values["policy_kl"]], 1)
        reference = torch.stack([values["ref"], values["ref_kl"]], 1)
        return Preferences(
            policy.requires_grad_(), torch.ones_like(policy), reference, desirable=values["label"]
        )

    def side_by_side(chosen: str, rejected: str) -> Tensor:
        others = values[rejected]  # [B], or [K, B]
        return torch.cat([values[chosen][:, None], others.reshape(-1, others.shape[-1]).T], 1)

    policy = side_by_side("policy_chosen", "policy_rejected")
    lengths = (
        side_by_side("len_chosen", "len_rejected") if "len_chosen" in values else torch.ones_like(policy)
    )
    reference = side_by_side("ref_chosen", "ref_rejected") if "ref_chosen" in values else None
    return Preferences(policy.requires_grad_(), lengths, reference)


def replay(
    loss: PreferenceLoss, variant: Values, batch: Preferences, state: GapState, step: Step, expected: Values
) -> tuple[tuple[Values, Values], GapState]:
    """One batch: what the file tells of it, our values of that, and the state it leaves behind."""
    if "error" in expected:
        with pytest.raises((ValueError, RuntimeError)):
            loss(batch, state, replace(step, key=(0,)))
        return ({}, {}), state
    expected = dict(expected)
    selected = expected.pop("selected_mask_global", None)  # of all ranks; the draw itself is not portable
    if selected is not None:
        step = replace(step, selected=torch.tensor(selected, dtype=torch.bool))
    output = loss(batch, state, step)
    output.loss.backward()
    if step.selected is not None:
        assert torch.equal(output.kept, step.selected[step.ranks.join(batch).own])
    unknown = expected.keys() - READ.keys()
    assert not unknown, f"no replay of the outputs {sorted(unknown)}"
    got = {name: READ[name](variant, batch, output) for name in expected}
    return (got, expected), output.state


def gradient(batch: Preferences) -> Tensor:
    assert batch.policy.grad is not None
    return batch.policy.grad


def as_in_file(variant: Values, rejected: Tensor) -> Tensor:
    """Rejected completions ``[B, K]`` as the file has them: ``[K, B]`` for S-DPO, else ``[B]``."""
    if variant["method"] == "sdpo":
        return rejected.T
    return rejected if rejected.ndim == 1 else rejected[:, 0]


def losses(variant: Values, batch: Preferences, output: LossOutput) -> Tensor:
    if variant["method"] == "kto_pair":  # the chosen half, then the rejected half
        ratios = completion_scores(batch, "log_ratio", length_normalize=False)
        return paired_kto(ratios, variant["hyperparameters"]["beta"]).T.flatten()
    return output.per_example


def rejected_gradient(variant: Values, batch: Preferences, output: LossOutput) -> Tensor:
    return as_in_file(variant, gradient(batch)[:, 1:])


def log_odds_mean(variant: Values, batch: Preferences, output: LossOutput) -> Tensor:
    odds = completion_scores(batch, "log_odds", length_normalize=True)
    return (odds[:, 0] - odds[:, 1]).mean()


def accuracy(variant: Values, batch: Preferences, output: LossOutput) -> Tensor:
    """The file has it in single precision."""
    return torch.tensor(preference_metrics(output)["rewards/accuracies"].value(), dtype=torch.float32)


READ: dict[str, Callable[[Values, Preferences, LossOutput], Any]] = {
    "losses": losses,
    "loss": lambda variant, batch, output: output.loss,
    "chosen_rewards": lambda variant, batch, output: output.chosen_rewards,
    "rejected_rewards": lambda variant, batch, output: as_in_file(variant, output.rejected_rewards),
    "grad_policy_chosen": lambda variant, batch, output: gradient(batch)[:, 0],
    "grad_policy_rejected": rejected_gradient,
    "grad_policy": lambda variant, batch, output: gradient(batch)[:, 0],
    "nll": lambda variant, batch, output: output.gauges.get("loss/nll", 0.0),
    "log_odds_mean": log_odds_mean,
    "kl": lambda variant, batch, output: output.gauges["kl/reference_point"],
    "accuracy": accuracy,
    "weights": lambda variant, batch, output: output.weights,
    "margin_offset": lambda variant, batch, output: output.offset,
    "gap": lambda variant, batch, output: output.gap,
    "beta_used": lambda variant, batch, output: output.beta,
    "sampling_weight_local": lambda variant, batch, output: output.sampling_weights,
    "state_out": lambda variant, batch, output: {"mean": output.state.mean, "std": output.state.std},
}


def token_logps(inputs: Values, convert: Convert) -> Values:
    """The log-probability operator on given logits: hidden states under an identity head."""
    logits = convert(inputs["logits"]).requires_grad_()
    labels = torch.tensor(inputs["labels"])[:, 1:]  # logits at t predict the label at t + 1
    rows, places = (labels != -100).nonzero(as_tuple=True)
    head = torch.eye(logits.shape[-1], dtype=logits.dtype)
    logps = label_logps(logits[rows, places], head, labels[rows, places], chunk=2)
    sums = torch.zeros(len(labels), dtype=logps.dtype).index_add(0, rows, logps)
    lengths = torch.bincount(rows, minlength=len(labels))
    sums.backward(convert(inputs["upstream_grad"]))
    return {
        "sum_logps": sums,
        "avg_logps": sums / lengths,
        "lengths": lengths,
        "grad_logits": logits.grad,
        "sft_loss_sequence_sum": sft(sums, lengths, reduction="sequence_sum"),
        "sft_loss_token_mean": sft(sums, lengths),
    }
