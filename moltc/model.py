"""MolTC: two molecules, a question, an answer in text (arXiv 2402.03781).

    graphs -> towers -> soft tokens . prompt = SMILES + soft tokens + question . answer = language
    model(prompt)

This file puts the parts together: the training loss, and saving. What a prompt looks like stands in
:mod:`moltc.prompt_writer`, how answers are decoded in :mod:`moltc.answering`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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
from moltc.backbone.graphs import GraphBatch
from moltc.backbone.language_model import LanguageModel, LanguageModelConfig
from moltc.backbone.processes import Mean, own_mean
from moltc.backbone.soft_prompt_lm import Completions, SoftPromptLM
from moltc.backbone.tokenizer import train_tokenizer
from moltc.backbone.towers import TowerConfig, TowerSet
from moltc.backbone.trie import TokenTrie
from moltc.card import model_card
from moltc.chain_of_thought import ChainOfThought, PromptStyle
from moltc.families import AnswerSpace
from moltc.neighbours import Substructures
from moltc.pair_towers import HeadSpec, PairHeadConfig, PairOutput, PairTowers
from moltc.prompt_writer import PromptWriter, fixed_phrases
from moltc.task import Task

if TYPE_CHECKING:
    from moltc.collate import PairBatch
    from moltc.pair_table import PairTable

KIND = "moltc-pairs"
FREE_WORDS = 4  # tokens that a freely written answer may take beyond the longest admissible one


@dataclass(frozen=True)
class DecodingConfig:
    """How answers are read off the model."""

    width: int = 24
    """Branches kept per prompt while a number is written."""
    point: Literal["expectation", "best", "median"] = "expectation"
    """The number reported: mean, most probable or median under the distribution over all printable
    numbers."""
    class_scores: Literal["trie", "labels"] = "trie"
    """Classes by the distribution over the trie of their sentences, which reads a token only where sentences
    part; or by the log-probability of each whole sentence, under one shared prompt."""
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
            # models of before there was the choice were calibrated on whole sentences
            decoding=DecodingConfig(**{"class_scores": "labels", **values["decoding"]}),
        )


class MolTC(nn.Module):
    """A trained or untrained MolTC model.

    Parameters
    ----------
    config, tasks : what it is made of, and what it answers; the tasks' names differ.
    language_model : built for ``config.language_model``.
    """

    def __init__(self, config: MolTCConfig, tasks: Sequence[Task], language_model: LanguageModel) -> None:
        super().__init__()
        self.config, self.tasks = config, tuple(tasks)
        _check_tasks(config, self.tasks)
        self.writers = tuple(PromptWriter(config, task, language_model.tokenizer) for task in self.tasks)
        width = language_model.hidden_size
        keys = dict.fromkeys(key for writer in self.writers for key in writer.keys)
        heads = {
            task.head: HeadSpec(task.kind.symmetric, task.outputs, task.kind.kind)
            for task in self.tasks
            if task.outputs
        }
        pairs = PairTowers(TowerSet(config.towers, tuple(keys), width), config.head, heads, width)
        self.lm = SoftPromptLM(language_model, pairs)
        self.calibration: dict[str, dict[str, Any]] = {}  # by task name

    @classmethod
    def build(
        cls, config: MolTCConfig, tasks: Sequence[Task], texts: Iterable[str] = (), *, seed: int = 0
    ) -> MolTC:
        """A new model; the tiny language model's tokenizer is trained from ``texts``."""
        torch.manual_seed(seed)
        tokenizer = None
        if config.language_model.is_tiny:
            tokenizer = train_tokenizer(
                texts,
                vocab_size=config.language_model.tiny.vocab_size,
                phrases=[phrase for task in tasks for phrase in fixed_phrases(config, task)],
            )
        model = cls(config, tasks, LanguageModel.from_config(config.language_model, tokenizer))
        return model.train()  # published weights come in evaluation mode

    @property
    def language_model(self) -> LanguageModel:
        return self.lm.language_model

    @property
    def pair_towers(self) -> PairTowers:
        towers = self.lm.towers
        assert isinstance(towers, PairTowers)
        return towers

    @property
    def task(self) -> Task:
        """The only task; a model of several has none that could be meant."""
        if len(self.tasks) > 1:
            raise ValueError(f"this model answers {len(self.tasks)} tasks, name one: {', '.join(self.names)}")
        return self.tasks[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return tuple(task.name for task in self.tasks)

    def task_number(self, name: str | None) -> int:
        """Number of a task by name; None means the only one."""
        if name is None:
            return self.tasks.index(self.task)
        if name not in self.names:
            raise ValueError(f"this model has no task {name!r}; it answers {', '.join(self.names)}")
        return self.names.index(name)

    def space(self, task: int = 0) -> AnswerSpace:
        """Every admissible answer of a task."""
        return self._spaces[task][0]

    def trie(self, task: int = 0) -> TokenTrie:
        """The automaton of the admissible answers of a task."""
        return self._spaces[task][1]

    @cached_property
    def _spaces(self) -> dict[int, tuple[AnswerSpace, TokenTrie]]:
        found = {}
        for number, (task, writer) in enumerate(zip(self.tasks, self.writers, strict=True)):
            if task.kind.kind != "text":
                space = task.answer_space(writer.cot)
                found[number] = (space, TokenTrie([writer.answer_ids(text) for text in space.texts]))
        return found

    def room(self, task: int = 0) -> int:
        """Most tokens that are written behind a prompt, those of a free answer's other words included."""
        settings, writer = self.config.decoding, self.writers[task]
        if task not in self._spaces:
            return settings.max_reasoning_tokens
        reasoning = settings.max_reasoning_tokens if writer.cot.writes_properties else 0
        return self.trie(task).depth + FREE_WORDS + reasoning

    @cached_property
    def line_breaks(self) -> np.ndarray:
        """Ids of the tokens whose text holds a line break, int64; they end a line of the property step."""
        tokenizer = self.language_model.tokenizer
        texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
        return np.array([i for i, text in enumerate(texts) if "\n" in text], dtype=np.int64)

    @cached_property
    def _weights(self) -> list[float]:
        """Weight of a pair's loss by task: several tasks weigh alike although their answers differ in length.

        A pair counts by the inverse of what guessing evenly among its task's answers would cost, in nats; the
        mean weight is 1. Free texts count as the mean does.
        """
        costs = [np.log(len(self.space(n))) if n in self._spaces else np.nan for n in range(len(self.tasks))]
        if np.isnan(costs).all():
            return [1.0] * len(costs)
        inverse = np.array([np.nanmean(costs) / cost for cost in costs])
        weights = np.where(np.isnan(inverse), 1.0, inverse)
        return (weights / weights.mean()).tolist()

    # -- training ----------------------------------------------------------------------------------

    def remember(self, table: PairTable, rows: np.ndarray) -> None:
        """Hold the training pairs ``rows`` of a table, which vote where ``head.neighbours`` asks for it."""
        for name, votes in self.pair_towers.voting():
            asked = [number for number, task in enumerate(self.tasks) if task.head == name]
            own = rows[np.isin(table.task[rows], asked)]
            seen, row = np.unique(np.stack([table.mol_a[own], table.mol_b[own]]), return_inverse=True)
            molecules = Substructures.of(GraphBatch.from_arrays(table.molecules.graphs.batch(seen)))
            row_a, row_b = torch.from_numpy(row.reshape(2, -1))
            votes.remember(molecules, row_a, row_b, torch.from_numpy(table.label[own].astype(np.int64)))

    def head_loss(self, batch: PairBatch, output: PairOutput, mean: Mean = own_mean) -> Tensor | None:
        """Loss of the auxiliary heads, mean over the pairs that have one: squared error of standardised
        labels, or cross-entropy; None where no pair has one."""
        if not self.config.head.weight:
            raise ValueError("this model has no auxiliary head: give head.weight a value above 0")
        losses = [_nothing(output)]  # a process without such pairs takes part in the mean over all
        for group, predicted in zip(batch.inputs.groups, output.predictions, strict=True):
            labels = batch.labels[group.prompts]
            numbers = torch.as_tensor(batch.tasks, device=labels.device)[group.prompts]
            losses.append(self._head_losses(predicted, labels, numbers))
        return mean(torch.cat(losses))

    def _head_losses(self, predicted: Tensor, labels: Tensor, numbers: Tensor) -> Tensor:
        """Loss of each pair [n] of one head; the tasks that share it share the scale of their labels."""
        task = self.tasks[int(numbers[0])]
        smoothing = self.config.head.label_smoothing
        if task.is_number:
            return (predicted.squeeze(-1) - (labels - task.mean) / task.std) ** 2
        if task.kind.kind == "class":
            return F.cross_entropy(predicted, labels.long(), label_smoothing=smoothing, reduction="none")
        targets = labels * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(predicted.squeeze(-1), targets, reduction="none")

    def tower_losses(self, batch: PairBatch, mean: Mean = own_mean) -> dict[str, Tensor]:
        """What towers and auxiliary heads are trained on without the language model, as :meth:`losses`."""
        heads_only = batch.inputs._replace(pair=batch.inputs.pair[:0])
        loss = self.head_loss(batch, self.lm.encode(heads_only), mean)
        if loss is None:
            raise ValueError("no pair of this batch has an auxiliary head: set optim.pretrain_epochs to 0")
        return {"loss": loss, "head": loss}

    def losses(self, batch: PairBatch, mean: Mean = own_mean) -> dict[str, Tensor]:
        """Losses of a batch with one completion per prompt.

        Returns ``loss`` (what is minimised), ``nll`` (negative log-likelihood of the target per pair, in
        nats, summed over its tokens: a prompt token is never scored) and ``head`` where there is a head; with
        several tasks also each task's own ``nll/NAME``. ``mean`` is the mean over pairs: over this process's
        own, or over those of all processes.
        """
        output = self.lm.encode(batch.inputs)
        scored: Completions = self.lm.score(batch.packed, output)
        each = -scored.logps
        nll = mean(each)
        losses = {"loss": nll, "nll": nll}
        if len(self.tasks) > 1:
            numbers = torch.as_tensor(batch.tasks, device=each.device).long()
            losses["loss"] = mean(each * each.new_tensor(self._weights)[numbers])
            for number, name in enumerate(self.names):
                losses[f"nll/{name}"] = mean(each[numbers == number])
        if self.config.head.weight:
            losses["head"] = self.head_loss(batch, output, mean)
        known = {name: loss for name, loss in losses.items() if loss is not None}
        if "head" in known:
            known["loss"] = known["loss"] + self.config.head.weight * known["head"]
        return known

    # -- saving ------------------------------------------------------------------------------------

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        results: dict[str, Any] | None = None,
        state: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Write the model to a folder: ``config.json``, ``model.safetensors``, ``adapter/``, ``tokenizer/``,
        a card.

        ``results`` are test metrics for the card, ``state`` the weights where they are not in this process
        (see :func:`moltc.backbone.checkpoint.save_model`).
        """
        settings = {
            "config": asdict(self.config),
            "tasks": [task.to_dict() for task in self.tasks],
            "calibration": self.calibration,
            "votes": {name: votes.sizes for name, votes in self.pair_towers.voting()},
        }
        card = model_card(self.tasks, self.language_model.describe(), asdict(self.config), results)
        save_model(folder, self, self.language_model, kind=KIND, settings=settings, card=card, state=state)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> MolTC:
        """The mirror of :meth:`save_pretrained`; raises CheckpointError for a folder that is not whole."""
        saved = read_config(folder, kind=KIND)
        try:
            settings = saved["settings"]
            config = MolTCConfig.from_dict(settings["config"])
            tasks = [Task.from_dict(values) for values in settings["tasks"]]
            model = cls(config, tasks, load_language_model(folder, saved))
            model.calibration = settings["calibration"]
            for name, votes in model.pair_towers.voting():
                votes.make_room(settings["votes"][name])
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the settings in {folder} do not describe a model of this version ({error!r}); "
                "export it again"
            ) from error
        load_weights(folder, model, model.language_model)
        return model.eval()


def _nothing(output: PairOutput) -> Tensor:
    """No value, float32 [0], that gradients reach the towers through."""
    return next(iter(output.soft_tokens.values())).flatten()[:0].float()


def _check_tasks(config: MolTCConfig, tasks: Sequence[Task]) -> None:
    names = [task.name for task in tasks]
    if not tasks or len(set(names)) < len(names):
        raise ValueError(f"a model needs tasks of different names, not {', '.join(names) or 'none'}")
    if config.head.label_smoothing and all(task.is_number for task in tasks):
        raise ValueError("head.label_smoothing is for yes/no and typed tasks; leave it out for numbers")
    if config.head.neighbours and any(task.is_number and task.outputs for task in tasks):
        raise ValueError("head.neighbours is for yes/no and typed tasks; leave it out for numbers")
    if config.head.weight and not any(task.outputs for task in tasks):
        kinds = "single molecules" if any(task.kind.kind != "text" for task in tasks) else "free texts"
        raise ValueError(f"{kinds} have no auxiliary head: set head.weight to 0")
