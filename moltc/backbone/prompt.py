"""Prompt trees: a prompt that may hold soft tokens, and the completions that follow it.

A prompt is written as pieces, plain text and :class:`Soft` marks, so that a molecule pair, a listening history and a
chat message differ in their pieces only. :class:`PromptBuilder` turns pieces into token ids once per distinct text.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Text = str


@dataclass(frozen=True)
class Soft:
    """A place in a prompt that soft tokens fill.

    ``role`` says what the entity is (drug, solvent, item, ...), ``slot`` which of the prompt's entities it is (from 1).
    """

    role: str
    slot: int


Piece = Text | Soft


@dataclass(frozen=True)
class SlotRun:
    """One run of soft tokens inside a prompt.

    Attributes
    ----------
    start, length : first position in ``prompt_ids`` and number of soft tokens Q.
    tower : key of the tower that encodes the entity.
    entity : what is encoded; equal (tower, entity) within a batch are encoded once.
    """

    start: int
    length: int
    tower: str
    entity: Hashable


@dataclass(frozen=True)
class PromptTree:
    """A prompt and its K >= 0 completions.

    Attributes
    ----------
    prompt_ids : int64 [P], P >= 1. Positions inside a slot hold a placeholder id that is never read.
    completions : K arrays, int64 [n_k], n_k >= 1, the end token included where there is one.
    slots : soft runs of the prompt, in order.
    """

    prompt_ids: np.ndarray
    completions: tuple[np.ndarray, ...] = ()
    slots: tuple[SlotRun, ...] = ()

    def __post_init__(self) -> None:
        if len(self.prompt_ids) == 0:
            raise ValueError("a prompt needs at least one token: nothing could predict the first completion token")
        for k, completion in enumerate(self.completions):
            if len(completion) == 0:
                raise ValueError(f"completion {k} is empty: give it at least its end token or leave it out")

    def with_completions(self, completions: Sequence[np.ndarray]) -> PromptTree:
        """The same prompt with other completions."""
        return PromptTree(self.prompt_ids, tuple(completions), self.slots)

    def extended(self, ids: np.ndarray) -> PromptTree:
        """The prompt followed by ``ids``, without completions (to go on after a reasoning step)."""
        return PromptTree(np.concatenate([self.prompt_ids, np.asarray(ids, dtype=np.int64)]), (), self.slots)

    def limited(self, max_tokens: int) -> tuple[PromptTree, int]:
        """Shorten the prompt from the left until prompt and longest completion fit; return it and the tokens cut.

        Soft runs are never cut: when the cut would reach one, or nothing of the prompt would remain, this is an error.
        """
        longest = max((len(c) for c in self.completions), default=0)
        excess = len(self.prompt_ids) + longest - max_tokens
        if excess <= 0:
            return self, 0
        first_soft = min((run.start for run in self.slots), default=len(self.prompt_ids) - 1)
        if excess > first_soft:
            raise ValueError(
                f"prompt of {len(self.prompt_ids)} tokens and completion of {longest} exceed the window of {max_tokens} "
                f"and only {first_soft} tokens stand before the first soft token; shorten the text or widen the window"
            )
        slots = tuple(SlotRun(s.start - excess, s.length, s.tower, s.entity) for s in self.slots)
        return PromptTree(self.prompt_ids[excess:], self.completions, slots), excess


@dataclass
class PromptBuilder:
    """Turns pieces into prompt trees with one tokenizer call per distinct text.

    Parameters
    ----------
    tokenizer : a Hugging Face tokenizer.
    tower_key : ``(role, slot) -> tower key``.
    num_queries : soft tokens Q of each tower, by tower key, or one number for all.
    placeholder : id written at soft positions (never read: its embedding is overwritten).
    """

    tokenizer: Any
    tower_key: Callable[[str, int], str]
    num_queries: int | Mapping[str, int]
    placeholder: int = 0
    _cache: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    cache_size: int = 500_000

    def ids(self, text: str) -> np.ndarray:
        """Token ids of a text without special tokens, int64, cached."""
        found = self._cache.get(text)
        if found is None:
            found = np.asarray(self.tokenizer.encode(text, add_special_tokens=False), dtype=np.int64)
            if len(self._cache) >= self.cache_size:
                self._cache.clear()
            self._cache[text] = found
        return found

    def completion(self, text: str) -> np.ndarray:
        """Ids of an answer: a separating space, the text, and the end token (always, so that models learn to stop)."""
        return np.concatenate([self.ids(" " + text), [self.tokenizer.eos_token_id]])

    def build(
        self, pieces: Sequence[Piece], entities: Mapping[int, Hashable], completions: Sequence[str] = ()
    ) -> PromptTree:
        """Build a tree from pieces.

        Parameters
        ----------
        pieces : texts and soft marks; neighbouring texts are tokenised together, trailing blanks of the prompt go to
            the completions (whose first token carries the space).
        entities : slot number -> entity.
        completions : answer texts; each gets the end token.
        """
        parts: list[np.ndarray] = []
        slots: list[SlotRun] = []
        length = 0
        bos = self.tokenizer.bos_token_id
        if bos is not None:
            parts.append(np.asarray([bos], dtype=np.int64))
            length = 1
        text = ""
        last_text = max((i for i, p in enumerate(pieces) if isinstance(p, str)), default=-1)
        for i, piece in enumerate(pieces):
            if isinstance(piece, str):
                text += piece.rstrip(" ") if i == last_text == len(pieces) - 1 else piece
                if i + 1 < len(pieces) and isinstance(pieces[i + 1], str):
                    continue
                ids = self.ids(text)
                text = ""
            else:
                if piece.slot not in entities:
                    raise ValueError(f"the prompt has a soft token for slot {piece.slot}, but no entity was given for it")
                key = self.tower_key(piece.role, piece.slot)
                q = self.num_queries if isinstance(self.num_queries, int) else self.num_queries[key]
                slots.append(SlotRun(length, q, key, entities[piece.slot]))
                ids = np.full(q, self.placeholder, dtype=np.int64)
            parts.append(ids)
            length += len(ids)
        return PromptTree(
            np.concatenate(parts) if parts else np.empty(0, dtype=np.int64),
            tuple(self.completion(c) for c in completions),
            tuple(slots),
        )
