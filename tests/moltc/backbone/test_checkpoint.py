"""Saved models come back exactly, or not at all with a reason and what to do about it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import TableTower, random_trees, tower_inputs
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, OPTConfig

from moltc.backbone import checkpoint
from moltc.backbone.checkpoint import (
    CheckpointError,
    atomic_folder,
    language_model_config,
    load_language_model,
    load_text_model,
    load_weights,
    own_state,
    read_config,
    save_model,
    saved_kind,
)
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


@pytest.fixture
def export(tokenizer: Any, tmp_path: Path) -> Path:
    """A saved tiny model."""
    return saved(built(TINY, tokenizer), tmp_path / "export")


@pytest.fixture
def lora_export(llama: str, tmp_path: Path) -> Path:
    """A saved adapter on a base model in the folder ``base``."""
    shutil.copytree(llama, tmp_path / "base")
    return saved(built(lora_config(str(tmp_path / "base")), None), tmp_path / "export")


def lora_config(name: str, **settings: Any) -> LanguageModelConfig:
    return LanguageModelConfig(
        name=name,
        training="lora",
        lora=LoraSettings(r=2, alpha=4, target_modules=("q_proj", "up_proj")),
        **settings,
    )


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


def change_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


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
