"""Prompts and completions as token ids: tokenised together, cut where they are too long, and counted.

A prompt ends where the ids of prompt and completion, tokenised together, first differ from those of the
prompt alone; the completions of an example share the earliest such place, so that all are scored on the same
text. The tokenizer's first token stands once at the beginning, its end token once at the end of a completion.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NamedTuple

import numpy as np

from align.chat import ChatFormat
from align.records import PreferenceTable
from moltc.backbone.prompt import PromptTree

Truncate = Literal["start", "middle", "end", "error"]
_ROWS_AT_ONCE = 512

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How long examples may be, in tokens.

    Attributes
    ----------
    max_tokens : of a prompt with its longest completion. An example within it is left as it is; of one beyond
        it the prompt is cut first (to ``max_prompt_tokens``, or as far as is needed), then the completions.
    max_prompt_tokens : see there; without ``max_tokens`` no prompt is longer than this.
    max_completion_tokens : no completion is longer than this.
    truncate : which part of a prompt is cut off; the first token stays. "error": nothing is cut, and an
        example that is too long is an error. Completions lose their end, with the end token, and keep at
        least one token.
    drop_identical : leave out examples whose chosen completion equals a rejected one token for token.
    """

    max_tokens: int | None = None
    max_prompt_tokens: int | None = None
    max_completion_tokens: int | None = None
    truncate: Truncate = "start"
    drop_identical: bool = True

    def __post_init__(self) -> None:
        least = {"max_tokens": 3, "max_prompt_tokens": 2, "max_completion_tokens": 1}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise ValueError(f"{name} must be at least {smallest}, not {value}")
        if self.max_tokens and self.max_prompt_tokens and self.max_prompt_tokens >= self.max_tokens:
            raise ValueError(
                f"max_prompt_tokens {self.max_prompt_tokens} leaves no token of max_tokens {self.max_tokens} "
                "to a completion: make it smaller"
            )
        if self.truncate not in ("start", "middle", "end", "error"):
            raise ValueError(f"truncate must be start, middle, end or error, not {self.truncate!r}")

    def room(self, prompt: int, longest: int, window: int | None = None) -> Room:
        """Tokens that remain of a prompt and of each completion.

        Args:
            prompt, longest: tokens of the prompt and of its longest completion.
            window: tokens that the model reads; the last one of a completion is not read.
        """
        if self.max_completion_tokens is not None:
            longest = min(longest, self.max_completion_tokens)
        if self.max_prompt_tokens is not None and self.max_tokens is None:
            prompt = min(prompt, self.max_prompt_tokens)
        known = [n for n in (self.max_tokens, None if window is None else window + 1) if n is not None]
        limit = min(known, default=prompt + longest)
        if prompt + longest > limit:
            target = limit - longest if self.max_prompt_tokens is None else self.max_prompt_tokens
            prompt = min(prompt, max(target, 2), limit - 1)
            longest = min(longest, limit - prompt)
        return Room(prompt, longest)

    def describe(self) -> str:
        """The limits as one text, to tell cached values by."""
        return ", ".join(f"{name}={value}" for name, value in asdict(self).items())


class Room(NamedTuple):
    """Tokens that remain of a prompt and, at most, of each of its completions."""

    prompt: int
    completion: int


@dataclass
class Cuts:
    """What tokenisation changed, counted.

    Attributes
    ----------
    examples : examples read.
    prompts, prompt_tokens : prompts that were cut, and tokens cut off them.
    completions, completion_tokens : the same of completions, which lose their end token.
    identical : examples left out because, as cut, chosen and rejected are the same tokens.
    merged : examples in which a token spans prompt and completion; it belongs to the completion.
    """

    examples: int = 0
    prompts: int = 0
    prompt_tokens: int = 0
    completions: int = 0
    completion_tokens: int = 0
    identical: int = 0
    merged: int = 0

    def __str__(self) -> str:
        return (
            f"{self.examples:,} examples tokenised: {self.prompts:,} prompts cut by {self.prompt_tokens:,} "
            f"tokens, {self.completions:,} completions cut by {self.completion_tokens:,} (these end without "
            f"end token), {self.identical:,} left out as chosen and rejected are the same tokens, "
            f"{self.merged:,} with a token across the boundary"
        )


@dataclass(frozen=True)
class TokenisedExamples:
    """Token ids of n examples in flat arrays.

    Attributes
    ----------
    rows : int64 [n], rows of the table, ascending.
    prompt_ids, prompt_ends : int32 [tokens] and int64 [n + 1].
    completion_ids, completion_ends : int32 [tokens] and int64 [C + 1].
    first_completion : int64 [n + 1], where the completions of each example begin.
    cuts : what was changed.
    """

    rows: np.ndarray
    prompt_ids: np.ndarray
    prompt_ends: np.ndarray
    completion_ids: np.ndarray
    completion_ends: np.ndarray
    first_completion: np.ndarray
    cuts: Cuts

    def __len__(self) -> int:
        return len(self.rows)

    def prompt(self, place: int) -> np.ndarray:
        """Ids of the prompt of example ``place`` (from 0), int64."""
        start, end = self.prompt_ends[place : place + 2]
        return self.prompt_ids[start:end].astype(np.int64)

    def completion(self, place: int, column: int) -> np.ndarray:
        """Ids of one of its completions, in the table's order, int64."""
        at = self.first_completion[place] + column
        start, end = self.completion_ends[at : at + 2]
        return self.completion_ids[start:end].astype(np.int64)

    def tree(self, place: int, columns: Sequence[int]) -> PromptTree:
        """The prompt with some of its completions."""
        return PromptTree(self.prompt(place), tuple(self.completion(place, column) for column in columns))

    def tokens(self, completions: int | None = None) -> np.ndarray:
        """Tokens that a model reads of each example, int64 [n].

        Args:
            completions: how many of an example's completions are read, its mean length each; None: all.
        """
        counts = np.diff(self.first_completion)
        read = np.add.reduceat(np.diff(self.completion_ends) - 1, self.first_completion[:-1])
        if completions is not None:
            read = read * np.minimum(counts, completions) // counts
        return np.diff(self.prompt_ends) + read


def tokenise(
    table: PreferenceTable,
    rows: np.ndarray,
    tokenizer: Any,
    *,
    limits: Limits | None = None,
    chat: ChatFormat | None = None,
    window: int | None = None,
) -> TokenisedExamples:
    """Tokenise rows of a table once; what was cut is counted, and logged when anything was.

    Args:
        table, rows: examples, int64 ``[n]``.
        tokenizer: a Hugging Face tokenizer.
        limits: how long examples may be; default: as long as the window.
        chat: how dialogues become text; default: the tokenizer's own template.
        window: tokens that the model reads.

    Raises:
        ValueError: the tokenizer has no end token, a dialogue cannot be rendered, nothing stands before a
            completion, or with ``truncate="error"`` examples are too long.
    """
    limits, chat = limits or Limits(), chat or ChatFormat()
    if tokenizer.eos_token_id is None:
        raise ValueError(
            "the tokenizer has no end token, so a model would never learn to stop: set eos_token"
        )
    writer = _Writer(limits, window, keep=0 if tokenizer.bos_token_id is None else 1)
    for row, ids in _encoded(table, rows, tokenizer, chat):
        try:
            writer.add(row, ids[0], ids[1:])
        except ValueError as error:
            source, line = table.frame.select("source", "source_row").row(row)
            raise ValueError(f"{source} line {line}: {error}") from error
    found = writer.finish()
    if any(getattr(found.cuts, field.name) for field in fields(Cuts) if field.name != "examples"):
        log.warning("%s", found.cuts)
    return found


def encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Ids of texts that begin with the tokenizer's first token once, if it has one."""
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    found = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
    return [ids if bos and ids[:1] == bos else bos + ids for ids in found["input_ids"]]


def ended(tokenizer: Any, ids: list[int]) -> list[int]:
    """Ids that end in the tokenizer's end token once."""
    return ids if ids[-1:] == [tokenizer.eos_token_id] else [*ids, tokenizer.eos_token_id]


def boundary(alone: Sequence[int], joined: Sequence[Sequence[int]]) -> int:
    """Ids at the beginning that the prompt alone and all texts with a completion share, the last one's left.

    Raises:
        ValueError: there is none, so that nothing would predict the first token.
    """
    shared = min(_common(alone, ids[:-1]) for ids in joined)
    if shared == 0:
        raise ValueError("no token stands before the completion; give a prompt")
    return shared


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    end = min(len(left), len(right))
    differ = np.flatnonzero(np.asarray(left[:end]) != np.asarray(right[:end]))
    return int(differ[0]) if len(differ) else end


def _encoded(
    table: PreferenceTable, rows: np.ndarray, tokenizer: Any, chat: ChatFormat
) -> Iterator[tuple[int, list[list[int]]]]:
    """Each row with the ids of its prompt alone and with each completion."""
    for part in np.array_split(rows, max(-(-len(rows) // _ROWS_AT_ONCE), 1)):
        written = []
        for row in part.tolist():
            prompt, is_chat, completions = table.texts(row)
            if is_chat:
                written.append(chat.render(tokenizer, prompt, completions))
            else:
                written.append([prompt, *(prompt + completion for completion in completions)])
        ids = iter(encode(tokenizer, [text for texts in written for text in texts]))
        for row, texts in zip(part.tolist(), written, strict=True):
            alone, *joined = (next(ids) for _ in texts)
            yield row, [alone, *(ended(tokenizer, one) for one in joined)]


class _Writer:
    """Collects examples, cut to their limits, into flat arrays."""

    def __init__(self, limits: Limits, window: int | None, keep: int) -> None:
        self.limits, self.window, self.keep = limits, window, keep
        self.cuts = Cuts()
        self.rows: list[int] = []
        self.counts: list[int] = []
        self.prompts: list[np.ndarray] = []
        self.completions: list[np.ndarray] = []
        self.too_long: list[int] = []

    def add(self, row: int, alone: list[int], joined: list[list[int]]) -> None:
        self.cuts.examples += 1
        end = boundary(alone, joined)
        self.cuts.merged += end < len(alone)
        longest = max(map(len, joined)) - end
        room = self.limits.room(end, longest, self.window)
        if self.limits.truncate == "error" and room != (end, longest):
            raise ValueError(
                f"prompt of {end} tokens and completion of {longest}, but there is room for {room.prompt} "
                f"and {room.completion}; shorten it, raise the limits, or set truncate to start, middle, end"
            )
        prompt = self._cut_prompt(np.array(joined[0][:end], dtype=np.int32), room.prompt)
        completions = [self._cut_completion(np.array(ids[end:], dtype=np.int32), room) for ids in joined]
        if self.limits.drop_identical and any(
            np.array_equal(completions[0], other) for other in completions[1:]
        ):
            self.cuts.identical += 1
            return
        self.rows.append(row)
        self.counts.append(len(completions))
        self.prompts.append(prompt)
        self.completions += completions

    def _cut_prompt(self, ids: np.ndarray, room: int) -> np.ndarray:
        excess = len(ids) - room
        if excess <= 0:
            return ids
        self.cuts.prompts += 1
        self.cuts.prompt_tokens += excess
        head = {"start": self.keep, "middle": (room + 1) // 2, "end": room}[self.limits.truncate]
        return np.concatenate([ids[:head], ids[head + excess :]])

    def _cut_completion(self, ids: np.ndarray, room: Room) -> np.ndarray:
        excess = len(ids) - room.completion
        if excess > 0:
            self.cuts.completions += 1
            self.cuts.completion_tokens += excess
        return ids[: room.completion]

    def finish(self) -> TokenisedExamples:
        return TokenisedExamples(
            rows=np.array(self.rows, dtype=np.int64),
            prompt_ids=_flat(self.prompts),
            prompt_ends=_ends([len(ids) for ids in self.prompts]),
            completion_ids=_flat(self.completions),
            completion_ends=_ends([len(ids) for ids in self.completions]),
            first_completion=_ends(self.counts),
            cuts=self.cuts,
        )


def _flat(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)


def _ends(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
