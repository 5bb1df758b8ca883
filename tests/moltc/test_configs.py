"""Shipped configurations: each resolves, overlays change what they say, and those of published language
models train a step on random weights of the real width, cut down in depth and vocabulary."""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from tiny_pairs import callback, character_tokenizer, write_pairs
from transformers import OPTConfig, PreTrainedConfig, Qwen3Config

from moltc.cli import main

CONFIGS = Path(__file__).parents[2] / "configs/moltc"
OVERLAYS = ("ddp", "fsdp2", "deepspeed_2", "deepspeed_3", "qlora")
WHOLE = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem not in OVERLAYS)


def resolved(capsys, *names: str) -> dict:
    """The options that configuration files come to."""
    files = [f"--config={CONFIGS / name}.yaml" for name in names]
    with pytest.raises(SystemExit) as ended:
        main(["fit", *files, "--print_config"])
    assert ended.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize("name", WHOLE)
def test_every_shipped_configuration_resolves(capsys, name):
    """Promise: no option of a shipped file is unknown or impossible, and its header says how to run it."""
    config = resolved(capsys, name)
    assert config["trainer"]["default_root_dir"].startswith("runs/")
    header = (CONFIGS / f"{name}.yaml").read_text().split("\n\n")[0]
    assert "moltc fit" in header or "make demo" in header
    if "docs/results.md" in header:  # only what was run points there
        assert f"{name}.yaml" in (CONFIGS.parents[1] / "docs/results.md").read_text()


@pytest.mark.parametrize(
    ("overlay", "strategy"),
    [
        ("ddp", "ddp"),
        ("fsdp2", "fsdp2"),
        ("deepspeed_2", "deepspeed_stage_2"),
        ("deepspeed_3", "deepspeed_stage_3"),
    ],
)
def test_overlay_changes_the_strategy_alone(capsys, overlay, strategy):
    """Promise: every configuration runs under every strategy by one more file."""
    before, after = resolved(capsys, "galactica_125m_lora"), resolved(capsys, "galactica_125m_lora", overlay)
    assert after["trainer"]["strategy"] == strategy
    for config in (before, after):
        for key in ("strategy", "accelerator", "devices"):
            del config["trainer"][key]
    assert before == after


def test_qlora_is_an_overlay(capsys):
    config = resolved(capsys, "qwen3_1_7b_lora", "qlora")
    assert config["model"]["language_model"]["quantization"] == "4bit"
    assert config["model"]["language_model"]["training"] == "lora"


@pytest.mark.skipif(find_spec("deepspeed") is not None, reason="deepspeed is installed")
def test_deepspeed_that_is_missing_is_named(capsys):
    """Promise: without the package the command says so in one sentence."""
    files = [f"--config={CONFIGS / name}.yaml" for name in ("demo", "deepspeed_2")]
    assert main(["fit", *files, "--trainer.accelerator=cpu"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("moltc fit: ") and "you must have DeepSpeed installed" in error


# -- a step on the real architecture -------------------------------------------------------------------

GALACTICA = {"activation_function": "gelu", "enable_bias": False, "layer_norm_elementwise_affine": False}


def galactica(width: int, layers: int, heads: int, **tokens: int) -> OPTConfig:
    """Galactica's architecture: OPT without biases, GeLU, 2,048 positions."""
    return OPTConfig(
        hidden_size=width,
        word_embed_proj_dim=width,
        ffn_dim=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=2048,
        **GALACTICA,
        **tokens,
    )


def architecture(name: str, **tokens: int) -> PreTrainedConfig:
    """The architecture of a shipped configuration, with a small vocabulary."""
    if name == "galactica_125m_lora":
        return galactica(768, 12, 12, **tokens)
    if name == "galactica_1_3b_lora":
        return galactica(2048, 24, 32, **tokens)
    return Qwen3Config(
        hidden_size=2048,
        intermediate_size=6144,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=32768,
        tie_word_embeddings=True,
        **tokens,
    )


LORA = {  # rank times the sum of both widths of each adapted map of one layer
    "galactica_125m_lora": 16 * (4 * 2 * 768 + 2 * (768 + 3072)),
    "galactica_1_3b_lora": 16 * (4 * 2 * 2048 + 2 * (2048 + 8192)),
    "qwen3_1_7b_lora": 16 * (2 * 2 * 2048 + 2 * (2048 + 1024) + 3 * (2048 + 6144)),
}


@pytest.mark.parametrize("name", list(LORA))
def test_published_language_model_trains_a_step_at_its_real_width(tmp_path, name):
    """Promise: the shipped file builds its model and runs training and validation, here on random weights one
    layer deep and a Q-Former of two layers."""
    tokenizer = character_tokenizer()
    ids = {key: getattr(tokenizer, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    source = tmp_path / "model"
    architecture(name, vocab_size=len(tokenizer), **ids).save_pretrained(source)
    tokenizer.save_pretrained(source)
    options = {
        "model.language_model.name": source,
        "model.language_model.random_init": "true",
        "model.language_model.num_layers": 1,
        "model.towers.qformer.layers": 2,
        "model.decoding.max_reasoning_tokens": 2,
        "model.decoding.width": 2,
        "data.folder": write_pairs(tmp_path / "pairs", "solvation"),
        "data.batch_size": 2,
        "data.eval_batch_size": 1,
        "trainer.accelerator": "cpu",
        "trainer.default_root_dir": tmp_path / "run",
        "trainer.fast_dev_run": 1,
        "trainer.callbacks": callback("Described", folder=str(tmp_path)),
    }
    given = [f"--{key}={value}" for key, value in options.items()]
    assert main(["fit", f"--config={CONFIGS / name}.yaml", *given]) == 0
    found = json.loads((tmp_path / "described.json").read_text())
    assert found["trained"] == LORA[name]
    assert found["dtypes"] == ["torch.bfloat16"]
    assert found["moved"] > 0.5 and math.isfinite(found["loss"])
