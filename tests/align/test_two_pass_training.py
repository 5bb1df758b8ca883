"""The gradient of an optimiser step does not depend on how the step is cut into micro-batches."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from tiny_preferences import batch, moved, policy

from align.accumulation import Gradients
from align.gap_statistics import FRESH, GapState
from align.loss_config import PreferenceLossConfig, build_loss
from align.objective import LossOutput, Step
from align.policy import Policy
from align.reference import FrozenCopy
from moltc.backbone.language_model import LanguageModelConfig, TinyConfig

STEP = Step(key=(0, 3))
STATE = GapState(mean=0.4, std=0.9, updates=2, std_updates=2)
RAGGED = (2, 4, 3, 2, 6, 2, 3, 2)
CASES = {
    "sft": PreferenceLossConfig(method="sft"),
    "dpo": PreferenceLossConfig(),
    "cpo-with-likelihood": PreferenceLossConfig(method="cpo"),
    "orpo-prompt-likelihood": PreferenceLossConfig(method="orpo", nll_on_prompt=True),
    "kto-pair": PreferenceLossConfig(method="kto_pair"),
    "alpha-dpo": PreferenceLossConfig(method="alpha_dpo"),
    "beta-dpo": PreferenceLossConfig(method="beta_dpo", keep_ratio=0.5),
    "dr-dpo": PreferenceLossConfig(method="dr_dpo"),
    "sdpo": PreferenceLossConfig(method="sdpo"),
    "sdpo-dr": PreferenceLossConfig(method="sdpo", reduction="dr"),
    "simpo-selected": PreferenceLossConfig(method="simpo", selector="gaussian"),
    "kto": PreferenceLossConfig(method="kto"),
}


@pytest.fixture(scope="module")
def start() -> Policy:
    return policy()


def trainee(start: Policy, config: PreferenceLossConfig) -> tuple[Policy, FrozenCopy]:
    """A policy that has moved away from its reference."""
    made = deepcopy(start)
    made.on_prompt = bool(config.nll_on_prompt)
    reference = FrozenCopy(made)
    return moved(made), reference


def step(
    start: Policy, config: PreferenceLossConfig, micro: int | None
) -> tuple[LossOutput, dict[str, torch.Tensor]]:
    """Loss and gradients of one optimiser step cut into micro-batches of at most ``micro`` rows."""
    made, reference = trainee(start, config)
    loss = build_loss(config)
    counts = RAGGED if config.method == "sdpo" else (2,) * 8
    parts = list(batch(made, counts, unpaired=config.method == "kto").cut(micro, made.pack))
    gradients = Gradients(loss, made, reference if loss.needs_reference else None)
    output = gradients.accumulate(parts, STATE, STEP)
    return output, {name: p.grad for name, p in made.named_parameters() if p.grad is not None}


def assert_same_gradients(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    scale = max(float(gradient.abs().max()) for gradient in wanted.values())
    assert scale > 0
    for parameter, gradient in wanted.items():
        torch.testing.assert_close(found[parameter], gradient, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("micro", [4, 3, 1], ids=["two-of-four", "uneven-thirds", "one-by-one"])
@pytest.mark.parametrize("name", CASES)
def test_accumulation_changes_nothing(start: Policy, name: str, micro: int) -> None:
    """Promise: 1 x 8, 2 x 4 and 8 x 1 give the same loss, gradients and statistics."""
    expected, wanted = step(start, CASES[name], None)
    output, found = step(start, CASES[name], micro)
    torch.testing.assert_close(output.loss, expected.loss, rtol=1e-5, atol=1e-6)
    assert output.state == pytest.approx(expected.state, rel=1e-5)
    torch.testing.assert_close(output.kept, expected.kept)
    assert_same_gradients(found, wanted)


def test_a_step_equals_automatic_differentiation_of_the_plain_loss(start: Policy) -> None:
    """Promise: cut or not, a step is the textbook loss of rows scored one by one."""
    made, reference = trainee(start, CASES["dpo"])
    whole = batch(made)
    gaps = []
    for place in range(len(whole)):
        part = whole.take(np.array([place]), made.pack)
        ratios = made.score(part).logps - reference(part)
        gaps.append(ratios[0] - ratios[1])
    plain = torch.nn.functional.softplus(-0.1 * torch.stack(gaps)).mean()
    names, parameters = zip(*made.named_parameters(), strict=True)
    wanted = dict(zip(names, torch.autograd.grad(plain, parameters), strict=True))
    output, found = step(start, CASES["dpo"], 2)
    torch.testing.assert_close(output.loss, plain.detach(), rtol=1e-5, atol=1e-6)
    assert_same_gradients(found, wanted)


def test_rows_that_were_not_selected_are_not_computed_again(
    start: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: what beta-DPO filters out is skipped in the second pass."""
    made, reference = trainee(start, CASES["beta-dpo"])
    scored: list[int] = []
    original = Policy.preferences

    def counting(self, part, ref_logps=None):
        if torch.is_grad_enabled():
            scored.append(len(part))
        return original(self, part, ref_logps)

    monkeypatch.setattr(Policy, "preferences", counting)
    parts = list(batch(made).cut(2, made.pack))
    output = Gradients(build_loss(CASES["beta-dpo"]), made, reference).accumulate(parts, FRESH, STEP)
    assert int(output.kept.sum()) == 4
    assert sum(scored) == 4


def test_dropout_repeats_in_the_second_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: where dropout is asked for, both passes see the same noise."""
    made = policy(LanguageModelConfig(tiny=TinyConfig(hidden=32, layers=2, heads=2, ffn=48, dropout=0.3)))
    made.train()
    seen: list[torch.Tensor] = []
    original = Policy.preferences

    def recording(self, part, ref_logps=None):
        scored = original(self, part, ref_logps)
        seen.append(scored.policy.detach())
        return scored

    def noise(number: int) -> None:
        torch.manual_seed(number)

    monkeypatch.setattr(Policy, "preferences", recording)
    loss = build_loss(PreferenceLossConfig(method="simpo", reduction="dr"))
    Gradients(loss, made, noise=noise).accumulate(list(batch(made).cut(4, made.pack)), FRESH, STEP)
    assert len(seen) == 4
    torch.testing.assert_close(seen[2:], seen[:2], rtol=0, atol=0)
    made.eval()
    quiet = original(made, next(batch(made).cut(4, made.pack)))
    assert not torch.allclose(quiet.policy, seen[0])


def test_prompt_tokens_are_scored_as_a_completion_would_be(start: Policy) -> None:
    """The likelihood of a prompt equals that of its tail as the completion of its first token."""
    made = deepcopy(start)
    made.on_prompt = True
    whole = batch(made)
    found = made.preferences(whole)
    assert found.prompt_logps is not None and found.prompt_lengths is not None
    for place, tree in enumerate(whole.trees):
        tail = type(tree)(tree.prompt_ids[:1], (tree.prompt_ids[1:],))
        expected = made.model.logps([tail])
        torch.testing.assert_close(found.prompt_logps[place], expected.logps[0], rtol=1e-5, atol=1e-5)
        assert int(found.prompt_lengths[place]) == len(tree.prompt_ids) - 1
