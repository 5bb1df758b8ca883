"""LLaRA's prompts: a history, a list of candidates and a question, in three wordings for each kind of item.

Same shape as in Liao et al. (SIGIR 2024, arXiv 2312.02445), in our words; the number that a prompt states is
the number of candidates it lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter
from typing import NamedTuple

import numpy as np

from graphrec.llara.items import ItemForm, item_pieces
from moltc.backbone.prompt import Piece

_STREAM = 0x7E4A7
"""Keeps these draws apart from others of the same seed and step."""


class Domain(NamedTuple):
    """What items are called."""

    one: str
    many: str
    met: str
    """What a user did with them."""
    log: str
    """What a list of them is called."""


DOMAINS = {
    "films": Domain("film", "films", "seen", "Viewing"),
    "games": Domain("game", "games", "played", "Playing"),
    "artists": Domain("artist", "artists", "heard", "Listening"),
    "items": Domain("item", "items", "chosen", "Selection"),
}
TEMPLATES = {
    "A": "{Many} this user has {met}, oldest first: {history}. Which {one} will be {met} next? "
    "Pick exactly one of these titles: {candidates}. Answer:",
    "B": "{Many} this user has {met}, oldest first: {history}. From the {count} titles {candidates}, "
    "name the one to recommend now. Recommended title:",
    "C": "{log} history: {history}. Recommend the next {one} out of this set: {candidates}. "
    "Give one title and nothing else. Recommendation:",
}
OPEN = {
    "A": "{Many} this user has {met}, oldest first: {history}. Which {one} will be {met} next? Answer:",
    "B": "{Many} this user has {met}, oldest first: {history}. Name the {one} to recommend now. "
    "Recommended title:",
    "C": "{log} history: {history}. Recommend the next {one}. Give one title and nothing else. "
    "Recommendation:",
}
"""The same questions about the whole catalogue, which no prompt can list."""
NOTHING = "nothing yet"
"""What stands for an empty history."""


class Shown(NamedTuple):
    """An item of a prompt."""

    number: int
    """In the catalogue; what its soft token is projected from."""
    title: str


@dataclass(frozen=True)
class LlaraPrompt:
    """A prompt before tokenising.

    Attributes:
        pieces: texts and soft marks, see :class:`moltc.backbone.prompt.PromptBuilder`.
        entities: item number of each slot.
    """

    pieces: list[Piece]
    entities: dict[int, int]


@dataclass(frozen=True)
class Template:
    """One wording for one kind of item.

    Attributes:
        wording: a key of :data:`TEMPLATES`.
        domain: a key of :data:`DOMAINS`.
        stated_count: number of candidates that the prompt states; None: the true one. The released prompts
            say 10 and list 20.
    """

    wording: str = "A"
    domain: str = "items"
    stated_count: int | None = None

    def __post_init__(self) -> None:
        for name, value, known in (("wording", self.wording, TEMPLATES), ("domain", self.domain, DOMAINS)):
            if value not in known:
                raise ValueError(f"{name}={value!r} is not known; choose from {', '.join(known)}")

    def prompt(self, history: Sequence[Shown], candidates: Sequence[Shown], form: ItemForm) -> LlaraPrompt:
        """The prompt about a history and its candidates.

        Args:
            history: items, oldest first; an empty one is said to be so.
            candidates: in the order shown.
            form: how items are shown, see :func:`~graphrec.llara.items.item_pieces`.

        Raises:
            ValueError: there is no candidate, or an item has no title.
        """
        if not candidates:
            raise ValueError("there is no candidate to choose from; ask open_prompt for the whole catalogue")
        return self._filled(TEMPLATES[self.wording], history, candidates, form)

    def open_prompt(self, history: Sequence[Shown], form: ItemForm) -> LlaraPrompt:
        """The prompt about a history that lists no candidates: any item of the catalogue may answer it."""
        return self._filled(OPEN[self.wording], history, (), form)

    def texts(self) -> list[str]:
        """All that the prompts of this wording say beside titles."""
        comma = [Shown(0, ","), Shown(0, ",")]
        prompts = [
            self.prompt(comma, comma, "text"),
            self.prompt((), comma, "text"),
            self.open_prompt(comma, "text"),
        ]
        return [
            "".join(piece if isinstance(piece, str) else " " for piece in prompt.pieces) for prompt in prompts
        ]

    def _filled(
        self, wording: str, history: Sequence[Shown], candidates: Sequence[Shown], form: ItemForm
    ) -> LlaraPrompt:
        shown = [*history, *candidates]
        lists = {
            "history": item_pieces([item.title for item in history], form) or [NOTHING],
            "candidates": item_pieces([item.title for item in candidates], form, first_slot=len(history) + 1),
        }
        words = self._words(len(candidates))
        pieces: list[Piece] = []
        for text, name, _, _ in Formatter().parse(wording):
            pieces.append(text)
            if name is not None:
                pieces += lists[name] if name in lists else [words[name]]
        return LlaraPrompt(
            [piece for piece in pieces if piece],
            {slot: item.number for slot, item in enumerate(shown, 1)},
        )

    def _words(self, count: int) -> dict[str, str]:
        domain = DOMAINS[self.domain]
        stated = count if self.stated_count is None else self.stated_count
        return {**domain._asdict(), "Many": domain.many.capitalize(), "count": str(stated)}


def drawn_wording(seed: int, step: int) -> str:
    """The wording of a training batch, drawn by (seed, step) alone."""
    return str(np.random.default_rng([_STREAM, seed, step]).choice(list(TEMPLATES)))


def answer(title: str) -> str:
    """The text that a prompt is answered by; it follows after a blank and ends the line."""
    return f"{title}\n"
