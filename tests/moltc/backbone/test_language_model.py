"""Language models from their settings: what is built, what is trained, what is refused."""

from __future__ import annotations

import pickle
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import ARCHITECTURES, GQA, TableTower, build, random_trees, tower_inputs
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    CohereConfig,
    Gemma3TextConfig,
    GPTNeoConfig,
    GraniteConfig,
    LlamaForCausalLM,
    OPTConfig,
    PreTrainedTokenizerFast,
)

from moltc.backbone.language_model import LanguageModel, LanguageModelConfig, LoraSettings, TinyConfig
from moltc.backbone.prompt import PromptTree
from moltc.backbone.soft_prompt_lm import SoftPromptLM

TINY = LanguageModelConfig(tiny=TinyConfig(hidden=32, layers=2, heads=2, ffn=48))
NO_DROPOUT = LoraSettings(r=4, alpha=8, dropout=0.0)


def plain_trees(counts: tuple[int, ...] = (2, 1, 3)) -> list[PromptTree]:
    """Trees without soft tokens; ids below 90 are in every vocabulary of these tests."""
    return [
        PromptTree(t.prompt_ids % 90, tuple(c % 90 for c in t.completions))
        for t in random_trees(counts=counts)
    ]


def trained(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def loss_gradients(model: nn.Module, trees: list[PromptTree]) -> dict[str, torch.Tensor]:
    """Gradients of the mean loss, every trained parameter."""
    scored = SoftPromptLM(model).train()
    scored(scored.pack(trees)).logps.mean().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


class TestTiny:
    def test_sizes_follow_the_settings(self, tokenizer: Any) -> None:
        lm = LanguageModel.from_config(TINY, tokenizer)
        assert lm.hidden_size == 32
        assert lm.embedding_rows == len(tokenizer)
        layer = 4 * 32 * 32 + 3 * 32 * 48 + 2 * 32
        assert trained(lm) == lm.describe()["parameters"] == 2 * len(tokenizer) * 32 + 2 * layer + 32
        assert lm.sharing == "shared"
        assert lm.max_positions == 4096

    def test_the_default_has_the_size_that_is_written(self, tokenizer: Any) -> None:
        lm = LanguageModel.from_config(LanguageModelConfig(), tokenizer)
        assert 0.5e6 < trained(lm) - 2 * len(tokenizer) * 128 < 0.7e6

    def test_the_seed_decides(self, tokenizer: Any) -> None:
        models = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            models.append(LanguageModel.from_config(TINY, tokenizer).embed(torch.tensor([5])))
        assert torch.equal(models[0], models[1])
        assert not torch.equal(models[0], models[2])

    @pytest.mark.parametrize(
        ("dtype", "expected"),
        [("auto", torch.float32), ("bfloat16", torch.bfloat16)],
        ids=["auto", "bfloat16"],
    )
    def test_its_type_is_honoured(self, tokenizer: Any, dtype: Any, expected: torch.dtype) -> None:
        lm = LanguageModel.from_config(replace(TINY, dtype=dtype), tokenizer)
        assert {p.dtype for p in lm.parameters()} == {expected}

    def test_it_needs_a_tokenizer(self) -> None:
        with pytest.raises(ValueError, match="trained from the training text"):
            LanguageModel.from_config(TINY)


class TestFolder:
    def test_stored_weights_are_loaded(self, llama: str) -> None:
        lm = LanguageModel.from_config(LanguageModelConfig(name=llama, training="full"))
        plain = AutoModelForCausalLM.from_pretrained(llama)
        ids = torch.arange(4, 12)[None]
        ours = lm.logits(lm.hidden(lm.embed(ids), torch.arange(8)[None]))
        torch.testing.assert_close(ours, plain(ids).logits, atol=1e-6, rtol=1e-5)
        assert trained(lm) == sum(p.numel() for p in plain.parameters())

    def test_frozen_trains_nothing(self, llama: str) -> None:
        assert trained(LanguageModel.from_config(LanguageModelConfig(name=llama, training="frozen"))) == 0

    def test_random_weights_and_fewer_layers(self, llama: str) -> None:
        config = LanguageModelConfig(name=llama, random_init=True, num_layers=1, dtype="bfloat16")
        lm = LanguageModel.from_config(config)
        assert lm.hf_config.num_hidden_layers == len(lm.decoder.layers) == 1
        assert lm.dtype == torch.bfloat16
        stored = AutoModelForCausalLM.from_pretrained(llama).get_input_embeddings().weight
        assert not torch.allclose(lm.causal_lm.get_input_embeddings().weight.float(), stored, atol=1e-2)

    def test_fewer_layers_cut_the_layer_types(self, tokenizer: Any, tmp_path: Path) -> None:
        kinds = ["sliding_attention", "full_attention", "sliding_attention"]
        Gemma3TextConfig(**GQA | {"num_hidden_layers": 3}, layer_types=kinds).save_pretrained(tmp_path)
        config = LanguageModelConfig(name=str(tmp_path), random_init=True, num_layers=2)
        lm = LanguageModel.from_config(config, tokenizer)
        assert lm.hf_config.layer_types == kinds[:2]

    def test_an_architecture_alone_is_enough(self, llama: str, tmp_path: Path) -> None:
        AutoConfig.from_pretrained(llama).save_pretrained(tmp_path)
        tokenizer = LanguageModel.from_config(LanguageModelConfig(name=llama)).tokenizer
        config = LanguageModelConfig(name="no/such-model", training="lora", lora=NO_DROPOUT)
        assert trained(LanguageModel.from_config(config, tokenizer, architecture=tmp_path)) > 0

    def test_weights_in_torch_format_are_read_without_running_code(self, llama: str, tmp_path: Path) -> None:
        model = AutoModelForCausalLM.from_pretrained(llama)
        model.config.save_pretrained(tmp_path)
        config = LanguageModelConfig(name=str(tmp_path))
        tokenizer = LanguageModel.from_config(LanguageModelConfig(name=llama)).tokenizer
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        lm = LanguageModel.from_config(config, tokenizer)
        assert torch.equal(lm.embed(torch.tensor([5])), model.get_input_embeddings()(torch.tensor([5])))
        torch.save({"weight": Bomb(tmp_path / "ran")}, tmp_path / "pytorch_model.bin")
        with pytest.raises((pickle.UnpicklingError, OSError, ValueError)):
            LanguageModel.from_config(config, tokenizer)
        assert not (tmp_path / "ran").exists()


class Bomb:
    """Unpickled without care, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


class TestLora:
    def test_default_targets_and_scale(self, llama: str) -> None:
        settings = LoraSettings(r=4, alpha=12, dropout=0.25)
        lm = LanguageModel.from_config(LanguageModelConfig(name=llama, training="lora", lora=settings))
        names = {name for name, p in lm.named_parameters() if p.requires_grad}
        assert all("q_proj.lora_" in name or "v_proj.lora_" in name for name in names)
        assert len(names) == 2 * 2 * 2
        layer = lm.decoder.layers[0].self_attn.q_proj
        assert layer.scaling == {"default": 3.0}
        assert layer.lora_dropout["default"].p == 0.25

    def test_named_targets(self, llama: str) -> None:
        settings = LoraSettings(r=2, target_modules=("down_proj",))
        lm = LanguageModel.from_config(LanguageModelConfig(name=llama, training="lora", lora=settings))
        assert trained(lm) == 2 * 2 * (32 + 64)

    @pytest.mark.parametrize(
        ("settings", "count"),
        [
            (LoraSettings(r=8), 1_572_864),
            (LoraSettings(r=16, target_modules=("q_proj", "v_proj", "out_proj", "fc1", "fc2")), 12_582_912),
        ],
        ids=["moltc", "molca"],
    )
    def test_parameters_on_the_published_model(
        self, settings: LoraSettings, count: int, tokenizer: Any, tmp_path: Path
    ) -> None:
        opt = OPTConfig(  # Galactica 1.3B
            vocab_size=50_000, hidden_size=2048, num_hidden_layers=24, ffn_dim=8192, num_attention_heads=32
        )
        opt.save_pretrained(tmp_path)
        config = LanguageModelConfig(name=str(tmp_path), training="lora", lora=settings, random_init=True)
        with torch.device("meta"):
            lm = LanguageModel.from_config(config, tokenizer)
        assert trained(lm) == count
        assert lm.device.type == "meta"

    def test_an_untrained_adapter_changes_nothing(self, llama: str) -> None:
        trees = plain_trees()
        config = LanguageModelConfig(name=llama, training="lora", lora=NO_DROPOUT)
        with_adapter = SoftPromptLM(LanguageModel.from_config(config)).eval()
        without = SoftPromptLM(LanguageModel.from_config(replace(config, training="frozen"))).eval()
        assert torch.equal(with_adapter.logps(trees).logps, without.logps(trees).logps)

    def test_an_adapted_head_is_asked_as_a_module(self, llama: str) -> None:
        settings = replace(NO_DROPOUT, target_modules=("lm_head",))
        lm = LanguageModel.from_config(LanguageModelConfig(name=llama, training="lora", lora=settings))
        nn.init.normal_(lm.causal_lm.lm_head.lora_B["default"].weight)
        model, tree = SoftPromptLM(lm).eval(), plain_trees((1,))[0]
        scored = model(model.pack([tree]))
        ids = torch.cat([torch.from_numpy(tree.prompt_ids), torch.from_numpy(tree.completions[0])])
        logps = lm.causal_lm(ids[None]).logits[0].log_softmax(-1)[:-1].gather(1, ids[1:, None])
        torch.testing.assert_close(scored.logps[0], logps[len(tree.prompt_ids) - 1 :].sum())
        scored.logps.sum().backward()
        assert lm.causal_lm.lm_head.lora_A["default"].weight.grad is not None


class TestGradients:
    @pytest.mark.parametrize("training", ["full", "lora"])
    def test_checkpointing_gives_the_same(self, llama: str, training: Any) -> None:
        config = LanguageModelConfig(name=llama, training=training, lora=NO_DROPOUT)
        gradients, runs = [], []
        for checkpointing in (False, True):
            torch.manual_seed(0)
            lm = LanguageModel.from_config(replace(config, gradient_checkpointing=checkpointing))
            ran: list[int] = []
            lm.decoder.layers[0].input_layernorm.register_forward_hook(lambda *_, ran=ran: ran.append(1))
            gradients.append(loss_gradients(lm, plain_trees()))
            runs.append(len(ran))
        assert runs == [1, 2]
        assert gradients[0].keys() == gradients[1].keys()
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(gradients[1][name], gradient)

    def test_the_tiny_model_is_checkpointed_too(self, tokenizer: Any) -> None:
        lm = LanguageModel.from_config(replace(TINY, gradient_checkpointing=True), tokenizer)
        assert lm.decoder.layers[0].gradient_checkpointing

    @pytest.mark.parametrize("training", ["frozen", "lora"])
    @pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
    def test_soft_tokens_learn_through_frozen_weights(
        self, llama: str, training: Any, checkpointing: bool
    ) -> None:
        config = LanguageModelConfig(
            name=llama, training=training, lora=NO_DROPOUT, gradient_checkpointing=checkpointing
        )
        lm = LanguageModel.from_config(config)
        torch.manual_seed(1)
        towers = TableTower({"drug": 10, "solvent": 10}, 3, lm.hidden_size)
        model = SoftPromptLM(lm, towers).train()
        trees = [
            PromptTree(t.prompt_ids % 90, tuple(c % 90 for c in t.completions), t.slots)
            for t in random_trees(counts=(2, 1, 2))
        ]
        packed = model.pack(trees)
        model(packed, tower_inputs(packed)).logps.sum().backward()
        for key, table in towers.tables.items():
            used = set(packed.entities[key])
            moved = set(table.weight.grad.abs().sum(1).nonzero().flatten().tolist())
            assert moved == used


class TestFrozen:
    @pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
    @pytest.mark.parametrize("training", ["frozen", "full"])
    def test_dropout_stays_off(
        self, tokenizer: Any, tmp_path: Path, training: Any, checkpointing: bool
    ) -> None:
        """OPT (Galactica) drops out within its layers, not by modules; what is not trained needs no noise."""
        hf = deepcopy(ARCHITECTURES["opt"])
        hf.dropout = hf.attention_dropout = 0.5
        AutoModelForCausalLM.from_config(hf).save_pretrained(tmp_path)
        config = LanguageModelConfig(
            name=str(tmp_path), training=training, gradient_checkpointing=checkpointing
        )
        lm = LanguageModel.from_config(config, tokenizer).train()
        ran: list[int] = []
        lm.causal_lm.model.decoder.layers[0].self_attn.register_forward_hook(lambda *_: ran.append(1))
        embeds = lm.embed(torch.arange(4, 12)[None]).detach().requires_grad_()
        first, second = (lm.hidden(embeds, torch.arange(8)[None]) for _ in range(2))
        assert torch.equal(first, second) == (training == "frozen")
        first.sum().backward()
        assert len(ran) == (3 if checkpointing else 2)


class TestPrecision:
    def test_bfloat16_weights_with_float32_adapters(self, llama: str) -> None:
        config = LanguageModelConfig(name=llama, training="lora", lora=NO_DROPOUT, dtype="bfloat16")
        lm = LanguageModel.from_config(config)
        assert lm.sharing == "shared"
        assert {p.dtype for p in lm.parameters() if p.requires_grad} == {torch.float32}
        assert lm.dtype == torch.bfloat16
        exact = SoftPromptLM(LanguageModel.from_config(replace(config, dtype="float32"))).eval()
        model = SoftPromptLM(lm).eval()
        scored = model.logps(plain_trees())
        assert scored.logps.dtype == torch.float32
        torch.testing.assert_close(scored.logps, exact.logps(plain_trees()).logps, rtol=0.02, atol=0.1)
        gradients = loss_gradients(lm, plain_trees())
        assert all(torch.isfinite(g).all() for g in gradients.values())

    @pytest.mark.parametrize("name", ["llama", "gemma2", "opt"])
    def test_autocast(self, name: str, tokenizer: Any) -> None:
        model = SoftPromptLM(build(name, tokenizer, attention="auto")).eval()
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(0.3)
        expected = model.logps(plain_trees()).logps
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scored = model(model.pack(plain_trees())).logps
        scored.sum().backward()
        torch.testing.assert_close(scored, expected, rtol=0.03, atol=0.3)
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert all(g.dtype == torch.float32 and torch.isfinite(g).all() for g in gradients)


class TestArchitectures:
    """Architectures with ways of their own."""

    @pytest.mark.parametrize(
        "config",
        [GraniteConfig(**GQA, logits_scaling=4.0), CohereConfig(**GQA, logit_scale=0.25)],
        ids=["divides", "multiplies"],
    )
    def test_scaled_logits(self, config: Any, tokenizer: Any) -> None:
        torch.manual_seed(0)
        base = AutoModelForCausalLM.from_config(config).eval()
        lm = LanguageModel(LanguageModelConfig(name="x"), base, tokenizer)
        assert lm.transform.scale == 0.25
        ids = torch.arange(9)[None]
        ours = lm.logits(lm.hidden(lm.embed(ids), ids))
        torch.testing.assert_close(ours, base(ids).logits, atol=1e-6, rtol=1e-5)

    def test_unknown_changes_of_the_logits_are_refused(self, tokenizer: Any) -> None:
        class Doubling(LlamaForCausalLM):
            def forward(self, *args: Any, **kwargs: Any) -> Any:
                out = super().forward(*args, **kwargs)
                out.logits = 2 * out.logits
                return out

        torch.manual_seed(0)
        config = LanguageModelConfig(name="x", sharing="expanded")
        with pytest.raises(ValueError, match="llama changes its logits in a way that is not known"):
            LanguageModel(config, Doubling(deepcopy(ARCHITECTURES["llama"])), tokenizer)

    def test_local_layers_of_their_own_kind_do_not_share(self, tokenizer: Any) -> None:
        torch.manual_seed(0)
        sizes = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "vocab_size": 320, "window_size": 4}
        base = AutoModelForCausalLM.from_config(
            GPTNeoConfig(**sizes, attention_types=[[["global", "local"], 1]])
        )
        lm = LanguageModel(LanguageModelConfig(name="x"), base.eval(), tokenizer)
        assert lm.sharing == "expanded"
        model, tree = SoftPromptLM(lm).eval(), plain_trees((2,))[0]
        scored = model.logps([tree]).logps
        for logp, completion in zip(scored, tree.completions, strict=True):
            ids = torch.cat([torch.from_numpy(tree.prompt_ids), torch.from_numpy(completion)])
            rows = base(ids[None]).logits[0].log_softmax(-1)[:-1].gather(1, ids[1:, None])
            torch.testing.assert_close(logp, rows[len(tree.prompt_ids) - 1 :].sum(), rtol=1e-5, atol=1e-5)


class TestTokenizers:
    def test_more_entries_than_embeddings(self, llama: str, tokenizer: Any) -> None:
        with pytest.raises(ValueError, match=r"tokenizer has \d+ entries, .*llama embeds 100 ids"):
            LanguageModel.from_config(LanguageModelConfig(name=llama), tokenizer)

    def test_the_end_token_that_only_the_model_names(
        self, llama: str, tokenizer: Any, tmp_path: Path
    ) -> None:
        endless = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
        config = AutoConfig.from_pretrained(llama)
        config.vocab_size, config.eos_token_id = len(endless), 7
        config.save_pretrained(tmp_path)
        lm = LanguageModel.from_config(LanguageModelConfig(name=llama), endless, architecture=tmp_path)
        assert lm.tokenizer.eos_token_id == 7
        assert lm.tokenizer.eos_token == tokenizer.convert_ids_to_tokens(7)

    def test_no_end_token(self, llama: str, tokenizer: Any, tmp_path: Path) -> None:
        endless = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
        config = AutoConfig.from_pretrained(llama)
        config.eos_token_id = None
        config.save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="no end token: set eos_token"):
            LanguageModel.from_config(LanguageModelConfig(name=llama), endless, architecture=tmp_path)


@pytest.mark.parametrize(
    ("found", "message"),
    [(None, "needs bitsandbytes: pip install"), (object(), "needs a GPU")],
    ids=["package", "gpu"],
)
def test_quantisation_says_what_it_needs(
    llama: str, monkeypatch: pytest.MonkeyPatch, found: Any, message: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    config = LanguageModelConfig(name=llama, training="lora", quantization="4bit")
    with pytest.raises(ValueError, match=message):
        LanguageModel.from_config(config)
