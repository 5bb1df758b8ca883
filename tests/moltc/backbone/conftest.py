"""Fixtures of the backbone tests."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from saved_models import TINY, built, lora_config, saved
from tiny_models import TableTower, build

from moltc.backbone.soft_prompt_lm import SoftPromptLM
from moltc.backbone.tokenizer import train_tokenizer


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer(["a prompt, then an answer: 0123456789 +-.", "yes no"], vocab_size=300)


@pytest.fixture
def soft_model(request, tokenizer) -> SoftPromptLM:
    """A random model of the architecture named by the parameter, with two table towers of 3 soft tokens."""
    lm = build(request.param, tokenizer)
    torch.manual_seed(1)
    return SoftPromptLM(lm, TableTower({"drug": 10, "solvent": 10}, 3, lm.hidden_size)).eval()


@pytest.fixture
def export(tokenizer: Any, tmp_path: Path) -> Path:
    """A saved tiny model."""
    return saved(built(TINY, tokenizer), tmp_path / "export")


@pytest.fixture
def lora_export(llama: str, tmp_path: Path) -> Path:
    """A saved adapter on a base model in the folder ``base``."""
    shutil.copytree(llama, tmp_path / "base")
    return saved(built(lora_config(str(tmp_path / "base")), None), tmp_path / "export")
