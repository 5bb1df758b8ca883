"""BIGRec on a pre-trained architecture with LoRA, cut down and random, as the published settings run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, LlamaConfig

from graphrec.bigrec.config import BigRecConfig
from graphrec.bigrec.prompt import bigrec_prompt
from graphrec.bigrec.recommender import BigRec
from graphrec.configuration import fit_parser, model_config
from graphrec.data import RecommendationData
from graphrec.histories import Histories
from graphrec.recommender import Recommender
from graphrec.trainer import TrainerConfig
from moltc.backbone.tokenizer import train_tokenizer

CONFIG = Path(__file__).parents[3] / "configs" / "graphrec" / "bigrec_llama_7b.yaml"
HISTORIES = Histories.from_lists([[3, 4, 5], [], [7, 7, 1]])


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory, walked: RecommendationData) -> Path:
    """A folder with a Llama of a few thousand random weights, as one with a pre-trained Llama looks."""
    folder = tmp_path_factory.mktemp("llama")
    titles = [str(title) for title in walked.catalogue.titles]
    tokenizer = train_tokenizer([*titles, bigrec_prompt(titles[:3], "films")], vocab_size=320)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def shipped(llama: Path, **others: Any) -> BigRecConfig:
    """The shipped settings with a model that a test can hold."""
    parser = fit_parser("bigrec", str(yaml.safe_load(CONFIG.read_text())["model"].get("preset", "default")))
    options = parser.parse_args(["--config", str(CONFIG), "--model.pretrained", str(llama)])
    small = {"dtype": "float32", "samples": 24, "batch_size": 8, "most_tokens": 6}
    return replace(model_config(options), **{**small, **others})


def fit(config: BigRecConfig, data: RecommendationData) -> BigRec:
    model = BigRec(config)
    model.fit(data, trainer=TrainerConfig(max_steps=3, max_epochs=1, validate_every=0))
    return model


def test_the_shipped_settings_are_the_published_ones(llama: Path) -> None:
    reference, found = BigRecConfig.reference(), shipped(llama, samples=65_536, batch_size=128)
    for name in (
        "layout",
        "lora_rank",
        "lora_alpha",
        "lora_dropout",
        "lora_targets",
        "samples",
        "batch_size",
        "lr",
    ):
        assert getattr(found, name) == getattr(reference, name), name


def test_dry_run_on_random_weights(llama: Path, walked: RecommendationData, tmp_path: Path) -> None:
    model = fit(shipped(llama, random_init=True, num_layers=1), walked)
    assert model.network.language_model.describe()["type"] == "llama"
    model.save_pretrained(tmp_path / "export")
    loaded = Recommender.from_pretrained(tmp_path / "export")
    np.testing.assert_array_equal(loaded.scores(HISTORIES), model.scores(HISTORIES))


def test_an_export_holds_the_adapter_and_no_base_weights(
    llama: Path, walked: RecommendationData, tmp_path: Path
) -> None:
    model = fit(shipped(llama), walked)
    model.save_pretrained(tmp_path / "export")
    arrays = load_file(tmp_path / "export" / "model.safetensors")
    assert {name.rsplit(".", 2)[0].rsplit(".", 1)[-1] for name in arrays if "lora_" in name} == {
        "lora_A",
        "lora_B",
    }
    assert not [name for name in arrays if "embed_tokens" in name]
    loaded = Recommender.from_pretrained(tmp_path / "export")
    np.testing.assert_array_equal(loaded.scores(HISTORIES), model.scores(HISTORIES))


def test_titles_are_embedded_by_the_base_model(llama: Path, walked: RecommendationData) -> None:
    config = shipped(llama, lr=0.5, warmup_steps=0)
    trained, fresh = fit(config, walked), BigRec(config)
    fresh.start(walked.catalogue, seed=0)
    assert all(module.training for module in fresh.network.modules())  # so that adapters drop features
    torch.testing.assert_close(trained.table.vectors, fresh.table.vectors)
    tree = trained.prompts.sample([3, 4], 5)
    changed = [model.network.log_probs([tree]).logps.item() for model in (trained, fresh)]
    assert changed[0] != pytest.approx(changed[1], rel=1e-3)
