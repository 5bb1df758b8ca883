"""MolTC: two molecules, a question, an answer in text (arXiv 2402.03781).

    graphs -> towers -> soft tokens . prompt = SMILES + soft tokens + question . answer = language
    model(prompt)

This file puts the parts together: what a prompt tree of a pair looks like, the training loss, and saving.
How answers are decoded stands in :mod:`moltc.answering`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moltc.backbone.checkpoint import (
    CheckpointError,
    language_model_config,
    load_language_model,
    load_weights,
    read_config,
    save_model,
)
from moltc.backbone.language_model import LanguageModel, LanguageModelConfig
from moltc.backbone.packing import PackedTrees
from moltc.backbone.prompt import PromptBuilder, PromptTree, Soft
from moltc.backbone.soft_prompt_lm import Completions, SoftPromptLM
from moltc.backbone.tokenizer import train_tokenizer
from moltc.backbone.towers import TowerConfig, TowerSet, tower_key
from moltc.backbone.trie import TokenTrie
from moltc.card import model_card
from moltc.chain_of_thought import ChainOfThought, PromptStyle, phrases, prompt_pieces
from moltc.families import AnswerSpace
from moltc.pair_towers import PAIR, PairHeadConfig, PairInputs, PairOutput, PairTowers
from moltc.task import Task

KIND = "moltc-pairs"
PAIR_TITLE = "\nPair: "
PAIR_SLOT = 3
FREE_WORDS = 4  # tokens that a freely written answer may take beyond the longest admissible one


@dataclass(frozen=True)
class DecodingConfig:
    """How answers are read off the model."""

    width: int = 24
    """Branches kept per prompt while a number is written."""
    point: Literal["expectation", "best", "median"] = "expectation"
    """The number reported: mean, most probable or median under the distribution over all printable
    numbers."""
    max_reasoning_tokens: int = 192
    """Most tokens of the property step; a step cut here is reported with the answer."""


@dataclass(frozen=True)
class MolTCConfig:
    """Everything a MolTC model is made of."""

    language_model: LanguageModelConfig = field(default_factory=LanguageModelConfig)
    towers: TowerConfig = field(default_factory=TowerConfig)
    cot: ChainOfThought = field(default_factory=ChainOfThought)
    prompt: PromptStyle = field(default_factory=PromptStyle)
    head: PairHeadConfig = field(default_factory=PairHeadConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> MolTCConfig:
        """The mirror of ``dataclasses.asdict``, also after a trip through JSON."""
        prompt = dict(values["prompt"])
        prompt["smiles_markers"] = tuple(prompt["smiles_markers"])
        return cls(
            language_model=language_model_config(values["language_model"]),
            towers=TowerConfig.from_dict(values["towers"]),
            cot=ChainOfThought(**values["cot"]),
            prompt=PromptStyle(**prompt),
            head=PairHeadConfig(**values["head"]),
            decoding=DecodingConfig(**values["decoding"]),
        )


@dataclass(frozen=True)
class PairText:
    """What the prompt of one pair is written from; a and b stand in the family's order."""

    smiles_a: str
    smiles_b: str
    properties_a: str = ""
    properties_b: str = ""
    query: str | None = None

    def swapped(self) -> PairText:
        """The same pair in the other order."""
        return PairText(self.smiles_b, self.smiles_a, self.properties_b, self.properties_a, self.query)


class PromptWriter:
    """Writes prompt trees of pairs; small enough to travel to data workers."""

    def __init__(self, config: MolTCConfig, task: Task, tokenizer: Any) -> None:
        self.config, self.task = config, task
        queries = dict.fromkeys(self.keys, config.towers.num_queries) | {PAIR: config.head.pair_tokens}
        self.builder = PromptBuilder(tokenizer, self.key, queries, placeholder=tokenizer.eos_token_id)

    @property
    def keys(self) -> tuple[str, str]:
        """Tower keys of slots 1 and 2."""
        role_a, role_b = self.task.kind.roles
        return self.key(role_a, 1), self.key(role_b, 2)

    def key(self, role: str, slot: int) -> str:
        """Tower that encodes what stands in a slot."""
        return PAIR if role == PAIR else tower_key(self.config.towers.sharing, role, slot, self.task.dataset)

    def reasoning(self, text: PairText) -> str:
        """The property step of a pair; empty when the chain of thought has none."""
        if not self.config.cot.properties:
            return ""
        return self.task.kind.reasoning(text.properties_a, text.properties_b)

    def pieces(self, text: PairText) -> list[str | Soft]:
        """The prompt of a pair in pieces."""
        given = prompt_pieces(
            self.task.kind,
            text.smiles_a,
            text.smiles_b,
            property=self.task.property,
            query=text.query,
            cot=self.config.cot,
            reasoning=self.reasoning(text) if self.config.cot.teacher_force_properties else "",
            style=self.config.prompt,
        )
        pieces = list(given)
        if self.config.head.pair_tokens:
            pieces[-1:-1] = [PAIR_TITLE, Soft(PAIR, PAIR_SLOT)]
        return pieces

    def tree(self, text: PairText, a: int, b: int, pair: int, answers: Sequence[str] = ()) -> PromptTree:
        """The tree of one pair.

        ``a`` and ``b`` are rows of the molecule table, ``pair`` the prompt's number in its batch; each
        answer becomes a completion, after the property step where the model writes it.
        """
        tree = self.builder.build(self.pieces(text), {1: a, 2: b, PAIR_SLOT: pair})
        if not answers:
            return tree
        if not self.config.cot.writes_properties:
            return tree.with_completions([self.builder.completion(answer) for answer in answers])
        step = self.builder.following(self.reasoning(text))
        return tree.with_completions([np.concatenate([step, self.answer_ids(answer)]) for answer in answers])

    def answer_ids(self, answer: str) -> np.ndarray:
        """Ids of an answer where it stands: after the written property step, or directly after the prompt."""
        if self.config.cot.writes_properties:
            return np.concatenate([self.builder.ids(answer), [self.builder.tokenizer.eos_token_id]])
        return self.builder.completion(answer)


class MolTC(nn.Module):
    """A trained or untrained MolTC model for one task.

    Parameters
    ----------
    config, task : what it is made of, and what it answers.
    language_model : built for ``config.language_model``.
    """

    def __init__(self, config: MolTCConfig, task: Task, language_model: LanguageModel) -> None:
        super().__init__()
        if config.head.label_smoothing and task.is_number:
            raise ValueError("head.label_smoothing is for yes/no tasks; leave it out for numbers")
        self.config, self.task = config, task
        self.writer = PromptWriter(config, task, language_model.tokenizer)
        width = language_model.hidden_size
        towers = TowerSet(config.towers, self.writer.keys, width)
        pairs = PairTowers(towers, config.head, width, symmetric=task.kind.symmetric)
        self.lm = SoftPromptLM(language_model, pairs)
        self.calibration: dict[str, Any] = {}

    @classmethod
    def build(cls, config: MolTCConfig, task: Task, texts: Iterable[str] = (), *, seed: int = 0) -> MolTC:
        """A new model; the tiny language model's tokenizer is trained from ``texts``."""
        torch.manual_seed(seed)
        tokenizer = None
        if config.language_model.is_tiny:
            tokenizer = train_tokenizer(
                texts, vocab_size=config.language_model.tiny.vocab_size, phrases=fixed_phrases(config, task)
            )
        model = cls(config, task, LanguageModel.from_config(config.language_model, tokenizer))
        return model.train()  # published weights come in evaluation mode

    @property
    def language_model(self) -> LanguageModel:
        return self.lm.language_model

    @property
    def pair_towers(self) -> PairTowers:
        towers = self.lm.towers
        assert isinstance(towers, PairTowers)
        return towers

    @cached_property
    def space(self) -> AnswerSpace:
        """Every admissible answer."""
        return self.task.answer_space(self.config.cot)

    @cached_property
    def trie(self) -> TokenTrie:
        """The automaton of the admissible answers."""
        return TokenTrie([self.writer.answer_ids(text) for text in self.space.texts])

    @property
    def room(self) -> int:
        """Most tokens that are written behind a prompt, those of a free answer's other words included."""
        settings, cot = self.config.decoding, self.config.cot
        return self.trie.depth + FREE_WORDS + (settings.max_reasoning_tokens if cot.writes_properties else 0)

    @cached_property
    def line_breaks(self) -> np.ndarray:
        """Ids of the tokens whose text holds a line break, int64; they end a line of the property step."""
        tokenizer = self.language_model.tokenizer
        texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
        return np.array([i for i, text in enumerate(texts) if "\n" in text], dtype=np.int64)

    # -- training ----------------------------------------------------------------------------------

    def head_loss(self, output: PairOutput, labels: Tensor) -> Tensor:
        """Loss of the auxiliary head: squared error of standardised labels, or binary cross-entropy."""
        if output.prediction is None:
            raise ValueError("this model has no auxiliary head: give head.weight a value above 0")
        if self.task.is_number:
            return F.mse_loss(output.prediction, (labels - self.task.mean) / self.task.std)
        smoothing = self.config.head.label_smoothing
        targets = labels * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(output.prediction, targets)

    def losses(self, packed: PackedTrees, inputs: PairInputs, labels: Tensor) -> dict[str, Tensor]:
        """Losses of a batch with one completion per prompt.

        Returns ``loss`` (what is minimised), ``nll`` (negative log-likelihood of the target per pair, in
        nats, summed over its tokens: a prompt token is never scored) and ``head`` where there is a head.
        """
        output = self.lm.encode(inputs)
        scored: Completions = self.lm.score(packed, output)
        nll = -scored.logps.mean()
        if output.prediction is None:
            return {"loss": nll, "nll": nll}
        head = self.head_loss(output, labels)
        return {"loss": nll + self.config.head.weight * head, "nll": nll, "head": head}

    # -- saving ------------------------------------------------------------------------------------

    def save_pretrained(self, folder: str | Path, *, results: dict[str, Any] | None = None) -> None:
        """Write the model to a folder: ``config.json``, ``model.safetensors``, ``adapter/``, ``tokenizer/``,
        a card.

        ``results`` are test metrics for the card.
        """
        settings = {
            "config": asdict(self.config),
            "task": self.task.to_dict(),
            "calibration": self.calibration,
        }
        card = model_card(self.task, self.language_model.describe(), asdict(self.config), results)
        save_model(folder, self, self.language_model, kind=KIND, settings=settings, card=card)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> MolTC:
        """The mirror of :meth:`save_pretrained`; raises CheckpointError for a folder that is not whole."""
        saved = read_config(folder, kind=KIND)
        try:
            settings = saved["settings"]
            config, task = MolTCConfig.from_dict(settings["config"]), Task.from_dict(settings["task"])
            model = cls(config, task, load_language_model(folder, saved))
            model.calibration = settings["calibration"]
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the settings in {folder} do not describe a model of this version ({error!r}); "
                "export it again"
            ) from error
        load_weights(folder, model, model.language_model)
        return model.eval()


def fixed_phrases(config: MolTCConfig, task: Task) -> list[str]:
    """The texts that examples of a task repeat, as the tiny tokenizer's single entries.

    Of an answer these are its wording up to the decimal point: an interval fixes the digits before it.
    """
    space = task.answer_space(config.cot)
    found = phrases(task.kind, space, property=task.property, cot=config.cot, style=config.prompt)
    starts = set(space.openings)
    if task.is_number:
        starts |= {text[: text.rindex(".", 0, -1) + 1] for text in space.texts if "." in text[:-1]}
    lead = "" if config.cot.writes_properties else " "  # an answer right after the prompt starts with a blank
    fixed = [p for p in found if p not in space.openings] + [lead + start for start in sorted(starts)]
    return [*fixed, PAIR_TITLE] if config.head.pair_tokens else fixed
