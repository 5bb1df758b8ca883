"""Which language model, and what of it is trained: plain settings, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

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

    def __post_init__(self) -> None:
        if self.hidden % (2 * self.heads):
            raise ValueError(f"hidden {self.hidden} must be a multiple of twice the {self.heads} heads")
        _check_dropout(self.dropout)


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters of the language model (peft); the defaults are the wider of MolTC's two settings."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.1
    target_modules: tuple[str, ...] = ()
    """Module names to adapt; empty: peft's default for the architecture."""

    def __post_init__(self) -> None:
        if self.r < 1:
            raise ValueError(
                f"lora.r must be at least 1, not {self.r}; without adapters use training 'frozen'"
            )
        _check_dropout(self.dropout)


@dataclass(frozen=True)
class LanguageModelConfig:
    """Which language model, and what of it is trained.

    ``name`` is "tiny", a Hugging Face id or a local folder. ``training`` is "full", "lora" or "frozen". The
    groups ``lora`` and ``tiny`` are read only where ``training`` and ``name`` ask for them, so that one file
    can serve several.

    Raises
    ------
    ValueError
        for a value or a combination that cannot be honoured, with what to change.
    """

    name: str = TINY
    training: Literal["full", "lora", "frozen"] = "full"
    lora: LoraSettings = field(default_factory=LoraSettings)
    quantization: Literal["none", "4bit", "8bit"] = "none"
    """QLoRA: quantised base weights (needs bitsandbytes and a GPU); only with training "lora" or "frozen".
    4-bit weights are multiplied in bfloat16."""
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    """Type of the weights; "auto" takes that of the stored ones (float32 for the tiny model)."""
    attention: Literal["auto", "sdpa", "eager", "flex_attention"] = "auto"
    sharing: Literal["auto", "shared", "expanded"] = "auto"
    """One prompt for all its completions, or a row for each; "auto" shares where it can, else says why."""
    gradient_checkpointing: bool = False
    logit_chunk: int = 1024
    """Rows whose logits exist at one time, at most; fewer under a large vocabulary."""
    random_init: bool = False
    """Build the architecture with random weights (dry runs and tests); the tokenizer is still loaded."""
    num_layers: int | None = None
    """Cut the architecture down to this depth; only with ``random_init``."""
    tiny: TinyConfig = field(default_factory=TinyConfig)

    def __post_init__(self) -> None:
        _check_choices(self)
        if self.quantization != "none" and self.training == "full":
            raise ValueError(
                "quantised weights cannot be trained: use training 'lora' or 'frozen', or quantization 'none'"
            )
        if self.quantization != "none" and self.random_init:
            raise ValueError(
                "random weights are not quantised: use quantization 'none' or random_init: false"
            )
        if self.is_tiny and (self.training != "full" or self.quantization != "none"):
            raise ValueError(
                "the tiny model starts from random weights: use training 'full' and quantization 'none'"
            )
        if self.is_tiny and (self.random_init or self.num_layers is not None):
            raise ValueError(
                "the tiny model is random and its depth is tiny.layers: leave out random_init and num_layers"
            )
        if self.num_layers is not None and not self.random_init:
            raise ValueError("num_layers cuts the architecture down and needs random_init: true")
        if self.num_layers is not None and self.num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, not {self.num_layers}")
        if self.logit_chunk < 1:
            raise ValueError(f"logit_chunk must be at least 1 row, not {self.logit_chunk}")

    @property
    def is_tiny(self) -> bool:
        """Whether this is the built-in model."""
        return self.name == TINY

    @property
    def owns_weights(self) -> bool:
        """Whether the base weights exist nowhere else once training has begun, and belong into every
        checkpoint."""
        return self.is_tiny or self.training == "full" or self.random_init

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LanguageModelConfig:
        """The mirror of ``dataclasses.asdict``, also after a trip through JSON."""
        values = dict(values)
        lora = dict(values["lora"])
        lora["target_modules"] = tuple(lora["target_modules"])
        values["lora"], values["tiny"] = LoraSettings(**lora), TinyConfig(**values["tiny"])
        return cls(**values)


def _check_choices(config: Any) -> None:
    """Every field that is a ``Literal`` holds one of its values."""
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise ValueError(f"{name} must be one of {', '.join(map(repr, get_args(hint)))}, not {value!r}")


def _check_dropout(value: float) -> None:
    if not 0.0 <= value < 1.0:
        raise ValueError(f"dropout must be at least 0 and below 1, not {value}")
