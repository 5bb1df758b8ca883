"""Small models of the kind that tasks build, to be saved and loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny_models import TableTower, random_trees, tower_inputs
from torch import nn

from moltc.backbone.checkpoint import load_language_model, load_weights, read_config, save_model
from moltc.backbone.language_model import LanguageModel, LanguageModelConfig, LoraSettings, TinyConfig
from moltc.backbone.prompt import PromptTree
from moltc.backbone.soft_prompt_lm import SoftPromptLM

TINY = LanguageModelConfig(tiny=TinyConfig(hidden=32, layers=2, heads=2, ffn=48))
KIND = "test"


class Reader(nn.Module):
    """A model of the kind that tasks build: towers and a language model under names of its own."""

    def __init__(self, language_model: LanguageModel) -> None:
        super().__init__()
        towers = TableTower({"drug": 10, "solvent": 10}, 3, language_model.hidden_size)
        self.lm = SoftPromptLM(language_model, towers)

    def logps(self) -> torch.Tensor:
        trees = [
            PromptTree(t.prompt_ids % 90, tuple(c % 90 for c in t.completions), t.slots)
            for t in random_trees(counts=(2, 1, 3))
        ]
        packed = self.lm.pack(trees)
        with torch.no_grad():
            return self.lm(packed, tower_inputs(packed)).logps


def built(config: LanguageModelConfig, tokenizer: Any, seed: int = 0) -> Reader:
    """A model whose weights, adapters too, are all different from their initial values."""
    torch.manual_seed(seed)
    model = Reader(LanguageModel.from_config(config, tokenizer if config.is_tiny else None))
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(torch.randn_like(p), alpha=0.2)
    return model.eval()


def saved(model: Reader, folder: Path) -> Path:
    save_model(folder, model, model.lm.language_model, kind=KIND, settings={"answer": 42}, card="a card")
    return folder


def loaded(folder: Path) -> Reader:
    config = read_config(folder, kind=KIND)
    model = Reader(load_language_model(folder, config))
    load_weights(folder, model, model.lm.language_model)
    return model.eval()


def lora_config(name: str, **settings: Any) -> LanguageModelConfig:
    """A small adapter on the base model of a folder."""
    return LanguageModelConfig(
        name=name,
        training="lora",
        lora=LoraSettings(r=2, alpha=4, target_modules=("q_proj", "up_proj")),
        **settings,
    )


def change_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Edit the config of a saved model, which no hash guards."""
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
