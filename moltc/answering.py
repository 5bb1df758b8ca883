"""From a batch of prompts to answers: reasoning, constrained decoding, label scoring, free generation.

Numbers and classes are decoded inside the trie of all printable answers, so an invalid answer cannot be
written; yes/no answers are scored, ``log p(answer + end | prompt)``, under one shared prompt. Symmetric
families are asked in both orders and the log-odds averaged. Free texts are written greedily.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from moltc.backbone.decoding import decode_trie, generate
from moltc.backbone.packing import pack
from moltc.backbone.prompt import PromptTree
from moltc.calibration import PlattCalibration
from moltc.class_calibration import ClassCalibration
from moltc.class_metrics import log_softmax
from moltc.collate import PairBatch
from moltc.metrics import sigmoid
from moltc.model import MolTC
from moltc.pair_towers import PairOutput


@dataclass
class Answers:
    """Answers to n pairs; every array has length n.

    Attributes
    ----------
    value : float64; the number, the probability of yes or of the class before calibration, NaN for free text.
    text : the answer sentence for ``value``.
    reasoning : the property step that the model wrote (empty without one).
    reasoning_cut : the property step did not end within its budget.
    interval : float64 [n, 2]; the interval that the answer names, NaN where none.
    spread : float64; standard deviation of the decoded distribution (numbers), NaN otherwise.
    best : float64; the most probable number (greedy answer), NaN for yes/no.
    coverage : float64; probability that the decoder kept, 1 for yes/no.
    log_odds : float64; of yes, averaged over both orders where symmetric; NaN for numbers.
    log_odds_orders : float64 [n, 2]; log-odds of each order, NaN where only one was asked.
    head : float64; the auxiliary head's number, log-odds or class, NaN without a head.
    scores : float32 [n, C]; log-probability of each class, with C 0 where there are no classes.
    head_scores : float32 [n, C]; the auxiliary head's scores of the classes.
    """

    value: np.ndarray
    text: list[str]
    reasoning: list[str]
    reasoning_cut: np.ndarray
    interval: np.ndarray
    spread: np.ndarray
    best: np.ndarray
    coverage: np.ndarray
    log_odds: np.ndarray
    log_odds_orders: np.ndarray
    head: np.ndarray
    scores: np.ndarray
    head_scores: np.ndarray

    @classmethod
    def plain(cls, texts: list[str], reasoning: list[str], cut: np.ndarray, **arrays: np.ndarray) -> Answers:
        """Answers of which only some arrays mean anything; the others say so."""
        count = len(texts)
        none = np.full(count, np.nan)
        unset = {
            "value": none,
            "interval": np.full((count, 2), np.nan),
            "spread": none,
            "best": none,
            "coverage": np.ones(count),
            "log_odds": none,
            "log_odds_orders": np.full((count, 2), np.nan),
            "head": none,
            "scores": np.zeros((count, 0), np.float32),
            "head_scores": np.zeros((count, 0), np.float32),
        }
        return cls(text=texts, reasoning=reasoning, reasoning_cut=cut, **(unset | arrays))

    def take(self, order: np.ndarray) -> Answers:
        """The answers ``order`` (int [m]), in that order."""
        taken: dict[str, Any] = {}
        for name in Answers.__dataclass_fields__:
            value = getattr(self, name)
            taken[name] = value[order] if isinstance(value, np.ndarray) else [value[i] for i in order]
        return Answers(**taken)

    @staticmethod
    def concat(parts: Sequence[Answers]) -> Answers:
        """Batches end to end."""
        joined: dict[str, Any] = {}
        for name in Answers.__dataclass_fields__:
            values = [getattr(part, name) for part in parts]
            arrays = isinstance(values[0], np.ndarray)
            joined[name] = np.concatenate(values) if arrays else [text for part in values for text in part]
        return Answers(**joined)


class _Asked(NamedTuple):
    """A batch on its way to its answers: prompts with the reasoning behind them, and what the towers said."""

    trees: list[PromptTree]
    encoded: PairOutput
    head: np.ndarray  # float64 [B, outputs], NaN without a head
    reasoning: list[str]
    cut: np.ndarray


@torch.no_grad()
def answer(model: MolTC, batch: PairBatch) -> Answers:
    """Answer the pairs of a batch, which ask one task.

    A batch made for answering holds, for a symmetric family, all pairs in one order and then all in the
    other.
    """
    number = batch.task
    task = model.tasks[number]
    encoded: PairOutput = model.lm.encode(batch.inputs)
    if task.kind.kind == "text":
        return _texts(model, batch, encoded)
    trees, reasoning, cut = _reason(model, number, batch.trees, encoded)
    head = np.full((len(trees), max(task.outputs, 1)), np.nan)
    if encoded.predictions:
        head = encoded.predictions[0].double().cpu().numpy()
    asked = _Asked(trees, encoded, head, reasoning, cut)
    if task.is_number:
        return _numbers(model, number, asked)
    if task.kind.kind == "class":
        return _classes(model, number, asked)
    return _labels(model, number, asked, batch.num_pairs)


def _reason(
    model: MolTC, number: int, trees: Sequence[PromptTree], encoded: PairOutput
) -> tuple[list[PromptTree], list[str], np.ndarray]:
    """Let the model write the property step, where it has one, and put it behind the prompts."""
    writer, prompts = model.writers[number], [tree.with_completions(()) for tree in trees]
    if not writer.cot.writes_properties:
        return prompts, [""] * len(prompts), np.zeros(len(prompts), dtype=bool)
    tokenizer = model.language_model.tokenizer
    breaks, lines = model.line_breaks, len(writer.task.kind.roles)
    written = generate(
        model.lm,
        prompts,
        encoded,
        max_new_tokens=model.config.decoding.max_reasoning_tokens,
        stop=breaks.tolist(),
        stop_count=lines,  # one line a molecule
    )
    ended = np.array([np.isin(ids, breaks).sum() >= lines for ids in written])
    newline = writer.builder.ids("\n")
    grown, texts = [], []
    for tree, ids, complete in zip(prompts, written, ended, strict=True):
        ids = ids[ids != tokenizer.eos_token_id]
        grown.append(tree.extended(ids if complete else np.concatenate([ids, newline])))
        texts.append(tokenizer.decode(ids, skip_special_tokens=True).strip())
    return grown, texts, ~ended


def _texts(model: MolTC, batch: PairBatch, encoded: PairOutput) -> Answers:
    """Free texts, and whether they ended within the budget."""
    prompts = [tree.with_completions(()) for tree in batch.trees]
    written = generate(model.lm, prompts, encoded, max_new_tokens=model.room(batch.task))
    tokenizer = model.language_model.tokenizer
    cut = np.array([tokenizer.eos_token_id not in ids for ids in written])
    texts = [tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in written]
    return Answers.plain(texts, [""] * len(texts), cut).take(np.arange(batch.num_pairs))


def _numbers(model: MolTC, number: int, asked: _Asked) -> Answers:
    space, task, settings = model.space(number), model.tasks[number], model.config.decoding
    found = decode_trie(model.lm, asked.trees, model.trie(number), asked.encoded, width=settings.width)
    mean = found.expectation(space.values)
    best = space.values[found.best()]
    spread = np.sqrt(np.maximum(found.expectation(space.values**2) - mean**2, 0.0))
    if settings.point == "median":
        chosen = found.quantile(space.values, 0.5)
    else:
        chosen = mean if settings.point == "expectation" else best
    nearest = _nearest(space.values, chosen)
    named = {} if space.bins is None else {"interval": space.bins[nearest]}
    return Answers.plain(
        [space.texts[i] for i in nearest],
        asked.reasoning,
        asked.cut,
        value=space.values[nearest],  # as printed, so that it cannot leave its own interval
        spread=spread,
        best=best,
        coverage=found.coverage,
        head=asked.head[:, 0] * task.std + task.mean,
        **named,
    )


def _nearest(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Index of the nearest of ascending ``values``."""
    right = np.clip(np.searchsorted(values, wanted), 1, len(values) - 1)
    return np.where(wanted - values[right - 1] < values[right] - wanted, right - 1, right)


def _scored(model: MolTC, number: int, asked: _Asked, which: Sequence[int]) -> np.ndarray:
    """Log-probability [B, K] of the answers ``which`` of the task's answer space behind each prompt."""
    writer, space = model.writers[number], model.space(number)
    completions = [writer.answer_ids(space.texts[i]) for i in which]
    trees = [tree.with_completions(completions) for tree in asked.trees]
    packed = pack(trees, sharing=model.language_model.sharing)
    logps = model.lm.score(packed.to(model.lm.device), asked.encoded).logps
    return logps.double().cpu().numpy().reshape(-1, len(which))


def _spelt(model: MolTC, number: int, asked: _Asked) -> np.ndarray:
    """Log-probability [B, C] of each answer of the task inside the trie of all; nothing is pruned."""
    found = decode_trie(
        model.lm, asked.trees, model.trie(number), asked.encoded, width=len(model.space(number))
    )
    scores = np.full((len(asked.trees), len(model.space(number))), -np.inf)
    scores[found.prompt, found.leaf] = np.log(np.maximum(found.probability, np.finfo(np.float64).tiny))
    return scores


def _classes(model: MolTC, number: int, asked: _Asked) -> Answers:
    """The most probable class; scores are normalised over the classes."""
    space = model.space(number)
    if model.config.decoding.class_scores == "labels":
        scores = log_softmax(_scored(model, number, asked, range(len(space))))
    else:
        scores = _spelt(model, number, asked)
    best = scores.argmax(axis=1)
    given = not np.isnan(asked.head).any()
    return Answers.plain(
        [space.texts[i] for i in best],
        asked.reasoning,
        asked.cut,
        value=np.exp(scores[np.arange(len(best)), best]),
        best=best.astype(np.float64),
        scores=scores.astype(np.float32),
        head=asked.head.argmax(axis=1).astype(np.float64) if given else np.full(len(best), np.nan),
        head_scores=asked.head.astype(np.float32),
    )


def _labels(model: MolTC, number: int, asked: _Asked, num_pairs: int) -> Answers:
    space = model.space(number)
    yes, no = (int(np.flatnonzero(space.values == v)[0]) for v in (1.0, 0.0))
    logps = _scored(model, number, asked, (yes, no))
    orders = (logps[:, 0] - logps[:, 1]).reshape(-1, num_pairs).T  # [n, 1 or 2]
    both = np.full((num_pairs, 2), np.nan)
    both[:, : orders.shape[1]] = orders
    log_odds = orders.mean(axis=1)
    return Answers.plain(
        [space.texts[yes if z > 0 else no] for z in log_odds],
        asked.reasoning[:num_pairs],
        np.logical_or.reduce(asked.cut.reshape(-1, num_pairs)),
        value=sigmoid(log_odds),
        log_odds=log_odds,
        log_odds_orders=both,
        head=asked.head[:, 0].reshape(-1, num_pairs).mean(axis=0),
    )


def calibrated(model: MolTC, number: int, found: Answers) -> Answers:
    """Answers to a task with the model's calibration: scores, probability, and the sentence they give.

    Numbers, texts, and answers of a model that was never calibrated, stay as they are.
    """
    task, calibration = model.tasks[number], model.calibration.get(model.tasks[number].name, {})
    if "temperature" in calibration:
        scores = ClassCalibration.from_dict(calibration["temperature"]).log_probabilities(found.scores)
        best = scores.argmax(axis=1)
        value = np.exp(scores[np.arange(len(best)), best])
        return replace(found, value=value, scores=scores.astype(np.float32))
    if "platt" not in calibration:
        return found
    platt = PlattCalibration.from_dict(calibration["platt"])
    log_odds = platt.log_odds(found.log_odds)
    return replace(
        found,
        value=sigmoid(log_odds),
        text=task.answers((log_odds > 0).astype(np.float64), model.config.cot),
        log_odds=log_odds,
        log_odds_orders=platt.log_odds(found.log_odds_orders),
    )


@torch.no_grad()
def write_freely(model: MolTC, batch: PairBatch) -> list[str]:
    """What the model writes when nothing constrains it (greedy), reasoning and answer; for the
    invalid-answer rate."""
    encoded = model.lm.encode(batch.inputs)
    trees = [tree.with_completions(()) for tree in batch.trees[: batch.num_pairs]]
    entities = pack(trees).entities  # one order only: for each tower the first of those in the batch
    soft = {key: encoded.soft_tokens[key][: len(members)] for key, members in entities.items()}
    written = generate(model.lm, trees, PairOutput(soft), max_new_tokens=model.room(batch.task))
    return [model.language_model.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in written]
