"""Prompt trees: a prompt that may hold soft tokens, and the completions that follow it.

A prompt is written as pieces, plain text and :class:`Soft` marks, so that a molecule pair, a listening
history and a chat message differ in their pieces only. :class:`PromptBuilder` turns pieces into token ids
once per distinct text.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

Text = str


@dataclass(frozen=True)
class Soft:
    """A place in a prompt that soft tokens fill.

    ``role`` says what the entity is (drug, solvent, item, ...), ``slot`` which of the prompt's entities it is
    (from 1).
    """

    role: str
    slot: int


Piece = Text | Soft


class SlotRun(NamedTuple):
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
            raise ValueError(
                "a prompt needs at least one token: nothing could predict the first completion token"
            )
        for k, completion in enumerate(self.completions):
            if len(completion) == 0:
                raise ValueError(f"completion {k} is empty: give it at least its end token or leave it out")
        for run in self.slots:
            if run.length < 1 or not 0 <= run.start <= len(self.prompt_ids) - run.length:
                raise ValueError(f"{run} does not lie inside a prompt of {len(self.prompt_ids)} tokens")

    def with_completions(self, completions: Sequence[np.ndarray]) -> PromptTree:
        """The same prompt with other completions."""
        return PromptTree(self.prompt_ids, tuple(completions), self.slots)

    def extended(self, ids: np.ndarray) -> PromptTree:
        """The prompt followed by ``ids``, without completions (to go on after a reasoning step)."""
        return PromptTree(np.concatenate([self.prompt_ids, np.asarray(ids, dtype=np.int64)]), (), self.slots)

    def limited(self, max_tokens: int, *, keep: int = 0) -> tuple[PromptTree, int]:
        """Shorten the prompt until prompt and longest completion fit; return it and the number of tokens cut.

        Tokens are cut from the left, after the first ``keep`` (a start token, say). Soft runs are never cut:
        when the cut would reach one, or nothing behind the kept tokens would remain, this is a ValueError.
        """
        longest = max((len(c) for c in self.completions), default=0)
        excess = len(self.prompt_ids) + longest - max_tokens
        if excess <= 0:
            return self, 0
        spare = min((run.start for run in self.slots), default=len(self.prompt_ids) - 1) - keep
        if excess > spare:
            what = "before the first soft token" if self.slots else "before the last token"
            raise ValueError(
                f"prompt of {len(self.prompt_ids)} tokens and completion of {longest} exceed the window of "
                f"{max_tokens} and only {max(spare, 0)} tokens stand {what}; "
                "shorten the text or widen the window"
            )
        slots = tuple(SlotRun(s.start - excess, s.length, s.tower, s.entity) for s in self.slots)
        left = np.concatenate([self.prompt_ids[:keep], self.prompt_ids[keep + excess :]])
        return PromptTree(left, self.completions, slots), excess


@dataclass(frozen=True)
class PromptLayout:
    """A prompt whose soft tokens stand for no entity yet.

    Attributes
    ----------
    prompt_ids : int64 [P].
    marks : each soft mark and its run, in order; the runs' entities are None.
    """

    prompt_ids: np.ndarray
    marks: tuple[tuple[Soft, SlotRun], ...] = ()

    def tree(self, entities: Mapping[int, Hashable], completions: Sequence[np.ndarray] = ()) -> PromptTree:
        """The prompt about ``entities`` (slot number -> entity), with the ids of its completions.

        Raises
        ------
        ValueError : a soft mark has no entity, or the prompt is empty.
        """
        for mark, _ in self.marks:
            if mark.slot not in entities:
                raise ValueError(
                    f"the prompt has a soft token for slot {mark.slot} ({mark.role}), but no entity was "
                    f"given for it; entities were given for slots {sorted(entities)}"
                )
        slots = tuple(
            SlotRun(run.start, run.length, run.tower, entities[mark.slot]) for mark, run in self.marks
        )
        return PromptTree(self.prompt_ids, tuple(completions), slots)


@dataclass
class PromptBuilder:
    """Turns pieces into prompt trees with one tokenizer call per distinct text.

    Parameters
    ----------
    tokenizer : a Hugging Face tokenizer.
    tower_key : ``(role, slot) -> tower key``.
    num_queries : soft tokens Q of each tower, by tower key, or one number for all.
    placeholder : id written at soft positions (never read: its embedding is overwritten).
    cache_size : texts whose ids are kept; the cache is emptied when it is full.

    Raises
    ------
    ValueError : the tokenizer has no end token.
    """

    tokenizer: Any
    tower_key: Callable[[str, int], str]
    num_queries: int | Mapping[str, int]
    placeholder: int = 0
    cache_size: int = 500_000
    _cache: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)
    _answers: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.tokenizer.eos_token_id is None:
            raise ValueError(
                "the tokenizer has no end token: a model would never learn to stop; set its eos_token"
            )

    def ids(self, text: str) -> np.ndarray:
        """Token ids of a text without special tokens, int64, cached."""
        return self._kept(self._cache, text, self._encode)

    def _encode(self, text: str) -> np.ndarray:
        return np.asarray(self.tokenizer.encode(text, add_special_tokens=False), dtype=np.int64)

    def _kept(self, cache: dict[str, np.ndarray], text: str, make: Callable[[str], np.ndarray]) -> np.ndarray:
        found = cache.get(text)
        if found is None:
            if len(cache) >= self.cache_size:
                cache.clear()
            found = cache[text] = make(text)
        return found

    def following(self, text: str) -> np.ndarray:
        """Ids of a text that follows other text after a blank, int64."""
        return self.ids(text if self._blank_is_implied else " " + text)

    def completion(self, text: str) -> np.ndarray:
        """Ids of an answer, int64, cached: a blank, the text and always the end token, which teaches to
        stop."""
        return self._kept(self._answers, text, self._ended)

    def _ended(self, text: str) -> np.ndarray:
        return np.append(self.following(text), self.tokenizer.eos_token_id)

    @cached_property
    def _bos(self) -> np.ndarray | None:
        """The start token, int64 [1], where there is one."""
        bos = self.tokenizer.bos_token_id
        return None if bos is None else np.asarray([bos], dtype=np.int64)

    @cached_property
    def _blank_is_implied(self) -> bool:
        """SentencePiece tokenizers (Llama 2) begin every text with a blank; a second is one too many."""
        first = self.tokenizer.encode("a", add_special_tokens=False)[:1]
        return str(self.tokenizer.convert_ids_to_tokens(first)[0]).startswith("\u2581")

    def build(
        self, pieces: Sequence[Piece], entities: Mapping[int, Hashable], completions: Sequence[str] = ()
    ) -> PromptTree:
        """Build a tree from pieces.

        Parameters
        ----------
        pieces : texts and soft marks; neighbouring texts are tokenised together. Blanks at the end of the
            prompt are dropped, since the first token of a completion carries its blank.
        entities : slot number -> entity.
        completions : answer texts; each gets the end token.

        Raises
        ------
        ValueError : a soft mark has no entity, its tower no number of soft tokens, or the prompt would be
            empty.
        """
        return self.layout(pieces).tree(entities, [self.completion(c) for c in completions])

    def layout(self, pieces: Sequence[Piece]) -> PromptLayout:
        """The part of :meth:`build` that does not depend on entities; prompts that only differ in these share
        it.

        Raises
        ------
        ValueError : the tower of a soft mark has no number of soft tokens.
        """
        parts: list[np.ndarray] = []
        marks: list[tuple[Soft, SlotRun]] = []
        length = 0
        if self._bos is not None:
            parts.append(self._bos)
            length = 1
        for piece in _join_texts(pieces):
            if isinstance(piece, str):
                ids = self.ids(piece)
            else:
                run = self._run(piece, length)
                marks.append((piece, run))
                ids = np.full(run.length, self.placeholder, dtype=np.int64)
            parts.append(ids)
            length += len(ids)
        return PromptLayout(np.concatenate(parts) if parts else np.empty(0, dtype=np.int64), tuple(marks))

    def _run(self, mark: Soft, start: int) -> SlotRun:
        """The soft tokens of one mark, from position ``start`` on, without an entity."""
        key = self.tower_key(mark.role, mark.slot)
        if isinstance(self.num_queries, int):
            return SlotRun(start, self.num_queries, key, None)
        if key not in self.num_queries:
            raise ValueError(
                f"no number of soft tokens is known for tower {key!r}; known are {sorted(self.num_queries)}"
            )
        return SlotRun(start, self.num_queries[key], key, None)


def _join_texts(pieces: Sequence[Piece]) -> list[Piece]:
    """Neighbouring texts as one, without blanks at the very end."""
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(piece, str) and isinstance(last, str):
            joined[-1] = last + piece
        else:
            joined.append(piece)
    if joined and isinstance(joined[-1], str):
        joined[-1] = joined[-1].rstrip(" ")
    return joined
