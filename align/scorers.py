"""Models that score rows of text: plain ones, and exported ones that write their own prompts.

A row's prompt is text, or for a molecular model the object that names its molecules (see
``moltc.preferences``). With a second model as reference, scores become implicit rewards,
``beta (S(y) - S_ref(y))`` (DPO, arXiv 2305.18290, section 4).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch

from align.policies import check_positive
from align.scoring import Dtype, Refusal, Row, Scores, load_model, score_rows, unpacked
from moltc.backbone.checkpoint import saved_kind
from moltc.backbone.prompt import PromptTree
from moltc.backbone.saved import READERS, PromptModel, Prompts, load_prompt_model
from moltc.backbone.soft_prompt_lm import Completions, SoftPromptLM

ROWS_AT_ONCE = 4096
"""Rows that a model with prompts of its own reads together; it looks at each of their entities once."""


class Rewards(NamedTuple):
    """Scores of a row beside those of the reference, and the implicit reward of each completion."""

    line: int
    logps: list[float]
    lengths: list[int]
    ref_logps: list[float]
    rewards: list[float]


class Scorer(Protocol):
    """A model that scores rows."""

    @property
    def model(self) -> SoftPromptLM:
        """Language model and towers."""

    def score(self, rows: Iterable[Row], *, batch_tokens: int) -> Iterator[Scores | Refusal]:
        """Scores of rows in their order, or why a row has none; ``batch_tokens`` bound one pass."""


@dataclass(frozen=True)
class TextScorer:
    """A model of text."""

    model: SoftPromptLM

    def score(self, rows: Iterable[Row], *, batch_tokens: int = 8192) -> Iterator[Scores | Refusal]:
        return score_rows(self.model, rows, batch_tokens=batch_tokens)


@dataclass(frozen=True)
class PromptScorer:
    """An exported model that writes its prompts itself, soft tokens included."""

    source: PromptModel

    @property
    def model(self) -> SoftPromptLM:
        return self.source.lm

    def score(self, rows: Iterable[Row], *, batch_tokens: int = 8192) -> Iterator[Scores | Refusal]:
        waiting = iter(rows)
        while chunk := list(itertools.islice(waiting, ROWS_AT_ONCE)):
            good, refused = readable(self.source, chunk)
            found: dict[int, Scores | Refusal] = {refusal.line: refusal for refusal in refused}
            found |= {one.line: one for one in self._score_chunk(good, batch_tokens)}
            yield from (found[row.line] for row in chunk)

    def _score_chunk(self, rows: Sequence[Row], batch_tokens: int) -> Iterator[Scores | Refusal]:
        if not rows:
            return
        prompts = self.source.read([row.prompt for row in rows], [row.completions for row in rows])
        trees, window = prompts.trees, self.model.language_model.max_positions
        fitting = []
        for number, tree in enumerate(trees):
            longest = len(tree.prompt_ids) + max(map(len, tree.completions))
            if window is not None and longest > window:
                yield Refusal(
                    rows[number].line, f"{longest} tokens with its prompt, the model reads {window}"
                )
            else:
                fitting.append(number)
        for places in batches([_tokens(trees[number]) for number in fitting], batch_tokens):
            numbers = np.array(fitting)[places]
            lines = [rows[number].line for number in numbers.tolist()]
            yield from unpacked(self._completions(prompts, numbers), lines)

    @torch.no_grad()
    def _completions(self, prompts: Prompts, numbers: np.ndarray) -> Completions:
        """Scores of prompts by their number, int64 ``[B]``, in one pass."""
        device = self.model.device
        packed = self.model.pack([prompts.trees[number] for number in numbers.tolist()]).to(device)
        return self.model(packed, prompts.inputs(numbers, packed).to(device))


def load_scorer(name: str, *, dtype: Dtype = "auto", device: str = "cpu") -> Scorer:
    """An exported model, or a Hugging Face folder or id, ready to score.

    An exported model that writes its own prompts is taken whole. Arguments and errors are those of
    :func:`align.scoring.load_model`.
    """
    source = load_prompt_model(name) if saved_kind(name) in READERS else None
    if source is None:
        return TextScorer(load_model(name, dtype=dtype, device=device))
    if dtype != "auto":
        raise ValueError(f"{name} is an exported model and keeps its dtype; leave dtype at 'auto'")
    source.lm.to(device).eval()
    return PromptScorer(source)


def readable(source: PromptModel, rows: Sequence[Row]) -> tuple[list[Row], list[Refusal]]:
    """Rows whose prompts a model can read, and the others with the reason.

    All are read together; only where that fails are they looked at in halves.
    """
    try:
        source.read([row.prompt for row in rows], [row.completions for row in rows])
    except ValueError as error:
        if len(rows) == 1:
            return [], [Refusal(rows[0].line, str(error).replace("prompt 0", "the prompt", 1))]
        middle = len(rows) // 2
        halves = [readable(source, half) for half in (rows[:middle], rows[middle:])]
        return [row for good, _ in halves for row in good], [one for _, bad in halves for one in bad]
    return list(rows), []


def batches(tokens: Sequence[int], most: int) -> Iterator[np.ndarray]:
    """Places in order, int64 ``[n]`` each, of at most so many tokens together; a larger one stands alone."""
    start, held = 0, 0
    for place, count in enumerate(tokens):
        if place > start and held + count > most:
            yield np.arange(start, place)
            start, held = place, 0
        held += count
    if start < len(tokens):
        yield np.arange(start, len(tokens))


def with_rewards(
    scores: Iterable[Scores | Refusal], reference: Iterable[Scores | Refusal], *, beta: float
) -> Iterator[Rewards | Refusal]:
    """Implicit rewards of rows from the scores of a model and of its reference, row by row.

    Raises:
        ValueError: the two read a row as different numbers of tokens, or ``beta`` is not above 0.
    """
    check_positive("beta", beta)
    for own, other in zip(scores, reference, strict=True):
        if isinstance(own, Refusal):
            yield own
            continue
        if isinstance(other, Refusal):
            yield other
            continue
        if own.lengths != other.lengths:
            raise ValueError(
                f"line {own.line}: model and reference read its completions as {own.lengths} and "
                f"{other.lengths} tokens; the reference is not of the same family"
            )
        rewards = [beta * (logp - ref) for logp, ref in zip(own.logps, other.logps, strict=True)]
        yield Rewards(own.line, own.logps, own.lengths, other.logps, rewards)


def check_same_tokens(model: SoftPromptLM, reference: SoftPromptLM) -> None:
    """Raise a ValueError where the reference has another tokenizer than the model."""
    own, other = model.language_model.tokenizer, reference.language_model.tokenizer
    if own.get_vocab() != other.get_vocab():
        raise ValueError(
            "the reference model has another tokenizer, so that its log-probabilities are those of other "
            "tokens; choose a model of the same family"
        )


def _tokens(tree: PromptTree) -> int:
    return len(tree.prompt_ids) + sum(map(len, tree.completions))
