"""Tiny random models of several architectures, built from configs: nothing is downloaded."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PreTrainedConfig,
    Qwen3Config,
)

from moltc.backbone.language_model import LanguageModel, LanguageModelConfig
from moltc.backbone.prompt import PromptTree, SlotRun

VOCABULARY = 320
COMMON = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GQA = {**COMMON, "intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 8}

ARCHITECTURES: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**GQA),
    "qwen3": Qwen3Config(**GQA),
    "opt": OPTConfig(**COMMON, ffn_dim=48, word_embed_proj_dim=32, max_position_embeddings=128, dropout=0.0),
    "gemma2": Gemma2Config(**GQA, sliding_window=6, query_pre_attn_scalar=8, attn_implementation="eager"),
    "gemma3": Gemma3TextConfig(
        **GQA, sliding_window=6, layer_types=["sliding_attention", "full_attention"], query_pre_attn_scalar=8
    ),
    "gpt-neox": GPTNeoXConfig(**COMMON, intermediate_size=48),
    "mistral": MistralConfig(**GQA, sliding_window=6),
}


def build(name: str, tokenizer, *, sharing="auto", dtype=torch.float32, **settings) -> LanguageModel:
    """A random language model of one architecture, weights large enough that differences show."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(deepcopy(ARCHITECTURES[name])).to(dtype)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(0.0, 0.25)
    model.eval()
    config = LanguageModelConfig(name=name, training="full", sharing=sharing, **settings)
    return LanguageModel(config, model, tokenizer)


class TableTower(nn.Module):
    """Soft tokens from a table: the smallest tower there is."""

    def __init__(self, keys: dict[str, int], queries: int, width: int) -> None:
        super().__init__()
        self.tables = nn.ModuleDict({k: nn.Embedding(n, queries * width) for k, n in keys.items()})
        self.queries, self.width = queries, width

    def forward(self, inputs: dict[str, torch.Tensor]) -> SimpleNamespace:
        soft = {k: self.tables[k](i).view(-1, self.queries, self.width) for k, i in inputs.items()}
        return SimpleNamespace(soft_tokens=soft)


def tower_inputs(packed) -> dict[str, torch.Tensor]:
    return {key: torch.tensor(entities) for key, entities in packed.entities.items()}


def random_trees(seed: int = 0, counts=(2, 1, 3, 16, 1)) -> list[PromptTree]:
    """Trees with ragged K, one-token completions, soft runs of two towers, and one plain prompt."""
    rng = np.random.default_rng(seed)
    trees = []
    for b, k in enumerate(counts):
        prompt = rng.integers(0, VOCABULARY, size=int(rng.integers(11, 20)))
        slots = (SlotRun(1, 3, "drug", int(rng.integers(3))), SlotRun(6, 3, "solvent", int(rng.integers(3))))
        completions = tuple(rng.integers(0, VOCABULARY, size=int(n)) for n in rng.integers(1, 7, size=k))
        trees.append(PromptTree(prompt, completions, () if b == 1 else slots))
    return trees
