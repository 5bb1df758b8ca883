"""Typed interactions: the answer is the sentence of one class, with the two molecules in its slots.

The sentences come from the data set, so that a model's answer reads like the source. A directed sentence
says which molecule acts on which; exchanging the molecules in the prompt exchanges them in the sentence too.

Shapes: C classes, n answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data_prep.records import TypedClass
from moltc.chain_of_thought import ChainOfThought
from moltc.family import AnswerSpace, Family, ParsedAnswer

FUZZY_OVERLAP = 0.9

_OPENING = "Interaction: "
_ANSWER_START = r"Interaction\s*:"
_CUE = re.compile(r"\b(?:interaction|answer)\s*:", re.IGNORECASE)
_NEGATIONS = frozenset({"no", "not", "cannot", "never", "none", "neither", "nor"})


class _Statement(NamedTuple):
    """What a sentence says.

    ``number`` is its class; ``reversed`` tells that it is directed and has its molecules exchanged; ``words``
    are its distinct words; ``named`` the titles in the order in which they occur.
    """

    number: int
    reversed: bool
    words: frozenset[str]
    named: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassFamily(Family):
    """A family answered by one of ``classes``, whose numbers 0 to C - 1 are the labels.

    Without classes it can be named and asked, but neither written nor read: see :meth:`with_classes`.
    """

    classes: tuple[TypedClass, ...] = ()

    kind = "class"

    def __post_init__(self) -> None:
        seen: dict[str, int] = {}
        for number, one in enumerate(self.classes):
            sentence = self._filled(one)
            if (other := seen.setdefault(_normalised(sentence), number)) != number:
                raise ValueError(
                    f"classes {other} and {number} of family {self.name} have the same sentence,"
                    f" {sentence!r}: merge them or word them apart"
                )

    def with_classes(self, classes: Iterable[TypedClass]) -> ClassFamily:
        """The same question with the classes of a data set.

        Raises
        ------
        ValueError : two classes have the same sentence, or there are fewer than two.
        """
        found = tuple(classes)
        if len(found) < 2:
            raise ValueError(f"family {self.name} chooses between classes, but got {len(found)}")
        return replace(self, classes=found)

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.classes)

    def sentences(self, *, exchanged: bool = False) -> list[str]:
        """The sentence of every class [C], its slots filled with the titles of the molecules.

        ``exchanged`` fills them the other way round, for a prompt that shows the molecules in the other
        order. A symmetric class says the same both ways and keeps its one sentence.

        Raises
        ------
        ValueError : the family has no classes yet.
        """
        if not self.classes:
            raise ValueError(f"family {self.name} needs the classes of a data set; give them by with_classes")
        return list(self._sentences[exchanged])

    def answers(
        self,
        labels: ArrayLike,
        cot: ChainOfThought,
        *,
        property: str | None = None,
        exchanged: ArrayLike | None = None,
    ) -> list[str]:
        """The answer texts of class numbers ``labels`` [n].

        ``exchanged`` [n] says where the molecules stand the other way round in the prompt; nowhere when
        omitted.

        Raises
        ------
        ValueError : a label that is no class, by its position; lengths that differ; no classes yet.
        """
        self.property_name(property)
        sentences = self.sentences(), self.sentences(exchanged=True)
        numbers = self._numbers(labels)
        turned = np.zeros(len(numbers), bool) if exchanged is None else np.asarray(exchanged, dtype=bool)
        if turned.shape != numbers.shape:
            raise ValueError(f"{len(numbers)} labels, but exchanged has shape {list(turned.shape)}")
        return [
            f"{_OPENING}{sentences[turn][number]}"
            for number, turn in zip(numbers.tolist(), turned.tolist(), strict=True)
        ]

    def answer_space(
        self,
        cot: ChainOfThought,
        *,
        property: str | None = None,
        label_range: tuple[float, float] | None = None,
        exchanged: bool = False,
    ) -> AnswerSpace:
        """One answer for each class, in order; ``exchanged`` for prompts in the other order.

        The openings hold every whole sentence in both directions.
        """
        self.property_name(property)
        both = [*self.sentences(), *self.sentences(exchanged=True)]
        return AnswerSpace(
            texts=[_OPENING + sentence for sentence in self.sentences(exchanged=exchanged)],
            values=np.arange(self.num_classes, dtype=np.float64),
            bins=None,
            openings=[_OPENING, *dict.fromkeys(both)],
        )

    def parse(self, text: str, train_range: tuple[float, float] | None = None) -> ParsedAnswer:
        """Read the class whose sentence follows the last cue ("Interaction:", "Answer:"), or is the text.

        Upper and lower case, white space and final dots do not matter. A text that is no sentence is read as
        the one with which it shares at least 0.9 of the distinct words (Jaccard), flagged ``fuzzy``: no other
        may be as near, both must negate alike, and a directed one must name the molecules in the same order.
        A directed sentence with the molecules exchanged says something else and is invalid.
        """
        self.sentences()  # refuses a family without classes
        statement = self._statement(text, _ANSWER_START)
        cues = list(_CUE.finditer(statement))
        flags = () if cues else ("no_cue",)
        tail = _normalised(statement[cues[-1].end() :] if cues else statement)
        found = self._statements.get(tail)
        if found is None:
            nearest = self._nearest(tail)
            if len(nearest) != 1:
                return ParsedAnswer(None, None, False, (*flags, "ambiguous" if nearest else "no_class"))
            found, flags = nearest[0], (*flags, "fuzzy")
        if found.reversed:
            return ParsedAnswer(None, None, False, (*flags, "wrong_direction"))
        return ParsedAnswer(float(found.number), None, True, flags)

    def _filled(self, one: TypedClass, turned: bool = False) -> str:
        first, second = reversed(self.role_titles) if turned else self.role_titles
        return re.sub(r"\{[ab]\}", lambda slot: first if slot[0] == "{a}" else second, one.text)

    def _numbers(self, labels: ArrayLike) -> NDArray[np.int64]:
        array = np.asarray(labels, dtype=np.float64)
        bad = np.flatnonzero(~np.isin(array, np.arange(self.num_classes)))
        if len(bad):
            raise ValueError(
                f"family {self.name} is answered by class numbers 0 to {self.num_classes - 1}, but position"
                f" {bad[0]} holds {array[bad[0]]:g} ({len(bad)} of {array.size} labels are no class)"
            )
        return array.astype(np.int64)

    @cached_property
    def _sentences(self) -> dict[bool, list[str]]:
        """Exchanged or not -> the sentence of every class."""
        return {
            turned: [self._filled(one, turned and not one.symmetric) for one in self.classes]
            for turned in (False, True)
        }

    @cached_property
    def _statements(self) -> dict[str, _Statement]:
        """Normal form of a sentence -> what it says.

        Where a class reads like another one reversed, the text is the former.
        """
        found: dict[str, _Statement] = {}
        for turned in (False, True):
            for number, one in enumerate(self.classes):
                text = _normalised(self._filled(one, turned))
                says = _Statement(number, turned and not one.symmetric, *self._words(text))
                found.setdefault(text, says)
        return found

    def _nearest(self, text: str) -> list[_Statement]:
        """The sentence nearest to a text if one is near enough; several where they are equally near."""
        words, named = self._words(text)
        near: dict[
            int, tuple[float, _Statement]
        ] = {}  # by class: both orders of a symmetric one say the same
        for says in self._statements.values():
            directed = not self.classes[says.number].symmetric
            if _NEGATIONS & (words ^ says.words) or (directed and named != says.named):
                continue
            overlap = len(words & says.words) / len(words | says.words)
            if overlap >= FUZZY_OVERLAP:
                near[says.number] = (overlap, says)
        best = max((overlap for overlap, _ in near.values()), default=0.0)
        return [says for overlap, says in near.values() if overlap == best]

    def _words(self, text: str) -> tuple[frozenset[str], tuple[str, ...]]:
        """The distinct words of a text in normal form, a title being one word, and the titles as named."""
        titles = [title.lower() for title in self.role_titles]
        words = re.findall(rf"(?:{'|'.join(map(re.escape, titles))})\b|\w+", text)
        return frozenset(words), tuple(word for word in words if word in titles)


def _normalised(text: str) -> str:
    """Lower case, single blanks, no final dot."""
    return " ".join(text.lower().split()).rstrip(". ")


TYPED_DDI = ClassFamily(
    name="typed-ddi",
    roles=("drug", "drug"),
    role_titles=("Drug 1", "Drug 2"),
    symmetric=False,
    questions={"interaction type": "Which interaction do these two drugs have?"},
)
