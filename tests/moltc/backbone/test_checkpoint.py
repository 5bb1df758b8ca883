"""Saved models come back exactly, and are written whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from saved_models import KIND, TINY, built, change_config, loaded, lora_config, saved
from tiny_models import random_trees
from transformers import AutoModelForCausalLM, OPTConfig

from moltc.backbone import checkpoint
from moltc.backbone.checkpoint import (
    CheckpointError,
    atomic_folder,
    load_text_model,
    own_state,
    read_config,
    saved_kind,
)
from moltc.backbone.language_model import LanguageModelConfig, LoraSettings
from moltc.backbone.prompt import PromptTree
from moltc.backbone.soft_prompt_lm import SoftPromptLM


class TestRoundTrip:
    @pytest.mark.parametrize(
        "settings",
        [
            {"training": "full"},
            {"training": "frozen"},
            {"training": "lora", "lora": LoraSettings(r=2, target_modules=("q_proj", "down_proj"))},
            {"training": "lora", "lora": LoraSettings(r=2), "random_init": True, "num_layers": 1},
            {"training": "lora", "lora": LoraSettings(r=2), "dtype": "bfloat16"},
            {"training": "full", "dtype": "bfloat16"},
        ],
        ids=["full", "frozen", "lora", "lora-on-random", "lora-on-bfloat16", "full-bfloat16"],
    )
    def test_answers_are_the_same(self, llama: str, settings: dict[str, Any], tmp_path: Path) -> None:
        model = built(LanguageModelConfig(name=llama, **settings), None)
        folder = saved(model, tmp_path / "export")
        torch.manual_seed(9)
        again = loaded(folder)
        assert again.lm.language_model.config == model.lm.language_model.config
        assert torch.equal(again.logps(), model.logps())
        assert not torch.equal(built(model.lm.language_model.config, None, seed=5).logps(), model.logps())

    def test_the_tiny_model(self, tokenizer: Any, tmp_path: Path) -> None:
        model = built(TINY, tokenizer)
        again = loaded(saved(model, tmp_path / "export"))
        assert torch.equal(again.logps(), model.logps())
        assert again.lm.language_model.tokenizer.get_vocab() == tokenizer.get_vocab()

    def test_tied_embeddings(self, tokenizer: Any, tmp_path: Path) -> None:
        sizes = {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 1, "ffn_dim": 48}
        config = OPTConfig(**sizes, num_attention_heads=4, word_embed_proj_dim=32, max_position_embeddings=64)
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "opt")
        tokenizer.save_pretrained(tmp_path / "opt")
        model = built(LanguageModelConfig(name=str(tmp_path / "opt")), None)
        again = loaded(saved(model, tmp_path / "export"))
        assert torch.equal(again.logps(), model.logps())
        lm = again.lm.language_model.causal_lm
        assert lm.get_input_embeddings().weight is lm.get_output_embeddings().weight

    def test_what_is_stored(self, lora_export: Path) -> None:
        names = set(load_file(lora_export / "model.safetensors"))
        assert names == {"lm.towers.tables.drug.weight", "lm.towers.tables.solvent.weight"}
        config = read_config(lora_export)
        assert config["settings"] == {"answer": 42}
        assert {Path(name).parts[0] for name in config["files"]} == {
            "README.md",
            "adapter",
            "model.safetensors",
            "tokenizer",
        }
        assert not list(lora_export.rglob("*.bin"))

    def test_weights_trained_beside_the_adapter_are_kept(self, llama: str) -> None:
        model = built(lora_config(llama), None)
        model.lm.language_model.causal_lm.get_input_embeddings().requires_grad_(True)
        state = own_state(model, model.lm.language_model)
        assert [name for name in state if "language_model" in name] == [
            "lm.language_model.model.base_model.model.model.embed_tokens.weight"
        ]

    def test_own_weights_need_no_base_model(self, llama: str, tmp_path: Path) -> None:
        shutil.copytree(llama, tmp_path / "base")
        model = built(LanguageModelConfig(name=str(tmp_path / "base")), None)
        saved(model, tmp_path / "export")
        shutil.rmtree(tmp_path / "base")
        assert torch.equal(loaded(tmp_path / "export").logps(), model.logps())

    def test_a_moved_base_model_can_be_named(self, lora_export: Path) -> None:
        expected = loaded(lora_export).logps()
        base = lora_export.parent / "base"
        base.rename(lora_export.parent / "moved")
        with pytest.raises(
            CheckpointError, match=r"base model .*base of .*cannot be loaded.*language_model\.name"
        ):
            loaded(lora_export)
        change_config(
            lora_export, lambda c: c["language_model"].update(name=str(lora_export.parent / "moved"))
        )
        assert torch.equal(loaded(lora_export).logps(), expected)

    @pytest.mark.parametrize(
        "settings", [TINY, {"training": "full"}, {"training": "lora"}], ids=["tiny", "full", "lora"]
    )
    def test_plain_text_models(self, llama: str, tokenizer: Any, tmp_path: Path, settings: Any) -> None:
        config = settings if settings is TINY else LanguageModelConfig(name=llama, **settings)
        reader = built(config, tokenizer)
        model = SoftPromptLM(reader.lm.language_model).eval()
        model.save_pretrained(tmp_path / "export")
        again = SoftPromptLM.from_pretrained(tmp_path / "export")
        trees = [PromptTree(t.prompt_ids % 90, tuple(c % 90 for c in t.completions)) for t in random_trees()]
        assert torch.equal(again.logps(trees).logps, model.logps(trees).logps)
        assert not again.training
        assert saved_kind(tmp_path / "export") == "soft-prompt-lm"
        assert "SoftPromptLM.from_pretrained" in (tmp_path / "export" / "README.md").read_text()

    def test_a_model_with_towers_is_no_plain_text_model(self, tokenizer: Any, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="saved by the model that feeds them"):
            built(TINY, tokenizer).lm.save_pretrained(tmp_path / "export")
        assert not (tmp_path / "export").exists()

    @pytest.mark.parametrize("kind", ["tiny", "lora"])
    def test_the_text_side_of_any_model(self, kind: str, llama: str, tokenizer: Any, tmp_path: Path) -> None:
        model = built(TINY if kind == "tiny" else lora_config(llama), tokenizer)
        saved(model, tmp_path / "export")
        text = load_text_model(tmp_path / "export", read_config(tmp_path / "export"))
        trees = [PromptTree(t.prompt_ids % 90, tuple(c % 90 for c in t.completions)) for t in random_trees()]
        expected = SoftPromptLM(model.lm.language_model).eval().logps(trees).logps
        assert torch.equal(SoftPromptLM(text).eval().logps(trees).logps, expected)


class TestWholeOrNot:
    def test_a_crash_leaves_the_older_model(
        self, export: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = loaded(export).logps()
        monkeypatch.setattr(checkpoint, "sha256", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            saved(built(TINY, tokenizer, seed=1), export)
        monkeypatch.undo()
        assert torch.equal(loaded(export).logps(), before)
        assert [path.name for path in export.parent.iterdir()] == ["export"]

    def test_what_a_kill_leaves_is_not_a_model(
        self, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A killed process cleans nothing up; at no moment before the last is its folder readable."""
        moments: list[str] = []
        digest = checkpoint.sha256

        def watching(path: Path) -> str:
            folder = next(p for p in path.parents if p.parent == tmp_path)
            with pytest.raises(CheckpointError, match="config.json is missing"):
                read_config(folder)
            moments.append(path.name)
            return digest(path)

        monkeypatch.setattr(checkpoint, "sha256", watching)
        saved(built(TINY, tokenizer), tmp_path / "export")
        assert len(moments) > 3
        monkeypatch.undo()
        loaded(tmp_path / "export")

    def test_a_whole_model_takes_the_place_of_an_older_one(self, export: Path, tokenizer: Any) -> None:
        (export / "left-over.txt").write_text("old")
        newer = built(TINY, tokenizer, seed=1)
        saved(newer, export)
        assert torch.equal(loaded(export).logps(), newer.logps())
        assert not (export / "left-over.txt").exists()
        assert [path.name for path in export.parent.iterdir()] == ["export"]

    def test_the_older_one_is_put_back_when_the_exchange_fails(
        self, export: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = loaded(export).logps()
        replace, calls = checkpoint.os.replace, []

        def failing(source: Path, target: Path) -> None:
            calls.append(target)
            if len(calls) == 2:
                raise OSError("disk full")
            replace(source, target)

        monkeypatch.setattr(checkpoint.os, "replace", failing)
        with pytest.raises(OSError, match="disk full"):
            saved(built(TINY, tokenizer, seed=1), export)
        monkeypatch.undo()
        assert torch.equal(loaded(export).logps(), before)
        assert [path.name for path in export.parent.iterdir()] == ["export"]

    def test_an_empty_folder_is_filled(self, tmp_path: Path) -> None:
        (tmp_path / "new").mkdir()
        atomic_folder(tmp_path / "new", lambda folder: (folder / "file").touch() or None)
        assert (tmp_path / "new" / "file").is_file()

    def test_nothing_else_is_replaced(self, llama: str, tokenizer: Any, tmp_path: Path) -> None:
        base = tmp_path / "base"
        shutil.copytree(llama, base)
        (tmp_path / "notes").mkdir()
        (tmp_path / "notes" / "thesis.txt").write_text("years of work")
        (tmp_path / "file").write_text("a file")
        for place in (base, tmp_path / "notes", tmp_path / "file"):
            filled: list[Path] = []
            with pytest.raises(
                CheckpointError, match="exists and is not a saved model; choose another folder"
            ):
                atomic_folder(place, filled.append)
            assert not filled
        assert (base / "model.safetensors").is_file()
        assert (tmp_path / "notes" / "thesis.txt").read_text() == "years of work"

    def test_kinds(self, export: Path, llama: str, tmp_path: Path) -> None:
        assert saved_kind(export) == KIND
        assert saved_kind(llama) is None
        assert saved_kind(tmp_path / "nowhere") is None
