"""Log-probabilities of the start: of every title of every pool once, or of a step's titles when it comes.

With all of a pool known, which of it is rejected may change from epoch to epoch at no cost.

Letters: N rows, M items of a pool, C completions.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from align.reference import evaluating, trained
from align.reference_cache import LogpStore, fingerprint
from graphrec.histories import Integers
from graphrec.language.network import ItemLanguageModel
from graphrec.language.recommender import LanguageRecommender
from graphrec.language.scoring import score_titles
from graphrec.language.towers import ItemInputs
from graphrec.sdpo.rows import PreferenceRows
from moltc.backbone.packing import PackedTrees
from moltc.backbone.prompt import PromptTree

TEMPLATE = "graphrec titles, first of a row the target"


@dataclass(frozen=True)
class CachedScores:
    """What the start gives every title that a row may compare.

    Attributes:
        sums: of token log-probabilities, target first, float32 ``[N, 1 + M]``.
        seconds: that scoring took; 0 where they were read from a file.
        tokens: of prompts and titles that were read for it.
    """

    sums: NDArray[np.float32]
    seconds: float = 0.0
    tokens: int = 0

    def of(self, rows: Integers, places: Integers) -> Tensor:
        """Sums of the titles in places ``[B, 1 + K]`` of rows ``[B]``, one row after the other, ``[C]``."""
        return torch.from_numpy(self.sums[rows[:, None], places].ravel())


class OnlineScores:
    """The start, for titles that come step by step: a copy of the trained weights, and of no others.

    Args:
        network: at its start; copy and weights change places for the length of a call.
    """

    def __init__(self, network: ItemLanguageModel) -> None:
        self.network = network
        self.weights = {name: p.detach().clone() for name, p in trained(network)}

    def __call__(self, packed: PackedTrees, inputs: ItemInputs | None) -> Tensor:
        """Sums of the titles of packed prompts, ``[C]``, without gradient."""
        self._exchange()
        try:
            with torch.no_grad(), evaluating(self.network):
                logps: Tensor = self.network(packed, inputs).logps
        finally:
            self._exchange()
        return logps

    def _exchange(self) -> None:
        for name, parameter in trained(self.network):
            kept = self.weights[name]
            self.weights[name] = parameter.data
            parameter.data = kept.to(parameter.device)


def prompt_of(model: LanguageRecommender, rows: PreferenceRows, row: int) -> PromptTree:
    """The prompt of a row, without titles."""
    return model.prompt(rows.lists[row], rows.shown[row].tolist())


def cached_scores(model: LanguageRecommender, rows: PreferenceRows, file: Path | None) -> CachedScores:
    """Score all titles of all rows with the model as it is, or read them from a file of the same.

    Args:
        file: read if it is there, else written; None: neither.

    Raises:
        CacheMismatchError: the file was computed with another model, tokenizer, rows or pools.
    """
    expected = about(model, rows)
    shape = rows.titles.shape
    if file is not None and file.is_file():
        store = LogpStore.load(file, expected)
        return CachedScores(store.values.reshape(shape))
    start = time.perf_counter()
    sizes: list[int] = []

    def prompt(row: int) -> PromptTree:
        tree = prompt_of(model, rows, row)
        sizes.append(len(tree.prompt_ids))
        return tree

    numbers = np.repeat(np.arange(len(rows)), shape[1])
    with evaluating(model.network):
        found = score_titles(model.network, prompt, numbers, rows.titles.ravel())
    tokens = int(found.lengths.sum()) + sum(sizes)
    if file is not None:
        LogpStore(expected, np.arange(found.sums.size), found.sums).save(file)
    return CachedScores(found.sums.reshape(shape), time.perf_counter() - start, tokens)


def about(model: LanguageRecommender, rows: PreferenceRows) -> dict[str, str]:
    """What cached scores depend on, by name."""
    language_model = model.network.language_model
    return fingerprint(
        model.network,
        language_model.tokenizer,
        source="start",
        dtype=str(language_model.dtype),
        template=TEMPLATE,
        truncation=str(model.config.length),
    ) | {"rows": rows.digest()}
