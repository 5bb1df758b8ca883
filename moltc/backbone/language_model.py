"""Any Hugging Face causal language model behind one small face, and the built-in tiny one.

The face is what prompt trees need: embeddings of ids, last hidden states under a given mask, and
log-probabilities of labels through the head. LoRA and QLoRA come from peft, a frozen or fully trained model
from the same config by one word.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from moltc.backbone.language_model_config import LanguageModelConfig as LanguageModelConfig
from moltc.backbone.language_model_config import LoraSettings as LoraSettings
from moltc.backbone.language_model_config import TinyConfig as TinyConfig
from moltc.backbone.logps import HeadTransform, is_plain_linear, label_logps, module_label_logps
from moltc.backbone.packing import PackedTrees, attend
from moltc.backbone.probe import check_logits, why_not_shared

if TYPE_CHECKING:
    from peft import PeftModel

log = logging.getLogger(__name__)


class LanguageModel(nn.Module):
    """A causal language model, its tokenizer, and how it is asked.

    ``sharing`` is "shared" or "expanded": what the architecture can do, or what the config asks for.

    Parameters
    ----------
    config : what was asked for.
    model : Hugging Face causal LM, perhaps wrapped by peft.
    tokenizer : its tokenizer; only its ids are used.

    Raises
    ------
    ValueError
        when the tokenizer has no end token or more entries than the model has embeddings, when the
        architecture changes its logits in an unknown way, or when ``config.sharing`` is "shared" and it
        cannot share a prompt.
    """

    def __init__(
        self, config: LanguageModelConfig, model: PreTrainedModel | PeftModel, tokenizer: Any
    ) -> None:
        super().__init__()
        self.config = config
        self.model = model
        self.tokenizer = tokenizer
        self.transform = head_transform(self.hf_config)
        _name_end_token(tokenizer, self.hf_config)
        _check_tokenizer(tokenizer, self.embedding_rows, config.name)
        check_logits(self)
        self.sharing = self._choose_sharing()

    def _choose_sharing(self) -> Literal["shared", "expanded"]:
        wanted, kind = self.config.sharing, self.hf_config.model_type
        reason = None if wanted == "expanded" else why_not_shared(self)
        if reason is not None and wanted == "shared":
            raise ValueError(f"{kind} cannot share a prompt ({reason}); use sharing: expanded")
        if reason is not None:
            log.warning("%s cannot share a prompt (%s): one row per completion is used", kind, reason)
        return "shared" if wanted != "expanded" and reason is None else "expanded"

    @classmethod
    def from_config(
        cls, config: LanguageModelConfig, tokenizer: Any = None, *, architecture: str | Path | None = None
    ) -> LanguageModel:
        """Build or load the model that the config names.

        Parameters
        ----------
        tokenizer : needed for the tiny model (see :func:`moltc.backbone.tokenizer.train_tokenizer`); default
            the named model's own.
        architecture : folder of a Hugging Face ``config.json``; the model is built from it with random
            weights, for weights that are loaded afterwards, and ``config.name`` is not looked for.
        """
        if tokenizer is None:
            if config.is_tiny:
                raise ValueError("the tiny model needs a tokenizer trained from the training text")
            tokenizer = load_tokenizer(config.name)
        base = _build_tiny(config, tokenizer) if config.is_tiny else _load(config, architecture)
        if config.training == "frozen":
            base.requires_grad_(False)
            _drop_nothing(base)
        model = _with_lora(base, config) if config.training == "lora" else base
        built = cls(config, model, tokenizer)
        if config.gradient_checkpointing:
            built.causal_lm.gradient_checkpointing_enable(
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )
        return built

    def train(self, mode: bool = True) -> LanguageModel:
        """Set the mode. A frozen model keeps evaluation mode, so that dropout does not blur what is not
        trained; only its layers are told of training, which gradient checkpointing asks for."""
        super().train(mode)
        if self.config.training == "frozen":
            self.model.eval()
            for layer in _checkpointed(self.model):
                layer.training = mode
        return self

    # -- parts -------------------------------------------------------------------------------------------

    @property
    def causal_lm(self) -> Any:
        """The Hugging Face model below peft's wrapper; adapted layers stay in place."""
        unwrap = getattr(self.model, "get_base_model", None)
        return self.model if unwrap is None else unwrap()

    @property
    def hf_config(self) -> PreTrainedConfig:
        """The architecture's config; of a multimodal model that of its text part."""
        return self.causal_lm.config.get_text_config()

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
    def embedding_rows(self) -> int:
        """Token ids that have an embedding, V."""
        return self.causal_lm.get_input_embeddings().weight.shape[0]

    @property
    def max_positions(self) -> int | None:
        """Longest text that the architecture reads, in tokens; None where it names no limit."""
        return getattr(self.hf_config, "max_position_embeddings", None)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the embeddings."""
        return self.causal_lm.get_input_embeddings().weight.dtype

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings [..., H] of token ids [...]."""
        return self.causal_lm.get_input_embeddings()(ids)

    def hidden(
        self, inputs_embeds: Tensor, position_ids: Tensor, mask: Any = None, cache: Any = None
    ) -> Tensor:
        """Last hidden states, [R, T, H].

        Parameters
        ----------
        inputs_embeds : [R, T, H].
        position_ids : long [R, T].
        mask : None (plain causal), an additive [R, 1, T, T'] tensor, a flex block mask, or a dict of these by
            layer type.
        cache : a transformers cache that is read and extended.
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
        """Log-probability [P] of each label (long [P]) from hidden states [P, H], by the chunked operator."""
        head = self.causal_lm.get_output_embeddings()
        chunk = self.config.logit_chunk
        if is_plain_linear(head):
            return label_logps(
                hidden, head.weight, labels, bias=head.bias, transform=self.transform, chunk=chunk
            )
        return module_label_logps(hidden, head, labels, transform=self.transform, chunk=chunk)

    # -- masks -------------------------------------------------------------------------------------------

    def mask(self, packed: PackedTrees) -> Any:
        """The attention mask of a packed batch as this architecture takes it; None for plain causal rows."""
        if packed.causal:
            return None
        if self.causal_lm.config._attn_implementation == "flex_attention":
            from moltc.backbone.flex import block_mask

            return self.by_layer(lambda window: block_mask(packed, window))
        return self.by_layer(lambda window: self.additive(attend(packed, window)))

    def additive(self, allowed: Tensor) -> Tensor:
        """bool [R, Q, T] -> additive [R, 1, Q, T] in the model's dtype."""
        mask = torch.zeros(allowed.shape, dtype=self.dtype, device=allowed.device)
        return mask.masked_fill_(~allowed, torch.finfo(self.dtype).min)[:, None]

    def by_layer(self, make: Callable[[int | None], Any]) -> Any:
        """``make(window)``; a dict of masks by layer type for architectures whose layers differ."""
        windows = self.windows
        masks = {kind: make(window) for kind, window in windows.items()}
        differ = getattr(self.hf_config, "layer_types", None) and set(windows) != {"full_attention"}
        return masks if differ else next(iter(masks.values()))

    @property
    def windows(self) -> dict[str, int | None]:
        """Layer type -> attention window in positions (None: full)."""
        window = getattr(self.hf_config, "sliding_window", None)
        kinds = getattr(self.hf_config, "layer_types", None)
        if not kinds:  # Mistral, Phi-3 and their like: all layers slide, or none
            kinds = ["full_attention" if window is None else "sliding_attention"]
        return {kind: window if kind == "sliding_attention" else None for kind in sorted(set(kinds))}

    def describe(self) -> dict[str, Any]:
        """Sizes, for cards and logs."""
        return {
            "name": self.config.name,
            "type": self.hf_config.model_type,
            "parameters": sum(p.numel() for p in self.parameters()),
            "trained": sum(p.numel() for p in self.parameters() if p.requires_grad),
        }


def load_tokenizer(name: str | Path) -> Any:
    """The tokenizer of a local folder or a Hugging Face id; code that comes with it is not run."""
    return AutoTokenizer.from_pretrained(str(name), trust_remote_code=False)


def head_transform(config: PreTrainedConfig) -> HeadTransform:
    """What an architecture does to its logits after the linear head, by its config."""
    scale = 1.0
    if getattr(config, "logit_scale", None) is not None:  # Cohere multiplies
        scale = float(config.logit_scale)
    elif getattr(config, "logits_scaling", None) is not None:  # Granite divides
        scale = 1.0 / float(config.logits_scaling)
    return HeadTransform(scale, getattr(config, "final_logit_softcapping", None))


# -- building ----------------------------------------------------------------------------------------------


def _name_end_token(tokenizer: Any, config: PreTrainedConfig) -> None:
    """Some published tokenizers (Galactica's) name no end token while their model's config does."""
    end = getattr(config, "eos_token_id", None)
    if tokenizer.eos_token_id is None and isinstance(end, int) and 0 <= end < len(tokenizer):
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)


def _check_tokenizer(tokenizer: Any, rows: int, name: str) -> None:
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"the tokenizer of {name} has no end token: set eos_token in its tokenizer_config.json"
        )
    if len(tokenizer) > rows:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} entries, {name} embeds {rows} ids: "
            "use the model's own tokenizer, or save the model with resized embeddings"
        )


def _attention(config: LanguageModelConfig) -> dict[str, str]:
    return {} if config.attention == "auto" else {"attn_implementation": config.attention}


def _build_tiny(config: LanguageModelConfig, tokenizer: Any) -> PreTrainedModel:
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
            attention, mlp = layer.self_attn, layer.mlp
            for linear in (attention.o_proj, mlp.down_proj):  # what a layer adds shrinks with the depth
                linear.weight.normal_(0.0, linear.in_features**-0.5 * (2 * tiny.layers) ** -0.5)
            for linear in (attention.q_proj, attention.k_proj, attention.v_proj, mlp.gate_proj, mlp.up_proj):
                linear.weight.normal_(0.0, linear.in_features**-0.5)
    return model if config.dtype == "auto" else model.to(getattr(torch, config.dtype))


def _load(config: LanguageModelConfig, architecture: str | Path | None) -> PreTrainedModel:
    """Weights from safetensors, or from a ``.bin`` file read with ``weights_only``: neither runs code."""
    dtype = "auto" if config.dtype == "auto" else getattr(torch, config.dtype)
    if architecture is not None or config.random_init:
        source = config.name if architecture is None else str(architecture)
        return _random(AutoConfig.from_pretrained(source, trust_remote_code=False), dtype, config)
    extra: dict[str, Any] = _attention(config)
    if config.quantization != "none":
        extra["quantization_config"] = _quantization(config.quantization)
    return AutoModelForCausalLM.from_pretrained(
        config.name, dtype=dtype, weights_only=True, trust_remote_code=False, **extra
    )


def _random(hf: PreTrainedConfig, dtype: Any, config: LanguageModelConfig) -> PreTrainedModel:
    if config.num_layers is not None:
        text = hf.get_text_config()
        text.num_hidden_layers = config.num_layers
        if getattr(text, "layer_types", None):
            text.layer_types = text.layer_types[: config.num_layers]
    if dtype == "auto":
        dtype = hf.dtype or torch.float32
    return AutoModelForCausalLM.from_config(hf, dtype=dtype, **_attention(config))


def _checkpointed(model: nn.Module) -> list[GradientCheckpointingLayer]:
    return [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]


def _drop_nothing(model: nn.Module) -> None:
    """Switch off the dropout that layers do by themselves (OPT's), not through a module of their own."""
    for layer in _checkpointed(model):
        for name, value in vars(layer).items():
            if "dropout" in name and isinstance(value, float):
                setattr(layer, name, 0.0)


def _quantization(bits: str) -> Any:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError(
            f"quantization {bits!r} needs bitsandbytes: pip install 'moltc[qlora]', or use 'none'"
        )
    if not torch.accelerator.is_available():
        raise ValueError(f"quantization {bits!r} needs a GPU, and none is visible: use quantization 'none'")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=bits == "4bit",
        load_in_8bit=bits == "8bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _with_lora(model: PreTrainedModel, config: LanguageModelConfig) -> PeftModel:
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if config.quantization != "none":
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    lora = config.lora
    settings = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules) or None,
        bias="none",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, settings)
