"""Settings of RecInterpreter: what is read, by which language model, and what of it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from graphrec.language.config import check_choices
from graphrec.llara.templates import DOMAINS
from graphrec.recinterpreter.prompts import TASKS, Task
from graphrec.recinterpreter.reader import Projector, Reads
from moltc.backbone.language_model_config import TINY, LanguageModelConfig, TinyConfig

Trains = Literal["adapter", "all"]


@dataclass(frozen=True)
class RecInterpreterConfig:
    """RecInterpreter (arXiv 2310.20487).

    Attributes:
        source: folder of the saved recommender that is read: sasrec, gru4rec, caser, cl4srec or dreamrec. It
            is stored with the model.
        tasks: what is trained, mixed evenly: "recovery" lists a history, "residual" names what was added,
            "item" names the item of a vector, which reads DreamRec's oracle items.
        length: latest items of a history, L.
        reads: "all": a learned weighted sum of the states at all L places; "last": the latest state.
        soft_tokens: of a history or item.
        projector: from there to soft tokens, "linear" or "mlp".
        trains: "adapter": soft tokens alone; "all": the language model too, which must be one from scratch.
        language_steps: first steps, in which a language model from scratch learns the titles and the prompts
            from digests of title embeddings, and no state is read; 0 for a pre-trained one.
        domain: what items are called: films, games, artists or items.
        pretrained: folder or Hugging Face id of a causal language model, which stays as it is; None: a small
            Llama-style model from scratch.
        dtype: of its weights.
        random_init, num_layers: its architecture with random weights, cut to a depth, for dry runs.
        width, layers, heads: of the model from scratch.
        vocabulary: of the model from scratch: "words" of the titles, or "bpe", pieces of words.
        vocabulary_size: tokens learnt by "bpe".
        answer_tokens: most tokens of a training answer, the rest is cut off; 32 in the released code. None:
            whole answers.
        max_new_tokens: most tokens of a generated answer.
        batch_size: rows of a batch.
        lr, weight_decay: of AdamW.
        warmup_steps: over which the learning rate rises, in either stage.
        warmup_from: share of the learning rate that it rises from.
    """

    source: str = ""
    tasks: tuple[Task, ...] = ("recovery", "residual")
    length: int = 10
    reads: Reads = "all"
    soft_tokens: int = 1
    projector: Projector = "linear"
    trains: Trains = "adapter"
    language_steps: int = 2000
    domain: str = "items"
    pretrained: str | None = None
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "bfloat16"
    random_init: bool = False
    num_layers: int | None = None
    width: int = 128
    layers: int = 2
    heads: int = 4
    vocabulary: Literal["words", "bpe"] = "words"
    vocabulary_size: int = 2000
    answer_tokens: int | None = None
    max_new_tokens: int = 100
    batch_size: int = 32
    lr: float = 1e-3
    weight_decay: float = 1e-6
    warmup_steps: int = 100
    warmup_from: float = 0.2

    def __post_init__(self) -> None:
        check_choices(self)
        object.__setattr__(self, "tasks", tuple(self.tasks))
        odd = [task for task in self.tasks if task not in TASKS]
        if odd or not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"tasks={self.tasks} must be some of {', '.join(TASKS)}, each once")
        if self.domain not in DOMAINS:
            raise ValueError(f"domain={self.domain!r} is not known; choose from {', '.join(DOMAINS)}")
        for name in ("length", "soft_tokens", "max_new_tokens", "batch_size", "answer_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if not self.lr > 0 or self.weight_decay < 0 or self.warmup_steps < 0 or self.language_steps < 0:
            raise ValueError(
                f"lr={self.lr} must be above 0; weight_decay={self.weight_decay}, "
                f"warmup_steps={self.warmup_steps} and language_steps={self.language_steps} not below"
            )
        if not 0 < self.warmup_from <= 1:
            raise ValueError(f"warmup_from={self.warmup_from} is a share of the learning rate: give 0 to 1")
        self._check_language_model()

    def _check_language_model(self) -> None:
        scratch = self.pretrained is None
        if not scratch and (self.trains == "all" or self.language_steps):
            raise ValueError(
                "a pre-trained language model stays as it is: with it give trains 'adapter' and "
                "language_steps 0"
            )
        if scratch and self.trains == "adapter" and not self.language_steps:
            raise ValueError(
                "a language model from scratch that is never trained cannot answer: give language_steps, or "
                "trains 'all'"
            )
        if scratch and (self.random_init or self.num_layers is not None):
            raise ValueError(
                "random_init and num_layers need pretrained, the architecture that they cut down"
            )
        _ = self.language_model

    @property
    def language_model(self) -> LanguageModelConfig:
        """The language model as the backbone takes it."""
        if self.pretrained is None:
            inner = round(2.75 * self.width)
            return LanguageModelConfig(TINY, tiny=TinyConfig(self.width, self.layers, self.heads, inner))
        return LanguageModelConfig(
            self.pretrained,
            "frozen",
            dtype=self.dtype,
            random_init=self.random_init,
            num_layers=self.num_layers,
        )

    @property
    def separator(self) -> str:
        """What stands between listed titles; among words it is a word of its own."""
        return " , " if self.pretrained is None and self.vocabulary == "words" else ", "

    @classmethod
    def reference(cls, **others: Any) -> RecInterpreterConfig:
        """The released settings: LLaMA-7B, recovery alone, answers cut at 32 tokens, a slow warm-up."""
        given: dict[str, Any] = {
            "pretrained": "huggyllama/llama-7b",
            "dtype": "float32",
            "tasks": ("recovery",),
            "language_steps": 0,
            "answer_tokens": 32,
            "batch_size": 16,
            "warmup_steps": 25_000,
        }
        return cls(**(given | others))
