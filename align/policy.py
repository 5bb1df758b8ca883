"""The model in training: where it starts from, how it scores a batch, and the noise it does without."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from align.batch import PreferenceBatch
from align.preferences import Preferences
from moltc.backbone.checkpoint import language_model_config, load_text_model, read_config, saved_kind
from moltc.backbone.language_model import LanguageModel, LanguageModelConfig
from moltc.backbone.packing import PackedTrees
from moltc.backbone.prompt import PromptTree
from moltc.backbone.saved import PromptModel, Prompts, load_prompt_model
from moltc.backbone.soft_prompt_lm import Completions, SoftPromptLM
from moltc.backbone.tokenizer import train_tokenizer

RUNTIME = ("gradient_checkpointing", "attention", "sharing", "logit_chunk")
"""Settings of a language model that change how it computes and not what."""


class Policy(nn.Module):
    """A model that gives batches their log-probabilities.

    Parameters
    ----------
    model : reads the prompts.
    source : the exported model around it, where that writes prompts of its own; None for plain text.
    on_prompt : score the prompts' own tokens too, for losses that count them.

    Attributes
    ----------
    prompts : what ``source`` has read of the data; batches name its prompts by their rows.
    """

    def __init__(
        self, model: SoftPromptLM, source: PromptModel | None = None, *, on_prompt: bool = False
    ) -> None:
        super().__init__()
        self.model = model
        self.source, self.on_prompt = source, on_prompt
        self.prompts: Prompts | None = None

    @property
    def language_model(self) -> LanguageModel:
        return self.model.language_model

    def pack(self, trees: Sequence[PromptTree]) -> PackedTrees:
        """Pack trees the way this model reads them."""
        return self.model.pack(trees)

    def encoded(self, rows: np.ndarray, packed: PackedTrees) -> Any:
        """The towers' output for prompts of these rows, int64 ``[B]``; None for plain text."""
        if self.prompts is None:
            return None
        return self.model.encode(self.prompts.inputs(rows, packed).to(self.model.device))

    def score(self, batch: PreferenceBatch) -> Completions:
        """Log-probabilities of all completions of a batch."""
        return self.model.score(batch.packed, self.encoded(batch.rows, batch.packed))

    def preferences(self, batch: PreferenceBatch, ref_logps: Tensor | None = None) -> Preferences:
        """What a loss reads of a batch, with gradient where it is enabled.

        Args:
            ref_logps: reference sums of its completions, ``[C]``, for losses that compare with one.
        """
        encoded = self.encoded(batch.rows, batch.packed)
        hidden = self.model.hidden(batch.packed, encoded).flatten(0, 1)
        found = self.model.score_hidden(batch.packed, hidden)
        prompts: dict[str, Tensor] = {}
        if self.on_prompt:
            prompts["prompt_logps"] = self._prompt_logps(batch.packed, hidden)
            prompts["prompt_lengths"] = self.prompt_lengths(batch.packed)
        return Preferences.from_flat(
            found.logps,
            found.lengths,
            batch.num_completions,
            ref_logps,
            ids=batch.ids,
            desirable=batch.desirable,
            **prompts,
        )

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the model as what it was loaded as."""
        (self.model if self.source is None else self.source).save_pretrained(folder)

    def prompt_lengths(self, packed: PackedTrees) -> Tensor:
        """Scored tokens of each prompt, long ``[B]``: all but the first and soft ones."""
        _, owner = _prompt_places(packed)
        return torch.bincount(owner, minlength=len(packed.prompt_end))

    def _prompt_logps(self, packed: PackedTrees, hidden: Tensor) -> Tensor:
        """Sum of the log-probabilities of each prompt's own tokens, ``[B]``, from hidden states
        ``[R * T, H]``."""
        place, owner = _prompt_places(packed)
        labels = packed.input_ids.flatten()[place + 1]
        logps = self.language_model.label_logps(hidden[place], labels)
        return logps.new_zeros(len(packed.prompt_end)).index_add(0, owner, logps)


def _prompt_places(packed: PackedTrees) -> tuple[Tensor, Tensor]:
    """Flat positions that predict a text token of a prompt, and whose prompt it is; long ``[n]`` each."""
    ends = packed.prompt_end
    counts = packed.position_ids.flatten()[ends]  # tokens before the last one, [B]
    owner = torch.repeat_interleave(counts)
    within = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner]
    place = (ends - counts)[owner] + within
    soft = torch.zeros(packed.input_ids.numel(), dtype=torch.bool, device=owner.device)
    soft[packed.slot_index] = True
    text = ~soft[place + 1]
    return place[text], owner[text]


def build_policy(
    config: LanguageModelConfig,
    start_from: str | None,
    texts: Iterable[str] = (),
    *,
    seed: int = 0,
    on_prompt: bool = False,
) -> Policy:
    """A model to train: a new one, or one that an earlier run exported.

    Args:
        config: the language model. With ``start_from`` it is the export's own where nothing is said; what is
            said must agree with it, but for settings that change only how it computes.
        start_from: exported folder whose weights (and adapter) are trained on.
        texts: the tiny model's tokenizer is trained from them.
        seed: of new weights.
        on_prompt: see :class:`Policy`.

    Raises:
        ValueError: the export has another language model, or nothing of the model would be trained.
    """
    torch.manual_seed(seed)
    source = None if start_from is None else load_prompt_model(start_from)
    if source is not None:
        if config != LanguageModelConfig():
            raise ValueError(f"{start_from} brings its language model: leave model.language_model out")
        model = source.lm
    else:
        model = SoftPromptLM(_new(config, texts) if start_from is None else _exported(config, start_from))
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("nothing is trained: set language_model.training to lora or full")
    return Policy(model, source, on_prompt=on_prompt)


def _new(config: LanguageModelConfig, texts: Iterable[str]) -> LanguageModel:
    if saved_kind(config.name) is not None:
        raise ValueError(f"{config.name} is an exported model: name it as start_from")
    if not config.is_tiny:
        return LanguageModel.from_config(config)
    tokenizer = train_tokenizer(texts, vocab_size=config.tiny.vocab_size)
    return LanguageModel.from_config(config, tokenizer)


def _exported(config: LanguageModelConfig, folder: str) -> LanguageModel:
    saved = read_config(folder)
    had = language_model_config(saved["language_model"])
    kept = _computed_as(config, had)
    if kept in (had, _computed_as(LanguageModelConfig(), had)):
        return load_text_model(folder, saved | {"language_model": asdict(_computed_as(had, config))})
    if had.training == "frozen" and replace(kept, training="frozen", lora=had.lora) == had:
        return LanguageModel.from_config(config)  # its weights are those it was published with
    raise ValueError(
        f"{folder} was made with another language model or another way to train it; leave "
        "model.language_model out, or give the settings in its config.json"
    )


def _computed_as(config: LanguageModelConfig, other: LanguageModelConfig) -> LanguageModelConfig:
    """A config with the runtime settings of another."""
    return replace(config, **{name: getattr(other, name) for name in RUNTIME})


def without_noise(model: nn.Module) -> None:
    """Put a model that is trained into evaluation mode: no dropout, batch norm with its running statistics.

    Layers that can recompute their activations are still told of training, which gradient checkpointing asks
    for; dropout that they do by themselves is set to zero.
    """
    model.eval()
    for layer in model.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            layer.training = True
            for name, value in vars(layer).items():
                if "dropout" in name and isinstance(value, float):
                    setattr(layer, name, 0.0)
