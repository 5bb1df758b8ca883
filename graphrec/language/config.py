"""Settings that recommenders on a language model share: the model, what it reads of items, how it is trained.

Each recommender's own settings extend these, so that a YAML file has one flat group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from moltc.backbone.language_model_config import TINY, LanguageModelConfig, LoraSettings, TinyConfig

ItemForm = Literal["hybrid", "text", "token"]
LLAMA_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class LanguageSettings:
    """Settings of the language model and of what it reads.

    Attributes:
        pretrained: folder or Hugging Face id of a causal language model; None: a small Llama-style model,
            trained from scratch.
        training: of a pre-trained model: "lora", "full" or "frozen"; a model from scratch is trained in full.
        width, layers, heads: of the model from scratch, D wide.
        inner: width of its feed-forward part; None: 2.75 D.
        tied: its output layer is its table of token embeddings.
        dropout: share of embedded features, and of a model from scratch of attention weights, dropped while
            training.
        vocabulary: of the model from scratch: "words", every word of the titles is a token; "titles", every
            title is one, so that a text-only model is one of ids; "bpe", pieces of words.
        vocabulary_size: tokens learnt by "bpe".
        lora_rank, lora_alpha, lora_dropout, lora_targets: of "lora"; by default Llama's seven projections.
        quantization: of the frozen weights of a pre-trained model, "none", "4bit" or "8bit".
        dtype: of a pre-trained model's weights.
        gradient_checkpointing: trade time for memory.
        random_init, num_layers: a pre-trained architecture with random weights, cut to a depth, for dry runs.
        end_mark: what ends a title: "end", the tokenizer's end token, or "newline".
        form: how an item is shown: "hybrid", title and soft token; "text", title and placeholder; "token",
            the soft token alone.
        length: latest items that are shown, L.
        sources: item vectors that soft tokens are made from, side by side: "cooccurrence", a factorisation of
            what occurs near what, or folders of saved recommenders. They are stored with the model.
        vector_width: of the factorisation.
        states: the soft token also holds the sources' state after the history up to its item.
        projector: from vectors to soft tokens, "linear" or "mlp".
        token_start: "vectors", the embedding of a token starts from the vectors of the items whose titles
            hold it, and the projector as the same map; or "random". For models from scratch.
        batch_size: rows of a batch: windows of a sequence, or prompts.
        lr, betas, weight_decay: of AdamW.
        projector_decay: weight decay of the projector; None: the same.
        warmup_steps: linear rise of the learning rate.
        planned_epochs: epochs over which the learning rate falls along a cosine, and everything else that
            depends on the length of the run; give the trainer the same number.
        floor: share of the learning rate at the end.
    """

    pretrained: str | None = None
    training: Literal["lora", "full", "frozen"] = "lora"
    width: int = 64
    layers: int = 2
    heads: int = 2
    inner: int | None = None
    tied: bool = True
    dropout: float = 0.1
    vocabulary: Literal["words", "titles", "bpe"] = "words"
    vocabulary_size: int = 2000
    lora_rank: int = 8
    lora_alpha: int = 32
    lora_dropout: float = 0.1
    lora_targets: tuple[str, ...] = LLAMA_PROJECTIONS
    quantization: Literal["none", "4bit", "8bit"] = "none"
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "bfloat16"
    gradient_checkpointing: bool = False
    random_init: bool = False
    num_layers: int | None = None
    end_mark: Literal["end", "newline"] = "end"
    form: ItemForm = "hybrid"
    length: int = 10
    sources: tuple[str, ...] = ("cooccurrence",)
    vector_width: int = 64
    states: bool = False
    projector: Literal["linear", "mlp"] = "mlp"
    token_start: Literal["vectors", "random"] = "vectors"
    batch_size: int = 12
    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    projector_decay: float | None = None
    warmup_steps: int = 50
    planned_epochs: int = 20
    floor: float = 0.1

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("length", "batch_size", "vector_width", "planned_epochs", "layers", "heads", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("weight_decay", "warmup_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, not {self.lr}")
        if not 0 <= self.floor <= 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"floor={self.floor} and dropout={self.dropout} are shares between 0 and 1")
        self._check_sources()
        self._check_model()

    def _check_sources(self) -> None:
        if not self.sources and (self.form != "text" or self.states or self.token_start == "vectors"):
            raise ValueError(
                "soft tokens and token_start 'vectors' need sources: name one, or give form 'text', states "
                "false and token_start 'random'"
            )
        if self.states and self.form == "text":
            raise ValueError("form 'text' shows no soft token, so states have no effect: give states false")

    def _check_model(self) -> None:
        if self.pretrained is not None and self.token_start == "vectors":
            raise ValueError(
                "a pre-trained model keeps its token embeddings: give token_start 'random' with it"
            )
        if self.pretrained is None and self.vocabulary != "bpe" and self.end_mark == "newline":
            raise ValueError(
                f"a vocabulary of {self.vocabulary} has no line break: give end_mark 'end', or vocabulary "
                "'bpe'"
            )
        if self.pretrained is None and (self.random_init or self.num_layers is not None):
            raise ValueError(
                "random_init and num_layers need pretrained, the architecture that they cut down"
            )
        _ = self.language_model

    @property
    def language_model(self) -> LanguageModelConfig:
        """The settings as the backbone takes them."""
        if self.pretrained is None:
            inner = self.inner or round(2.75 * self.width)
            tiny = TinyConfig(self.width, self.layers, self.heads, inner, dropout=self.dropout)
            return LanguageModelConfig(TINY, "full", tiny=tiny)
        return LanguageModelConfig(
            self.pretrained,
            self.training,
            LoraSettings(self.lora_rank, self.lora_alpha, self.lora_dropout, self.lora_targets),
            quantization=self.quantization,
            dtype=self.dtype,
            gradient_checkpointing=self.gradient_checkpointing,
            random_init=self.random_init,
            num_layers=self.num_layers,
        )


def check_choices(settings: Any) -> None:
    """Every setting that is a ``Literal`` holds one of its values.

    Raises:
        ValueError: one does not; the message lists those there are.
    """
    for name, hint in get_type_hints(type(settings)).items():
        choices: Sequence[Any] = get_args(hint) if get_origin(hint) is Literal else ()
        if choices and getattr(settings, name) not in choices:
            told = ", ".join(map(repr, choices))
            raise ValueError(f"{name}={getattr(settings, name)!r} is not known; choose from {told}")
