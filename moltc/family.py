"""What every task family has: roles, questions, the wording of answers and the parser that is their inverse.

A family fixes what the molecules of a pair are, the question about them, and how an answer is written and
read. Prompts and reasoning steps are put together in :mod:`moltc.chain_of_thought`; the families themselves
stand in :mod:`moltc.families`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moltc.chain_of_thought import ChainOfThought, broad_step

FamilyKind = Literal["number", "binary", "class", "text"]
"""Answers are numbers, yes or no, one of several sentences, or free text."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class AnswerSpace:
    """Every admissible answer of a task.

    Attributes
    ----------
    texts : n answers.
    values : float64 [n], what each answer says.
    bins : float64 [n, 2], the interval each answer names, or None where answers name none.
    openings : the fixed texts that answers are made of, for a tokenizer that knows them.
    """

    texts: list[str]
    values: NDArray[np.float64]
    bins: NDArray[np.float64] | None
    openings: list[str]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class ParsedAnswer:
    """What a written answer says.

    Attributes
    ----------
    value : the number, 1.0 for yes and 0.0 for no, or the number of a class; None if the answer is invalid,
        and for free text.
    interval : the interval (L, U) that the answer names, if any.
    valid : whether the answer could be read.
    flags : remarks: ``no_cue`` (the value stands outside the usual wording), ``outside_interval`` (the value
        contradicts its own interval), ``empty_interval`` (L >= U, interval ignored), ``fuzzy`` (not the
        sentence of the class, but near it); reasons for an invalid answer: ``no_value``, ``ambiguous``
        (several numbers and no cue, or several classes as near), ``out_of_range``, ``no_decision``,
        ``no_class``, ``wrong_direction`` (the sentence of a class with the molecules exchanged), ``empty``.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    valid: bool = True
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Family(ABC):
    """A kind of question about one molecule or a pair.

    Parameters
    ----------
    name : the family's name in data and configs.
    roles : what the molecules are, one or two, in the fixed order of the prompt; towers are shared by role.
    role_titles : how the prompt calls them.
    symmetric : whether swapping the molecules leaves the label unchanged.
    questions : property -> question; ``{query}`` stands for what a row asks.
    """

    name: str
    roles: tuple[str, ...]
    role_titles: tuple[str, ...]
    symmetric: bool
    questions: Mapping[str, str]

    kind: ClassVar[FamilyKind]

    def property_name(self, property: str | None = None) -> str:
        """Check a property; None or an empty text means the only one.

        Raises
        ------
        ValueError : if the family has no such property, or several and none is named.
        """
        if not property and len(self.questions) == 1:
            return next(iter(self.questions))
        if property is None or property not in self.questions:
            raise ValueError(
                f"family {self.name} has no property {property!r}; choose from {', '.join(self.questions)}"
            )
        return property

    def question_template(self, property: str | None = None) -> str:
        """The question with ``{query}`` left open."""
        return self.questions[self.property_name(property)]

    def question(self, property: str | None = None, query: str | None = None) -> str:
        """The question about a pair.

        Raises
        ------
        ValueError : if the question needs a query and has none, or has no place for the one given.
        """
        template = self.question_template(property)
        if "{query}" not in template:
            if query:
                raise ValueError(
                    f"the question of family {self.name} has no place for the query {query!r}; leave it out"
                )
            return template
        if not query:
            raise ValueError(
                f"family {self.name} asks a question per row: {template!r}; give the row's query"
            )
        return template.replace("{query}", query)

    def in_slots(self, first: T, second: T | None = None) -> tuple[T | None, ...]:
        """What belongs to the molecules, one value for each slot of the prompt.

        Raises
        ------
        ValueError : a second value for a family that asks about one molecule.
        """
        if len(self.roles) == 1:
            if second:
                raise ValueError(
                    f"family {self.name} asks about one molecule, but a second is given: {second!r};"
                    " leave it out"
                )
            return (first,)
        return (first, second)

    def reasoning(self, text_a: str, text_b: str | None = None) -> str:
        """The broad step about the molecules, one line each; ``text_b`` only where there is a second."""
        return broad_step(self.role_titles, self.in_slots(text_a, text_b))

    def answer(self, label: float, cot: ChainOfThought, *, property: str | None = None) -> str:
        """The answer text of one label, without the broad step."""
        return self.answers([label], cot, property=property)[0]

    @abstractmethod
    def answers(self, labels: ArrayLike, cot: ChainOfThought, *, property: str | None = None) -> list[str]:
        """The answer texts of ``labels`` [n]; a label that is no label of the family is a ValueError."""

    @abstractmethod
    def answer_space(
        self,
        cot: ChainOfThought,
        *,
        property: str | None = None,
        label_range: tuple[float, float] | None = None,
    ) -> AnswerSpace:
        """Every admissible answer.

        ``label_range`` bounds the numbers and must be given for them; the others need none. Free text has no
        such list: a ValueError.
        """

    @abstractmethod
    def parse(self, text: str, train_range: tuple[float, float] | None = None) -> ParsedAnswer:
        """Read a written answer, with or without the broad step before it."""

    def _statement(self, text: str, answer_start: str) -> str:
        """The text without the lines of the broad step, whose numbers and words are not the answer.

        ``answer_start`` is the regular expression that answers begin with, on such a line too.
        """
        titles = "|".join(map(re.escape, self.role_titles))
        return re.sub(rf"^[ \t]*(?:{titles})\s*:.*?(?=$|{answer_start})", "", text, flags=re.MULTILINE)
