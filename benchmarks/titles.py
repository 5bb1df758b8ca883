"""Invented catalogues of titles and language models with random weights that read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from graphrec.language.network import ItemLanguageModel, Reading
from graphrec.language.tokenizer import catalogue_tokenizer
from graphrec.language.towers import ItemTower
from moltc.backbone.language_model import LanguageModel, LanguageModelConfig

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 176},
    "wide": {"hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "intermediate_size": 2048},
}
SYLLABLES = ("ka", "lo", "mi", "ren", "su", "ta", "vor", "wen", "yo", "zel", "bra", "den")
VECTOR_WIDTH = 64


def invented_titles(count: int, *, seed: int = 0) -> list[str]:
    """Distinct titles of one to four words, some of which share words."""
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(SYLLABLES, rng.integers(2, 4))) for _ in range(count)]
    names: dict[str, None] = {}
    while len(names) < count:
        names[" ".join(rng.choice(words, rng.integers(1, 5)))] = None
    return list(names)


def network(size: str, names: list[str], device: str, dtype: torch.dtype) -> ItemLanguageModel:
    """A Llama with random weights, a vocabulary of the titles' words, and random item vectors."""
    tokenizer = catalogue_tokenizer(names, [","])
    config = LlamaConfig(**SIZES[size], max_position_embeddings=4096, vocab_size=len(tokenizer))
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(config, dtype=dtype)
    language_model = LanguageModel(LanguageModelConfig(name="random Llama"), base, tokenizer)
    tower = ItemTower(len(names), VECTOR_WIDTH, config.hidden_size)
    tower.vectors.normal_()
    return ItemLanguageModel(language_model, tower, names, Reading()).to(device).eval()
