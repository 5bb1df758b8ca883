"""Where reference log-probabilities come from, and that asking for them leaves the policy as it was."""

from __future__ import annotations

import pytest
import torch
from tiny_preferences import TINY, batch, lora, moved, policy, write_llama

from align.policy import Policy
from align.reference import FrozenCopy, ReferenceConfig, SecondModel, WithoutAdapter, evaluating
from align.reference_setup import build_reference
from moltc.backbone.language_model import LanguageModelConfig


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_llama(tmp_path_factory.mktemp("llama"))


def weights(made: Policy) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in made.named_parameters()}


def assert_untouched(made: Policy, before: dict[str, torch.Tensor]) -> None:
    for name, parameter in made.named_parameters():
        assert torch.equal(parameter, before[name]), name


@pytest.mark.parametrize("kind", ["adapter-off", "adapter-copy", "full-copy"])
def test_reference_keeps_saying_what_the_start_said(kind: str, llama: str) -> None:
    """Promise: however far the policy moves, its reference stays, and asking changes nothing."""
    made = policy(TINY if kind == "full-copy" else lora(llama))
    if kind == "adapter-copy":  # an adapter that has learnt something already
        moved(made, 0.3)
    examples = batch(made)
    start = made.score(examples).logps.detach()
    reference = WithoutAdapter(made) if kind == "adapter-off" else FrozenCopy(made)
    torch.testing.assert_close(reference(examples), start, rtol=0, atol=0)
    moved(made, 0.1)
    before, trained = weights(made), [n for n, p in made.named_parameters() if p.requires_grad]
    assert not torch.allclose(made.score(examples).logps, start, rtol=1e-3)
    torch.testing.assert_close(reference(examples), start, rtol=0, atol=0)
    assert not reference(examples).requires_grad
    assert_untouched(made, before)
    assert [n for n, p in made.named_parameters() if p.requires_grad] == trained


def test_gradients_after_asking_are_those_without_asking(llama: str) -> None:
    """Promise: the swap of weights cannot be seen by back-propagation."""
    made = moved(policy(lora(llama)), 0.1)
    examples, reference = batch(made), FrozenCopy(made)
    moved(made, 0.1)
    made.score(examples).logps.sum().backward()
    wanted = {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}
    made.zero_grad()
    reference(examples)
    scored = made.score(examples).logps
    reference(examples)
    scored.sum().backward()
    for name, parameter in made.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, wanted[name], rtol=0, atol=0)


def test_reference_is_scored_without_dropout(llama: str) -> None:
    made = moved(policy(lora(llama)), 0.3)
    examples, reference = batch(made), FrozenCopy(made)
    quiet = reference(examples)
    made.train()
    torch.testing.assert_close(reference(examples), quiet, rtol=0, atol=0)
    assert made.language_model.training


def test_second_model_is_another_model(llama: str) -> None:
    made = policy(lora(llama))
    other = policy(LanguageModelConfig(name=llama), seed=3).model
    examples = batch(made)
    expected = other.score(examples.packed).logps
    reference = SecondModel(other, made)
    torch.testing.assert_close(reference(examples), expected.detach(), rtol=0, atol=0)
    assert not any(p.requires_grad for p in other.parameters())


def test_second_model_with_other_tokens_is_refused(llama: str) -> None:
    tiny = policy(LanguageModelConfig(tiny=TINY.tiny), seed=1)
    tiny.language_model.tokenizer.add_tokens(["another"])
    with pytest.raises(ValueError, match="another tokenizer"):
        SecondModel(tiny.model, policy(lora(llama)))


def test_auto_takes_the_base_under_a_fresh_adapter_only(llama: str) -> None:
    adapted, full = policy(lora(llama)), policy()
    chosen = [
        build_reference(ReferenceConfig(), made, continued=continued, cache=None)
        for made, continued in ((adapted, False), (adapted, True), (full, False))
    ]
    assert [type(reference) for reference in chosen] == [WithoutAdapter, FrozenCopy, FrozenCopy]


def test_base_needs_an_adapter() -> None:
    with pytest.raises(ValueError, match="train with lora"):
        WithoutAdapter(policy())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"source": "model"}, "reference.name", id="model-without-name"),
        pytest.param({"name": "x"}, "reference.name", id="name-without-model"),
        pytest.param({"file": "x", "cached": False}, "reference.file", id="file-without-cache"),
        pytest.param({"source": "copy"}, "not known", id="unknown-source"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReferenceConfig(**options)


def test_evaluating_gives_each_part_its_mode_back() -> None:
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Sequential(torch.nn.Dropout()))
    model[1].eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == [True, True, False, False]
