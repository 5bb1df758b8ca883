"""Folders that are not whole, or do not fit, are refused with what is wrong and what to do about it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from saved_models import TINY, built, change_config, loaded
from transformers import AutoModelForCausalLM, LlamaConfig

from moltc.backbone.checkpoint import CheckpointError, language_model_config, load_weights, own_state
from moltc.backbone.language_model import LanguageModel


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))


class TestRefusals:
    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (
                lambda f: (f / "config.json").unlink(),
                r"no saved model in .*config\.json is missing.*export it again",
            ),
            (
                lambda f: (f / "model.safetensors").unlink(),
                r"incomplete: model\.safetensors is missing; copy the whole",
            ),
            (lambda f: shutil.rmtree(f / "tokenizer"), r"incomplete: tokenizer/.* is missing"),
            (lambda f: cut(f / "model.safetensors"), r"model\.safetensors is not the file that was saved"),
            (lambda f: flip(f / "model.safetensors"), r"model\.safetensors is not the file that was saved"),
            (lambda f: cut(f / "config.json"), r"not valid JSON .*export the model again"),
            (lambda f: (f / "config.json").write_bytes(b"\xff\xfe{"), "not valid JSON"),
            (lambda f: (f / "config.json").write_text("[1]"), "not a JSON object"),
            (
                lambda f: change_config(f, lambda c: c.update(format=2)),
                r"its format is 2, readable is 1\); update",
            ),
            (lambda f: change_config(f, lambda c: c.pop("format")), "not written by this version"),
            (
                lambda f: change_config(f, lambda c: c.update(kind="other")),
                "holds a other model, expected test",
            ),
            (
                lambda f: change_config(f, lambda c: c["language_model"].update(width=3)),
                "settings cannot be read here.*width",
            ),
        ],
        ids=[
            "no-config",
            "no-weights",
            "no-tokenizer",
            "truncated-weights",
            "altered-weights",
            "truncated-config",
            "config-of-bytes",
            "config-of-a-list",
            "newer-format",
            "no-format",
            "other-kind",
            "unknown-setting",
        ],
    )
    def test_a_spoilt_folder(self, export: Path, spoil: Callable[[Path], Any], message: str) -> None:
        loaded(export)
        spoil(export)
        with pytest.raises(CheckpointError, match=message):
            loaded(export)

    def test_a_missing_adapter(self, lora_export: Path) -> None:
        shutil.rmtree(lora_export / "adapter")
        with pytest.raises(CheckpointError, match="the adapter, without which the base model would answer"):
            loaded(lora_export)

    def test_an_adapter_that_was_never_listed(self, lora_export: Path) -> None:
        shutil.rmtree(lora_export / "adapter")
        change_config(
            lora_export, lambda c: c.update(files={k: v for k, v in c["files"].items() if "adapter" not in k})
        )
        with pytest.raises(CheckpointError, match="has no adapter"):
            loaded(lora_export)

    def test_a_base_model_of_another_size(self, lora_export: Path) -> None:
        base = lora_export.parent / "base"
        hf = LlamaConfig.from_pretrained(base)
        hf.hidden_size = 16
        AutoModelForCausalLM.from_config(hf).save_pretrained(base)
        with pytest.raises(
            CheckpointError, match=r"adapter in .* does not fit .*base: .*has shape \[2, 32\]"
        ):
            loaded(lora_export)

    def test_a_base_model_of_another_depth(self, lora_export: Path) -> None:
        base = lora_export.parent / "base"
        hf = LlamaConfig.from_pretrained(base)
        hf.num_hidden_layers = 3
        AutoModelForCausalLM.from_config(hf).save_pretrained(base)
        with pytest.raises(CheckpointError, match="does not fit .*missing .*layers.2"):
            loaded(lora_export)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda s: s.popitem(), "missing"),
            (lambda s: s.update(more=torch.zeros(1)), "unexpected .'more'"),
            (lambda s: s.update({k: v[:-1].clone() for k, v in s.items()}), r"has shape \["),
        ],
        ids=["missing", "unexpected", "shape"],
    )
    def test_weights_of_another_model(
        self, export: Path, change: Callable[[dict[str, torch.Tensor]], Any], message: str
    ) -> None:
        model = loaded(export)
        before = model.logps()
        state = load_file(export / "model.safetensors")
        change(state)
        save_file(state, export / "model.safetensors")
        with pytest.raises(CheckpointError, match=f"does not fit this model: .*{message}"):
            load_weights(export, model, model.lm.language_model)
        assert torch.equal(model.logps(), before)

    def test_settings_of_another_version(self) -> None:
        with pytest.raises(CheckpointError, match="cannot be read here"):
            language_model_config({"name": "tiny"})

    def test_a_language_model_from_elsewhere(self, tokenizer: Any) -> None:
        with pytest.raises(ValueError, match="not a part of this Reader"):
            own_state(built(TINY, tokenizer), LanguageModel.from_config(TINY, tokenizer))
