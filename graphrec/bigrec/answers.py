"""The prompts of BIGRec, and what the language model writes after them.

Letters: B prompts, T titles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from graphrec.bigrec.prompt import bigrec_prompt, quoted, unquoted
from graphrec.histories import Integers
from graphrec.language.network import ItemLanguageModel
from graphrec.language.towers import ITEM
from moltc.backbone.decoding import decode_trie
from moltc.backbone.prompt import PromptTree
from moltc.backbone.trie import TokenTrie

PROMPTS_AT_ONCE = 128
BEAMS = 4
"""Branches that are carried on when an unseen title is looked for."""

History = Sequence[int]


class Prompts:
    """Prompts of histories, and titles as what follows them.

    Args:
        network: reads and writes.
        titles: of each item.
        length: latest items that are shown.
        domain: what instructions call the items; None: windows of titles, without instructions.
        learn_instruction: the prompt is a part of what is learnt.
    """

    def __init__(
        self,
        network: ItemLanguageModel,
        titles: Sequence[str],
        length: int,
        domain: str | None,
        *,
        learn_instruction: bool = False,
    ) -> None:
        self.network, self.titles, self.length = network, titles, length
        self.domain, self.learn_instruction = domain, learn_instruction

    def of(self, history: History) -> PromptTree:
        """The prompt of a history, which may be empty."""
        shown = list(history[-self.length :])
        if self.domain is None:
            return self.network.history(shown)
        return self.network.prompt([bigrec_prompt([self.titles[item] for item in shown], self.domain)])

    def answer(self, item: int) -> np.ndarray:
        """Token ids of an item's title as an answer, the end mark included."""
        if self.domain is None:
            return self.network.title(item)
        return self.network.completion(quoted(self.titles[item]))

    def sample(self, history: History, target: int) -> PromptTree:
        """A prompt and its answer; with ``learn_instruction`` all but the first token is the answer."""
        tree, answer = self.of(history), self.answer(target)
        if not self.learn_instruction:
            return tree.with_completions([answer])
        return PromptTree(tree.prompt_ids[:1], (np.concatenate([tree.prompt_ids[1:], answer]),))

    def read(self, text: str) -> str:
        """The title in a written answer."""
        return text if self.domain is None else unquoted(text)


class Writer:
    """Answers to prompts, a few at a time.

    Args:
        prompts: what is asked.
        most_tokens: most tokens of a free answer.
    """

    def __init__(self, prompts: Prompts, most_tokens: int) -> None:
        self.prompts, self.network, self.most_tokens = prompts, prompts.network, most_tokens

    def free(self, histories: Sequence[History]) -> list[str]:
        """What is written greedily after each history, B texts."""
        return [
            self.prompts.read(text)
            for trees in self._trees(histories)
            for text in self.network.generate(trees, max_new_tokens=self.most_tokens)
        ]

    def among(self, histories: Sequence[History], items: Integers) -> Integers:
        """The item whose title is written if it must be one of these, ``[B]``; titles are distinct."""
        trie = self._trie(items)
        parts = [self.network.constrained(trees, [trie]) for trees in self._trees(histories)]
        return items[np.concatenate(parts)] if parts else np.empty(0, dtype=np.int64)

    def unseen(self, histories: Sequence[History], items: Integers, seen: Sequence[set[int]]) -> Integers:
        """The same among titles of items that a row has not seen, as far as beams find one, else -1, ``[B]``.

        Args:
            items: of distinct titles.
            seen: items that each row may not be given.
        """
        trie, found, first = self._trie(items), [], 0
        for trees in self._trees(histories):
            entities = {ITEM: list(dict.fromkeys(run.entity for tree in trees for run in tree.slots))}
            encoded = self.network.encode(self.network.inputs(entities))
            beams = decode_trie(self.network, trees, trie, encoded, width=BEAMS)
            ends = np.searchsorted(beams.prompt, np.arange(len(trees) + 1))
            for row, owned in enumerate(seen[first : first + len(trees)]):
                leaves = beams.leaf[ends[row] : ends[row + 1]]
                offered = (item for item in items[leaves].tolist() if item not in owned)
                found.append(next(offered, -1))
            first += len(trees)
        return np.array(found, dtype=np.int64)

    def logps(self, histories: Sequence[History], items: Integers) -> np.ndarray:
        """Log-probability of answers ``[B, C]`` after their prompts, -inf for those below 0, ``[B, C]``."""
        found = np.full(items.shape, -np.inf, dtype=np.float64)
        first = 0
        for trees in self._trees(histories):
            block = items[first : first + len(trees)]
            asked = [
                tree.with_completions([self.prompts.answer(int(item)) for item in row if item >= 0])
                for tree, row in zip(trees, block, strict=True)
            ]
            scored = self._scored(asked)
            found[first : first + len(trees)][block >= 0] = scored.double().cpu().numpy()
            first += len(trees)
        return found

    @torch.no_grad()
    def _scored(self, trees: Sequence[PromptTree]) -> Tensor:
        return self.network.log_probs(trees).logps

    def _trie(self, items: Integers) -> TokenTrie:
        return TokenTrie([self.prompts.answer(int(item)) for item in items])

    def _trees(self, histories: Sequence[History]) -> Iterator[list[PromptTree]]:
        for first in range(0, len(histories), PROMPTS_AT_ONCE):
            yield [self.prompts.of(history) for history in histories[first : first + PROMPTS_AT_ONCE]]
