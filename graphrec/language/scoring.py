"""Titles scored as completions of a shared prompt, in batches of bounded size.

Letters: B prompts, C completions of all prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from graphrec.histories import Integers
from graphrec.language.network import ItemLanguageModel
from moltc.backbone.prompt import PromptTree

TOKENS_AT_ONCE = 16_384
"""Tokens of prompts and titles that are read at once."""
BRANCHES = 48
"""Titles that share one copy of their prompt; more would attend over each other's places in vain."""

Floats = NDArray[np.float32]
Prompt = Callable[[int], PromptTree]
"""The prompt of a row, without completions."""


class Scored(NamedTuple):
    """Scores of titles.

    Attributes:
        sums: of token log-probabilities, ``[C]``.
        lengths: tokens of each title, the end mark included, ``[C]``.
    """

    sums: Floats
    lengths: Integers

    def means(self) -> Floats:
        """Log-probability of each token on average, ``[C]``."""
        return (self.sums / self.lengths).astype(np.float32)


def score_titles(
    model: ItemLanguageModel,
    prompt: Prompt,
    rows: Integers,
    items: Integers,
    *,
    shown: bool | None = None,
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> Scored:
    """Log-probability of each item's title after the prompt of its row.

    Args:
        prompt: gives the prompt of a row; asked once for each run of equal rows.
        rows: whose prompt each title follows, sorted, ``[C]``.
        items: item numbers, ``[C]``.
        shown: whether soft tokens are shown; None: as the model's form says.
        tokens_at_once: bound on what is read at a time.
    """
    sums = np.empty(len(items), dtype=np.float32)
    lengths = (model.titles.lengths)[items]
    done = 0
    for trees in _batches(_trees(model, prompt, rows, items), tokens_at_once):
        with torch.no_grad():
            logps = model.log_probs(trees, shown=shown).logps.cpu().numpy()
        sums[done : done + len(logps)] = logps
        done += len(logps)
    return Scored(sums, lengths)


def _trees(model: ItemLanguageModel, prompt: Prompt, rows: Integers, items: Integers) -> Iterator[PromptTree]:
    """Prompts with at most ``BRANCHES`` titles each, in order."""
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True):
        tree = prompt(int(rows[start]))
        for first in range(start, end, BRANCHES):
            part = items[first : min(first + BRANCHES, end)].tolist()
            yield tree.with_completions([model.title(item) for item in part])


def _batches(trees: Iterator[PromptTree], tokens: int) -> Iterator[Sequence[PromptTree]]:
    """Lists of trees of at most so many tokens, one tree at least."""
    found: list[PromptTree] = []
    size = 0
    for tree in trees:
        needs = len(tree.prompt_ids) + sum(map(len, tree.completions))
        if found and size + needs > tokens:
            yield found
            found, size = [], 0
        found.append(tree)
        size += needs
    if found:
        yield found
