"""Which items of the catalogue a generated text mentions, in which order, and what else it names.

Titles are compared as :func:`graphrec.llara.matching.plain_title` writes them and count as whole words only.
From left to right the longest title is taken, so that one within another is not a mention of its own, and a
title's commas and brackets are plain letters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from graphrec.catalogue import Catalogue
from graphrec.llara.matching import plain_title


class Mentions(NamedTuple):
    """What a text names.

    Attributes:
        titles: plain titles of the catalogue, in the order of the text; one may come twice.
        others: what stands between the separators besides, and is no title.
    """

    titles: list[str]
    others: list[str]


class TitleIndex:
    """The titles of a catalogue, to be found in texts.

    Args:
        titles: of all items; those without one are never mentioned.

    Attributes:
        items: plain title -> numbers of the items that it names.
    """

    def __init__(self, titles: Sequence[str | None]) -> None:
        self.items: dict[str, list[int]] = defaultdict(list)
        for number, title in enumerate(titles):
            if title is not None and title.strip():
                self.items[plain_title(title)].append(number)
        if not self.items:
            raise ValueError("no item has a title, so that no text can name one; build data that have titles")
        self._by_start: dict[str, list[str]] = defaultdict(list)
        for title in sorted(self.items, key=len, reverse=True):
            self._by_start[title[:2]].append(title)

    @classmethod
    def of(cls, catalogue: Catalogue) -> TitleIndex:
        """The titles of a catalogue."""
        return cls(catalogue.titles)

    def mentions(self, text: str, separator: str = ", ") -> Mentions:
        """What a text names; ``separator`` stands between names."""
        said = plain_title(text)
        found: list[str] = []
        between: list[str] = []
        place = rest = 0
        while place < len(said):
            title = self._title_at(said, place)
            if title is None:
                place += 1
                continue
            found.append(title)
            between.append(said[rest:place])
            place += len(title)
            rest = place
        between.append(said[rest:])
        parts = (part.strip() for text in between for part in text.split(separator.strip()))
        return Mentions(found, [part for part in parts if part])

    def _title_at(self, said: str, place: int) -> str | None:
        """The longest title that begins at a place and ends with its word."""
        if place and _in_word(said, place):
            return None
        starts = (said[place : place + 2], said[place])  # a title of one letter is its own start
        for title in (title for start in dict.fromkeys(starts) for title in self._by_start.get(start, ())):
            end = place + len(title)
            if said.startswith(title, place) and not _in_word(said, end):
                return title
        return None


def _in_word(said: str, place: int) -> bool:
    """Whether a place lies between two letters or digits of one word."""
    return 0 < place < len(said) and _is_word(said[place - 1]) and _is_word(said[place])


def _is_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"
