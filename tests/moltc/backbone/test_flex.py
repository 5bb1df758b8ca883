"""FlexAttention on a packed batch equals dense masks.

The kernels are not compiled here: torch runs the same block masks by plain operations. Gradients need a GPU.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from tiny_models import ARCHITECTURES, TableTower, random_trees, tower_inputs
from torch.nn.attention.flex_attention import create_block_mask
from transformers import AutoModelForCausalLM

from moltc.backbone.decoding import CachedSession
from moltc.backbone.flex import block_mask, mask_mod
from moltc.backbone.language_model import LanguageModel, LanguageModelConfig
from moltc.backbone.packing import attend, pack
from moltc.backbone.soft_prompt_lm import SoftPromptLM


@pytest.fixture(autouse=True)
def uncompiled() -> Any:
    """Run FlexAttention by plain operations."""
    with torch.compiler.set_stance("force_eager"):
        yield


def build(name: str, attention: Any, tokenizer: Any, device: str = "cpu") -> SoftPromptLM:
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(deepcopy(ARCHITECTURES[name]), attn_implementation=attention)
    lm = LanguageModel(LanguageModelConfig(name=name, attention=attention), base, tokenizer)
    return SoftPromptLM(lm, TableTower({"drug": 10, "solvent": 10}, 3, lm.hidden_size)).to(device).eval()


@pytest.mark.parametrize("name", ["llama", "opt", "gemma2", "gemma3", "mistral"])
def test_packed_rows_equal_dense_masks(name: str, tokenizer: Any) -> None:
    packed = pack(random_trees(), row_tokens=130)
    assert not packed.causal
    results = []
    for attention in ("eager", "flex_attention"):
        model = build(name, attention, tokenizer)
        assert model.language_model.sharing == "shared"
        assert model.language_model.causal_lm.config._attn_implementation == attention
        with torch.no_grad():
            results.append(model(packed, tower_inputs(packed)).logps)
    torch.testing.assert_close(results[1], results[0], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_decoding_equals_dense_masks(tokenizer: Any) -> None:
    trees = random_trees(counts=(0, 0))
    sessions = []
    for attention in ("eager", "flex_attention"):
        model = build("gemma3", attention, tokenizer)
        sessions.append(CachedSession(model, trees, model.encode(tower_inputs(pack(trees)))))
    tokens, parent = torch.arange(6).view(2, 3), torch.zeros(2, 3, dtype=torch.long)
    for _ in range(3):
        dense, flex = (session.step(tokens, parent) for session in sessions)
        torch.testing.assert_close(flex, dense, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [None, 3], ids=["full", "sliding"])
def test_blocks_hold_the_written_rule(window: int | None) -> None:
    packed = pack(random_trees(), row_tokens=300)
    rows, length = packed.tree.shape
    mask = block_mask(packed, window)
    every = [torch.arange(n) for n in (rows, length, length)]
    row, query, key = torch.meshgrid(*every, indexing="ij")
    assert torch.equal(mask.mask_mod(row, torch.tensor(0), query, key), attend(packed, window))
    blocks = torch.nn.functional.pad(attend(packed, window), (0, -length % 128, 0, -length % 128))
    needed = blocks.unflatten(1, (-1, 128)).unflatten(3, (-1, 128)).any(dim=(2, 4))
    assert torch.equal(mask.to_dense()[:, 0].bool(), needed)


def test_one_compiled_function_makes_every_mask() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(create_block_mask, backend="eager")
    with torch.compiler.set_stance("default"), torch._dynamo.config.patch(recompile_limit=2):
        for seed, row_tokens in enumerate((130, 150, 301, 700)):
            packed = pack(random_trees(seed), row_tokens=row_tokens)
            rows, length = packed.tree.shape
            mask = compiled(mask_mod(packed), rows, None, length, length, device="cpu")
            assert torch.equal(mask.to_dense(), block_mask(packed).to_dense())
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gradients_on_a_gpu_equal_dense_masks(tokenizer: Any) -> None:
    gradients = []
    packed = pack(random_trees(), row_tokens=130).to("cuda")
    inputs = {key: value.to("cuda") for key, value in tower_inputs(packed).items()}
    for attention in ("eager", "flex_attention"):
        with torch.compiler.set_stance("default"):
            model = build("llama", attention, tokenizer, "cuda")
            model(packed, inputs).logps.sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for flex, dense in zip(*gradients, strict=True):
        torch.testing.assert_close(flex, dense, rtol=1e-3, atol=1e-3)
