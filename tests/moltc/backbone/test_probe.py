"""The trial at construction: what it says, and that it leaves no trace."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from tiny_models import ARCHITECTURES, build
from torch import nn
from transformers import AutoModelForCausalLM, MambaConfig

from moltc.backbone.language_model import LanguageModel, LanguageModelConfig
from moltc.backbone.probe import check_logits, evaluating, why_not_shared


def test_known_architectures_share(tokenizer: Any) -> None:
    assert why_not_shared(build("qwen3", tokenizer)) is None


def test_training_modes_come_back_one_by_one(tokenizer: Any) -> None:
    lm = build("llama", tokenizer).train()
    lm.decoder.layers[1].eval()
    before = [module.training for module in lm.modules()]
    assert len(set(before)) == 2
    check_logits(lm)
    assert why_not_shared(lm) is None
    assert [module.training for module in lm.modules()] == before


def test_training_modes_come_back_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train()
    seen: list[bool] = []

    def fail() -> None:
        with evaluating(model):
            seen.append(model[1].training)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [False]
    assert model.training
    assert model[1].training


def test_no_random_number_is_drawn_and_no_gradient_kept(tokenizer: Any) -> None:
    config = deepcopy(ARCHITECTURES["opt"])
    config.dropout = 0.5
    base = AutoModelForCausalLM.from_config(config).train()
    state = torch.get_rng_state()
    LanguageModel(LanguageModelConfig(name="opt"), base, tokenizer)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in base.parameters())


def test_a_model_without_data_is_not_run(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.device("meta"):
        base = AutoModelForCausalLM.from_config(deepcopy(ARCHITECTURES["llama"]))
    monkeypatch.setattr(type(base), "forward", lambda *_, **__: pytest.fail("the model was run"))
    lm = LanguageModel(LanguageModelConfig(name="llama"), base, tokenizer)
    assert lm.sharing == "shared"


def test_it_costs_a_few_tokens(tokenizer: Any) -> None:
    lm = build("llama", tokenizer)
    read: list[int] = []
    lm.decoder.register_forward_pre_hook(
        lambda _, __, given: read.append(given["inputs_embeds"].shape[:2].numel()), with_kwargs=True
    )
    why_not_shared(lm)
    assert len(read) == 2
    assert sum(read) < 32


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16], ids=["single", "brain", "half"]
)
def test_rounding_is_no_reason(tokenizer: Any, dtype: torch.dtype) -> None:
    lm = build("llama", tokenizer, dtype=dtype)
    assert lm.sharing == "shared"


def test_a_reason_is_given_in_words(tokenizer: Any) -> None:
    sizes = {
        "vocab_size": 320,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "state_size": 4,
        "time_step_rank": 4,
    }
    torch.manual_seed(0)
    mamba = AutoModelForCausalLM.from_config(MambaConfig(**sizes))
    lm = LanguageModel(LanguageModelConfig(name="mamba", sharing="expanded"), mamba, tokenizer)
    assert lm.sharing == "expanded"
    assert why_not_shared(lm).startswith(
        ("results differ", "its forward pass refuses a mask", "it has layers of")
    )


def test_layers_of_unknown_kinds_are_named(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = build("gemma3", tokenizer)
    monkeypatch.setattr(lm.hf_config, "layer_types", ["full_attention", "chunked_attention"])
    assert why_not_shared(lm) == "it has layers of type chunked_attention"
