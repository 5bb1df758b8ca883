"""Which candidate a generated text names, and the metrics of generated answers.

LLaRA (Liao et al., SIGIR 2024, arXiv 2312.02445): an answer is valid when it names exactly one candidate;
HitRatio@1 counts the answers that name the target, an invalid one as a miss.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Matcher = Literal["strict", "reference"]


def match_title(text: str, titles: Sequence[str], matcher: Matcher = "strict") -> tuple[int, ...]:
    """The candidates that a text names: places of one title among ``titles``, none where it is invalid.

    More than one place is given only where candidates share a title.

    Args:
        text: as generated; what follows its first line break is not read.
        titles: of the candidates.
        matcher: "strict": the text is a title, letter case, Unicode form and blanks apart; or exactly one
            title occurs in it as whole words, where a title within a longer one that occurs does not count.
            "reference": exactly one title occurs anywhere in it, letter case apart, as in the released code.

    Raises:
        ValueError: a candidate has no title, or ``matcher`` is not known.
    """
    for place, title in enumerate(titles):
        if not title.strip():
            raise ValueError(f"candidate {place} has no title, so no text can name it; leave it out")
    line = text.split("\n", 1)[0].strip()
    if matcher == "reference":
        return _reference(line, titles)
    if matcher != "strict":
        raise ValueError(f"matcher={matcher!r} is not known; choose 'strict' or 'reference'")
    plain = [plain_title(title) for title in titles]
    said = plain_title(line)
    named = said if said in plain else _only_title(said, set(plain))
    return tuple(place for place, title in enumerate(plain) if title == named)


def plain_title(text: str) -> str:
    """A text as titles are compared: NFKC, case folded, single blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _reference(line: str, titles: Sequence[str]) -> tuple[int, ...]:
    said = line.lower()
    found = tuple(place for place, title in enumerate(titles) if title.strip().lower() in said)
    return found if len(found) == 1 else ()


class _Span(NamedTuple):
    start: int
    end: int
    title: str

    def within(self, other: _Span) -> bool:
        longer = other.end - other.start > self.end - self.start
        return longer and other.start <= self.start and self.end <= other.end


def _only_title(said: str, titles: set[str]) -> str | None:
    """The one title that occurs as whole words, not only within longer titles that occur."""
    spans = [
        _Span(*found.span(), title)
        for title in titles
        for found in re.finditer(rf"(?<!\w){re.escape(title)}(?!\w)", said)
    ]
    outer = {span.title for span in spans if not any(span.within(other) for other in spans)}
    return outer.pop() if len(outer) == 1 else None


@dataclass(frozen=True)
class AnswerMetrics:
    """Of generated answers.

    Attributes:
        valid_ratio: share of answers that name exactly one candidate.
        hit_ratio: share of all answers that name the target, HitRatio@1.
        count: how many answers.
    """

    valid_ratio: float
    hit_ratio: float
    count: int

    @property
    def hits_among_valid(self) -> float:
        """Share of valid answers that name the target; NaN without a valid answer."""
        return self.hit_ratio / self.valid_ratio if self.valid_ratio else float("nan")


def answer_metrics(
    texts: Sequence[str],
    candidates: Sequence[Sequence[str]],
    targets: Sequence[int],
    matcher: Matcher = "strict",
) -> AnswerMetrics:
    """Metrics of one answer for each row.

    Args:
        texts: as generated.
        candidates: titles shown in each row.
        targets: place of the target among them.

    Raises:
        ValueError: there is no answer, or the lengths differ.
    """
    if not texts or not len(texts) == len(candidates) == len(targets):
        raise ValueError(
            f"{len(texts)} answers, {len(candidates)} candidate lists and {len(targets)} targets: give one "
            "each, at least one"
        )
    named = [match_title(text, titles, matcher) for text, titles in zip(texts, candidates, strict=True)]
    hits = sum(target in places for places, target in zip(named, targets, strict=True))
    return AnswerMetrics(sum(map(bool, named)) / len(texts), hits / len(texts), len(texts))
