"""Any Hugging Face causal language model behind one small face, and the built-in tiny one.

The face is what prompt trees need: embeddings of ids, last hidden states under a given mask, and log-probabilities of
labels through the head. LoRA and QLoRA come from peft, a frozen or fully trained model from the same config by one word.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaConfig, PreTrainedConfig

from moltc.backbone.logps import HeadTransform, label_logps, module_label_logps
from moltc.backbone.packing import PackedTrees, attend

log = logging.getLogger(__name__)

TINY = "tiny"


@dataclass(frozen=True)
class TinyConfig:
    """Sizes of the built-in Llama-style model: about 0.6 million parameters and the embeddings by default."""

    hidden: int = 128
    layers: int = 3
    heads: int = 4
    ffn: int = 352
    vocab_size: int = 600
    """Tokenizer entries learnt from the training text; fixed phrases come on top."""
    rope_theta: float = 1000.0
    max_positions: int = 4096
    dropout: float = 0.0
    """Dropout of the attention weights."""


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters of the language model (peft); the defaults are the wider of the two MolTC settings."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.1
    target_modules: tuple[str, ...] = ()
    """Module names to adapt; empty: peft's default for the architecture."""


@dataclass(frozen=True)
class LanguageModelConfig:
    """Which language model, and what of it is trained.

    ``name`` is "tiny", a Hugging Face id or a local folder. ``training`` is "full", "lora" or "frozen".
    """

    name: str = TINY
    training: Literal["full", "lora", "frozen"] = "full"
    lora: LoraSettings = field(default_factory=LoraSettings)
    quantization: Literal["none", "4bit", "8bit"] = "none"
    """QLoRA: quantised base weights (needs bitsandbytes and a GPU); only with training "lora" or "frozen"."""
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    attention: Literal["auto", "sdpa", "eager", "flex_attention"] = "auto"
    sharing: Literal["auto", "shared", "expanded"] = "auto"
    """One prompt for all its completions, or one row per completion; "auto" tries the first and says when it cannot."""
    gradient_checkpointing: bool = False
    logit_chunk: int = 1024
    """Rows whose logits exist at one time."""
    random_init: bool = False
    """Build the architecture with random weights (dry runs and tests); the tokenizer is still loaded."""
    num_layers: int | None = None
    """Cut the architecture down to this depth; only with ``random_init``."""
    tiny: TinyConfig = field(default_factory=TinyConfig)

    def __post_init__(self) -> None:
        if self.quantization != "none" and self.training == "full":
            raise ValueError("quantised weights cannot be trained: use training 'lora' or 'frozen', or quantization 'none'")
        if self.name == TINY and (self.training != "full" or self.quantization != "none"):
            raise ValueError("the tiny model starts from random weights: use training 'full' and quantization 'none'")
        if self.num_layers is not None and not self.random_init:
            raise ValueError("num_layers cuts the architecture down and needs random_init: true")

    @property
    def is_tiny(self) -> bool:
        return self.name == TINY


class LanguageModel(nn.Module):
    """A causal language model, its tokenizer, and how it is asked.

    Parameters
    ----------
    config : what was asked for.
    model : Hugging Face causal LM, perhaps wrapped by peft.
    tokenizer : its tokenizer; only its ids are used.
    """

    def __init__(self, config: LanguageModelConfig, model: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        self.config = config
        self.model = model
        self.tokenizer = tokenizer
        self.transform = _head_transform(self.hf_config)
        self.sharing: Literal["shared", "expanded"] = "shared"
        if config.sharing == "expanded":
            self.sharing = "expanded"
        elif (reason := why_not_shared(self)) is not None:
            if config.sharing == "shared":
                raise ValueError(f"{self.hf_config.model_type} cannot share a prompt ({reason}); use sharing: expanded")
            log.warning("%s cannot share a prompt (%s): one row per completion is used", self.hf_config.model_type, reason)
            self.sharing = "expanded"

    @classmethod
    def from_config(cls, config: LanguageModelConfig, tokenizer: Any = None) -> LanguageModel:
        """Build or load the model that the config names.

        ``tokenizer`` is needed for the tiny model (see :func:`moltc.backbone.tokenizer.train_tokenizer`).
        """
        if config.is_tiny:
            if tokenizer is None:
                raise ValueError("the tiny model needs a tokenizer trained from the training text")
            return cls(config, _build_tiny(config, tokenizer), tokenizer)
        tokenizer = tokenizer if tokenizer is not None else AutoTokenizer.from_pretrained(config.name)
        if tokenizer.eos_token_id is None:
            raise ValueError(f"the tokenizer of {config.name} has no end token: set eos_token in its tokenizer_config.json")
        model = _load(config)
        if config.training == "lora":
            model = _with_lora(model, config)
        elif config.training == "frozen":
            model.requires_grad_(False)
        if config.gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        return cls(config, model, tokenizer)

    # -- parts -------------------------------------------------------------------------------------

    @property
    def causal_lm(self) -> Any:
        """The Hugging Face model below peft's wrapper; adapted layers stay in place."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def hf_config(self) -> PreTrainedConfig:
        config = self.causal_lm.config
        return config.get_text_config() if hasattr(config, "get_text_config") else config

    @property
    def decoder(self) -> nn.Module:
        """The model without its head."""
        lm = self.causal_lm
        return getattr(lm, lm.base_model_prefix)

    @property
    def hidden_size(self) -> int:
        """Width H of the embeddings."""
        return self.causal_lm.get_input_embeddings().weight.shape[1]

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return self.causal_lm.get_input_embeddings().weight.dtype

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings of token ids, [..., H]."""
        return self.causal_lm.get_input_embeddings()(ids)

    def hidden(
        self, inputs_embeds: Tensor, position_ids: Tensor, mask: Any = None, cache: Any = None
    ) -> Tensor:
        """Last hidden states, [R, T, H].

        ``mask`` is None (plain causal), an additive [R, 1, T, T'] tensor, a flex block mask, or a dict of these by layer
        type; ``cache`` a transformers cache that is read and extended.
        """
        out = self.decoder(
            inputs_embeds=inputs_embeds,
            position_ids=position_ids,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        return out.last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of hidden states, float32 [..., V]; for decoding, where few positions are asked."""
        return self.transform(self.causal_lm.get_output_embeddings()(hidden).float())

    def label_logps(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Log-probability of each label, [P], through the chunked operator."""
        head = self.causal_lm.get_output_embeddings()
        chunk = self.config.logit_chunk
        if type(head) is nn.Linear:
            return label_logps(hidden, head.weight, labels, bias=head.bias, transform=self.transform, chunk=chunk)
        return module_label_logps(hidden, head, labels, transform=self.transform, chunk=chunk)

    # -- masks -------------------------------------------------------------------------------------

    def mask(self, packed: PackedTrees) -> Any:
        """The attention mask of a packed batch, in the form this architecture takes; None where plain causal serves."""
        if packed.causal:
            return None
        if self.causal_lm.config._attn_implementation == "flex_attention":
            from moltc.backbone.flex import block_mask

            return self.by_layer(lambda window: block_mask(packed, window))
        return self.by_layer(lambda window: self.additive(attend(packed, window)))

    def additive(self, allowed: Tensor) -> Tensor:
        """bool [R, Q, T] -> additive [R, 1, Q, T] in the model's dtype."""
        dtype = self.dtype
        return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(
            ~allowed, torch.finfo(dtype).min
        )[:, None]

    def by_layer(self, make: Any) -> Any:
        """``make(window)`` for full attention, or a dict of masks by layer type where some layers slide."""
        windows = self.windows
        if set(windows) == {"full_attention"}:
            return make(None)
        return {kind: make(window) for kind, window in windows.items()}

    @property
    def windows(self) -> dict[str, int | None]:
        """Layer type -> attention window in positions (None: full)."""
        config = self.hf_config
        window = getattr(config, "sliding_window", None)
        kinds = set(getattr(config, "layer_types", None) or ())
        if kinds:
            return {kind: window if kind == "sliding_attention" else None for kind in sorted(kinds)}
        return {"full_attention": None}

    def describe(self) -> dict[str, Any]:
        """Sizes, for cards and logs."""
        total = sum(p.numel() for p in self.parameters())
        trained = sum(p.numel() for p in self.parameters() if p.requires_grad)
        return {"name": self.config.name, "type": self.hf_config.model_type, "parameters": total, "trained": trained}


# -- building --------------------------------------------------------------------------------------


def _attention(config: LanguageModelConfig) -> dict[str, str]:
    return {} if config.attention == "auto" else {"attn_implementation": config.attention}


def _build_tiny(config: LanguageModelConfig, tokenizer: Any) -> nn.Module:
    tiny = config.tiny
    llama = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=tiny.hidden,
        intermediate_size=tiny.ffn,
        num_hidden_layers=tiny.layers,
        num_attention_heads=tiny.heads,
        num_key_value_heads=tiny.heads,
        max_position_embeddings=tiny.max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": tiny.rope_theta},
        attention_dropout=tiny.dropout,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = AutoModelForCausalLM.from_config(llama, **_attention(config))
    with torch.no_grad():
        model.get_input_embeddings().weight.normal_(0.0, 0.3)
        model.get_output_embeddings().weight.normal_(0.0, 0.02)
        for layer in model.model.layers:
            for linear in (layer.self_attn.o_proj, layer.mlp.down_proj):
                linear.weight.normal_(0.0, linear.in_features**-0.5 * (2 * tiny.layers) ** -0.5)
            for linear in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj):
                linear.weight.normal_(0.0, linear.in_features**-0.5)
            for linear in (layer.mlp.gate_proj, layer.mlp.up_proj):
                linear.weight.normal_(0.0, linear.in_features**-0.5)
    return model


def _load(config: LanguageModelConfig) -> nn.Module:
    dtype = "auto" if config.dtype == "auto" else getattr(torch, config.dtype)
    if config.random_init:
        hf = AutoConfig.from_pretrained(config.name)
        if config.num_layers is not None:
            hf.num_hidden_layers = config.num_layers
            if getattr(hf, "layer_types", None):
                hf.layer_types = hf.layer_types[: config.num_layers]
        return AutoModelForCausalLM.from_config(hf, dtype=torch.float32 if dtype == "auto" else dtype, **_attention(config))
    extra: dict[str, Any] = _attention(config)
    if config.quantization != "none":
        from transformers import BitsAndBytesConfig

        extra["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=config.quantization == "4bit",
            load_in_8bit=config.quantization == "8bit",
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    return AutoModelForCausalLM.from_pretrained(config.name, dtype=dtype, use_safetensors=True, **extra)


def _with_lora(model: nn.Module, config: LanguageModelConfig) -> nn.Module:
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if config.quantization != "none":
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=config.gradient_checkpointing)
    lora = config.lora
    return get_peft_model(
        model,
        LoraConfig(
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=list(lora.target_modules) or None,
            bias="none",
            task_type="CAUSAL_LM",
        ),
    )


def _head_transform(config: PreTrainedConfig) -> HeadTransform:
    scale = 1.0
    if getattr(config, "logit_scale", None) is not None:  # Cohere multiplies
        scale = float(config.logit_scale)
    elif getattr(config, "logits_scaling", None) is not None:  # Granite divides
        scale = 1.0 / float(config.logits_scaling)
    return HeadTransform(scale, getattr(config, "final_logit_softcapping", None))


@torch.no_grad()
def why_not_shared(lm: LanguageModel, tolerance: float = 1e-3) -> str | None:
    """Try one small prompt tree shared and expanded; None when they agree, else the reason in a few words.

    It also checks the head: the model's own logits must be those that :class:`LanguageModel` computes.
    """
    import numpy as np

    from moltc.backbone.packing import pack
    from moltc.backbone.prompt import PromptTree

    if lm.device.type == "meta":
        return None
    vocabulary = lm.causal_lm.get_input_embeddings().weight.shape[0]
    ids = np.random.default_rng(0).integers(0, min(vocabulary, 1000), size=12)
    tree = PromptTree(ids[:5], (ids[5:8], ids[8:12]))
    was_training = lm.training
    lm.eval()
    try:
        results: list[Tensor] = []
        for sharing in ("expanded", "shared"):
            packed = pack([tree], sharing=sharing).to(lm.device)  # type: ignore[arg-type]
            try:
                hidden = lm.hidden(lm.embed(packed.input_ids), packed.position_ids, lm.mask(packed))
            except (TypeError, ValueError, RuntimeError, KeyError, IndexError) as error:
                if sharing == "expanded":
                    raise
                return f"its forward pass refuses a mask: {str(error).splitlines()[0][:120]}"
            results.append(hidden.flatten(0, 1)[packed.score_from].float())
        packed = pack([PromptTree(ids)]).to(lm.device)
        own = lm.causal_lm(input_ids=packed.input_ids).logits.float()
        ours = lm.logits(lm.hidden(lm.embed(packed.input_ids), packed.position_ids))
    finally:
        lm.train(was_training)
    loose = tolerance if lm.dtype == torch.float32 else 0.1
    if not torch.allclose(own, ours, atol=loose * float(own.abs().max()) + 1e-6):
        raise ValueError(f"{lm.hf_config.model_type} changes its logits in a way that is not known here")
    difference = float((results[0] - results[1]).abs().max())
    if difference > loose * float(results[0].abs().max()):
        return f"results differ by {difference:.2g} when the prompt is shared"
    return None


def load_tokenizer(folder: str | Path) -> Any:
    """A saved tokenizer."""
    return AutoTokenizer.from_pretrained(str(folder))


def describe_config(config: PreTrainedConfig, keys: Sequence[str] = ("model_type", "hidden_size", "num_hidden_layers")) -> str:
    """A few config values as JSON, to tell base models apart."""
    return json.dumps({k: getattr(config, k, None) for k in keys}, sort_keys=True)
