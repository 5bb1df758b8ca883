"""Answers that a language model writes or chooses, by several evaluators under names of their own.

"greedy" writes freely, as published; "constrained" writes under a trie of the candidates' titles, so that
every answer is valid; "full-catalogue" under a trie of all titles; "loglik" takes the likeliest candidate,
"loglik-mean" the likeliest for each of its tokens. The figures of different evaluators are not compared.

Letters: B rows, C candidates of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from graphrec.data import Rows
from graphrec.histories import Integers
from graphrec.language.network import NEW_TOKENS, ItemLanguageModel
from graphrec.language.probes import shown_candidates
from graphrec.language.recommender import LanguageRecommender
from graphrec.llara.matching import Matcher, match_title
from moltc.backbone.prompt import PromptTree
from moltc.backbone.trie import TokenTrie

Evaluator = Literal["greedy", "constrained", "loglik", "loglik-mean", "full-catalogue"]
EVALUATORS: tuple[Evaluator, ...] = get_args(Evaluator)
MATCHERS: tuple[Matcher, ...] = ("strict", "reference")
ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class TitleTrie:
    """A trie of titles.

    Attributes:
        trie: over the distinct token sequences.
        items: an item of each sequence, ``[sequences]``; of items that share a title the first.
    """

    trie: TokenTrie
    items: Integers

    @classmethod
    def of(cls, model: ItemLanguageModel, items: Sequence[int] | Integers) -> TitleTrie:
        """The trie of some items' titles."""
        distinct: dict[bytes, int] = {}
        for item in items:
            distinct.setdefault(model.title(int(item)).tobytes(), int(item))
        numbers = np.array(list(distinct.values()), dtype=np.int64)
        return cls(TokenTrie([model.title(item) for item in numbers.tolist()]), numbers)


def answers(
    model: LanguageRecommender,
    rows: Rows,
    evaluator: Evaluator,
    *,
    draw: int = 0,
    max_new_tokens: int = NEW_TOKENS,
) -> list[str]:
    """The text that answers each row, B of them.

    Args:
        draw: whose candidates are shown.
        max_new_tokens: most tokens that "greedy" writes.

    Raises:
        ValueError: the evaluator is not known, or the rows have no candidates.
    """
    shown = shown_candidates(rows, draw)[:, 0]
    if evaluator in ("loglik", "loglik-mean"):
        return _titles(model, _likeliest(model, rows, shown, mean=evaluator == "loglik-mean"))
    if evaluator not in EVALUATORS:
        raise ValueError(f"evaluator={evaluator!r} is not known; choose from {', '.join(EVALUATORS)}")
    network, histories = model.network, rows.histories.lists()
    whole = TitleTrie.of(network, range(len(model.catalogue))) if evaluator == "full-catalogue" else None
    found: list[str] = []
    for first in range(0, len(rows), ROWS_AT_ONCE):
        part = range(first, min(first + ROWS_AT_ONCE, len(rows)))
        trees = [model.prompt(histories[row], None if whole else shown[row].tolist()) for row in part]
        with model.inference():
            if evaluator == "greedy":
                found += network.generate(trees, max_new_tokens=max_new_tokens)
            else:
                tries = [whole] if whole else [TitleTrie.of(network, shown[row]) for row in part]
                found += _titles(model, constrained(network, trees, tries))
    return found


def constrained(
    network: ItemLanguageModel, trees: Sequence[PromptTree], tries: Sequence[TitleTrie]
) -> Integers:
    """The item whose title is written after each prompt under its trie, ``[B]``; one trie may serve all."""
    leaves = network.constrained(trees, [one.trie for one in tries])
    items = [one.items for one in tries] * (1 if len(tries) == len(trees) else len(trees))
    return np.array([of[leaf] for of, leaf in zip(items, leaves, strict=True)], dtype=np.int64)


def _likeliest(model: LanguageRecommender, rows: Rows, shown: Integers, *, mean: bool) -> Integers:
    """The candidate with the highest log-probability, ``[B]``."""
    histories, lists = rows.histories.lists(), shown.tolist()
    size = shown.shape[1]

    def prompt(row: int) -> PromptTree:
        return model.prompt(histories[row], lists[row])

    scored = model.scored(prompt, np.repeat(np.arange(len(shown)), size), shown.ravel())
    values = (scored.means() if mean else scored.sums).reshape(shown.shape)
    found: Integers = shown[np.arange(len(shown)), values.argmax(axis=1)]
    return found


def _titles(model: LanguageRecommender, items: Integers) -> list[str]:
    return [str(model.catalogue.title(item)) for item in items.tolist()]


@dataclass(frozen=True)
class Judged:
    """Answers of one evaluator, judged by one matcher.

    Attributes:
        valid: the answer names one candidate, ``[B]``.
        hit: it names the target, ``[B]``.
    """

    valid: NDArray[np.bool_]
    hit: NDArray[np.bool_]


def judge(
    texts: Sequence[str],
    shown: Integers,
    targets: Integers,
    title: Callable[[int], str],
    matcher: Matcher = "strict",
) -> Judged:
    """Judge one answer for each row.

    Args:
        shown: item numbers of the candidates, ``[B, C]``.
        targets: ``[B]``.
        title: of an item.
    """
    named = [
        match_title(text, [title(item) for item in row], matcher)
        for text, row in zip(texts, shown.tolist(), strict=True)
    ]
    hit = [
        any(row[place] == target for place in places)
        for places, row, target in zip(named, shown.tolist(), targets.tolist(), strict=True)
    ]
    return Judged(np.array([bool(places) for places in named]), np.array(hit))
