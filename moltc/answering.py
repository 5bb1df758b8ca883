"""From a batch of prompts to answers: reasoning, constrained decoding, label scoring, free generation.

Numbers are decoded inside the trie of all printable answers, so an invalid answer cannot be written; yes/no
answers are scored, ``log p(answer + end | prompt)``, under one shared prompt. Symmetric families are asked
in both orders and the log-odds averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from moltc.backbone.decoding import decode_trie, generate
from moltc.backbone.packing import pack
from moltc.backbone.prompt import PromptTree
from moltc.calibration import PlattCalibration
from moltc.collate import PairBatch
from moltc.metrics import sigmoid
from moltc.model import MolTC
from moltc.pair_towers import PairOutput


@dataclass
class Answers:
    """Answers to n pairs; every array has length n.

    Attributes
    ----------
    value : float64; the number, or the probability of yes before calibration.
    text : the answer sentence for ``value``.
    reasoning : the property step that the model wrote (empty without one).
    reasoning_cut : the property step did not end within its budget.
    interval : float64 [n, 2]; the interval that the answer names, NaN where none.
    spread : float64; standard deviation of the decoded distribution (numbers), NaN otherwise.
    best : float64; the most probable number (greedy answer), NaN for yes/no.
    coverage : float64; probability that the decoder kept, 1 for yes/no.
    log_odds : float64; of yes, averaged over both orders where symmetric; NaN for numbers.
    log_odds_orders : float64 [n, 2]; log-odds of each order, NaN where only one was asked.
    head : float64; the auxiliary head's number or log-odds, NaN without a head.
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


@torch.no_grad()
def answer(model: MolTC, batch: PairBatch) -> Answers:
    """Answer the pairs of a batch.

    A batch made for answering holds, for a symmetric family, all pairs in one order and then all in the
    other.
    """
    encoded: PairOutput = model.lm.encode(batch.inputs)
    trees, reasoning, cut = _reason(model, batch.trees, encoded)
    head = np.full(len(trees), np.nan)
    if encoded.prediction is not None:
        head = encoded.prediction.double().cpu().numpy()
    if model.task.is_number:
        return _numbers(model, trees, encoded, head * model.task.std + model.task.mean, reasoning, cut)
    return _labels(model, trees, encoded, head, reasoning, cut, batch.num_pairs)


def _reason(
    model: MolTC, trees: Sequence[PromptTree], encoded: PairOutput
) -> tuple[list[PromptTree], list[str], np.ndarray]:
    """Let the model write the property step, where it has one, and put it behind the prompts."""
    prompts = [tree.with_completions(()) for tree in trees]
    if not model.config.cot.writes_properties:
        return prompts, [""] * len(prompts), np.zeros(len(prompts), dtype=bool)
    tokenizer = model.language_model.tokenizer
    breaks = model.line_breaks
    written = generate(
        model.lm,
        prompts,
        encoded,
        max_new_tokens=model.config.decoding.max_reasoning_tokens,
        stop=breaks.tolist(),
        stop_count=len(model.task.kind.roles),  # one line a molecule
    )
    ended = np.array([np.isin(ids, breaks).sum() >= len(model.task.kind.roles) for ids in written])
    newline = model.writer.builder.ids("\n")
    grown, texts = [], []
    for tree, ids, complete in zip(prompts, written, ended, strict=True):
        ids = ids[ids != tokenizer.eos_token_id]
        grown.append(tree.extended(ids if complete else np.concatenate([ids, newline])))
        texts.append(tokenizer.decode(ids, skip_special_tokens=True).strip())
    return grown, texts, ~ended


def _numbers(
    model: MolTC,
    trees: list[PromptTree],
    encoded: PairOutput,
    head: np.ndarray,
    reasoning: list[str],
    cut: np.ndarray,
) -> Answers:
    space, settings = model.space, model.config.decoding
    found = decode_trie(model.lm, trees, model.trie, encoded, width=settings.width)
    mean = found.expectation(space.values)
    best = space.values[found.best()]
    spread = np.sqrt(np.maximum(found.expectation(space.values**2) - mean**2, 0.0))
    if settings.point == "median":
        chosen = found.quantile(space.values, 0.5)
    else:
        chosen = mean if settings.point == "expectation" else best
    nearest = _nearest(space.values, chosen)
    none = np.full(len(trees), np.nan)
    return Answers(
        value=space.values[nearest],  # as printed, so that it cannot leave its own interval
        text=[space.texts[i] for i in nearest],
        reasoning=reasoning,
        reasoning_cut=cut,
        interval=np.full((len(trees), 2), np.nan) if space.bins is None else space.bins[nearest],
        spread=spread,
        best=best,
        coverage=found.coverage,
        log_odds=none,
        log_odds_orders=np.full((len(trees), 2), np.nan),
        head=head,
    )


def _nearest(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Index of the nearest of ascending ``values``."""
    right = np.clip(np.searchsorted(values, wanted), 1, len(values) - 1)
    return np.where(wanted - values[right - 1] < values[right] - wanted, right - 1, right)


def _labels(
    model: MolTC,
    trees: list[PromptTree],
    encoded: PairOutput,
    head: np.ndarray,
    reasoning: list[str],
    cut: np.ndarray,
    num_pairs: int,
) -> Answers:
    yes, no = (int(np.flatnonzero(model.space.values == v)[0]) for v in (1.0, 0.0))
    completions = [model.writer.answer_ids(model.space.texts[i]) for i in (yes, no)]
    packed = pack(
        [tree.with_completions(completions) for tree in trees], sharing=model.language_model.sharing
    )
    logps = model.lm.score(packed.to(model.lm.device), encoded).logps.double().cpu().numpy().reshape(-1, 2)
    orders = (logps[:, 0] - logps[:, 1]).reshape(-1, num_pairs).T  # [n, 1 or 2]
    both = np.full((num_pairs, 2), np.nan)
    both[:, : orders.shape[1]] = orders
    log_odds = orders.mean(axis=1)
    none = np.full(num_pairs, np.nan)
    return Answers(
        value=sigmoid(log_odds),
        text=[model.space.texts[yes if z > 0 else no] for z in log_odds],
        reasoning=reasoning[:num_pairs],
        reasoning_cut=np.logical_or.reduce(cut.reshape(-1, num_pairs)),
        interval=np.full((num_pairs, 2), np.nan),
        spread=none,
        best=none,
        coverage=np.ones(num_pairs),
        log_odds=log_odds,
        log_odds_orders=both,
        head=head.reshape(-1, num_pairs).mean(axis=0),
    )


def calibrated(model: MolTC, found: Answers) -> Answers:
    """Answers with the model's calibration: log-odds of both orders, probability, and the sentence they give.

    Numbers, and answers of a model that was never calibrated, stay as they are.
    """
    if "platt" not in model.calibration:
        return found
    platt = PlattCalibration.from_dict(model.calibration["platt"])
    log_odds = platt.log_odds(found.log_odds)
    return replace(
        found,
        value=sigmoid(log_odds),
        text=model.task.answers((log_odds > 0).astype(np.float64), model.config.cot),
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
    written = generate(model.lm, trees, PairOutput(soft, None), max_new_tokens=model.room)
    return [model.language_model.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in written]
