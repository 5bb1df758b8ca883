"""Task families: what is asked about a pair of molecules, which answers there are, and how an answer is read.

A family fixes the roles of the two molecules, the question, the wording of the answers, and the parser that
is their inverse. Prompts and reasoning steps are put together in :mod:`moltc.chain_of_thought`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moltc.chain_of_thought import ChainOfThought, broad_step, interval_step
from moltc.numbers import NUMBER, NumberFormat, find_numbers, normalise_numbers, read_number

RANGE_FACTOR = 5.0


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
    value : the number, or 1.0 for yes and 0.0 for no; None if the answer is invalid.
    interval : the interval (L, U) that the answer names, if any.
    valid : whether a value was read.
    flags : remarks: ``no_cue`` (the value stands outside the usual wording), ``outside_interval`` (the value
        contradicts its own interval), ``empty_interval`` (L >= U, interval ignored); reasons for an invalid
        answer: ``no_value``, ``ambiguous`` (several numbers and no cue), ``out_of_range``, ``no_decision``.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    valid: bool = True
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Family(ABC):
    """A kind of question about a pair of molecules.

    Parameters
    ----------
    name : the family's name in data and configs.
    roles : what the two molecules are, in the fixed order of the prompt; towers are shared by role.
    role_titles : how the prompt calls them.
    symmetric : whether swapping the molecules leaves the label unchanged.
    questions : property -> question; ``{query}`` stands for what a row asks.
    """

    name: str
    roles: tuple[str, str]
    role_titles: tuple[str, str]
    symmetric: bool
    questions: Mapping[str, str]

    kind: ClassVar[Literal["number", "binary"]]
    _answer_start: ClassVar[str]

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

    def reasoning(self, text_a: str, text_b: str) -> str:
        """The broad step about both molecules, one line each."""
        return broad_step(self.role_titles, text_a, text_b)

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

        ``label_range`` bounds the numbers and must be given for them; a yes/no family always has two answers.
        """

    @abstractmethod
    def parse(self, text: str, train_range: tuple[float, float] | None = None) -> ParsedAnswer:
        """Read a written answer, with or without the broad step before it."""

    def _statement(self, text: str) -> str:
        """The text without the lines of the broad step, whose numbers and words are not the answer."""
        titles = "|".join(map(re.escape, self.role_titles))
        return re.sub(rf"^[ \t]*(?:{titles})\s*:.*?(?=$|{self._answer_start})", "", text, flags=re.MULTILINE)


_INTERVAL = re.compile(rf"\bbetween\s+({NUMBER})\s+and\s+({NUMBER})", re.IGNORECASE)
_VALUE_CUE = re.compile(r"\bso it is\b|\bvalue is\b|\banswer\s*:", re.IGNORECASE)


@dataclass(frozen=True, eq=False, kw_only=True)
class NumberFamily(Family):
    """A family whose answers are numbers; ``formats`` gives the printed form of each property."""

    formats: Mapping[str, NumberFormat]

    kind = "number"
    _answer_start = r"The value (?:lies between|is)\b"

    def number_format(self, property: str | None = None) -> NumberFormat:
        """The printed form of a property."""
        return self.formats[self.property_name(property)]

    def answers(self, labels: ArrayLike, cot: ChainOfThought, *, property: str | None = None) -> list[str]:
        form = self.number_format(property)
        return self._from_ticks(form.ticks(labels), form, cot)

    def answer_space(
        self,
        cot: ChainOfThought,
        *,
        property: str | None = None,
        label_range: tuple[float, float] | None = None,
    ) -> AnswerSpace:
        form = self.number_format(property)
        if label_range is None:
            raise ValueError(
                f"family {self.name} answers in numbers: give the label range of the training split"
            )
        ticks = form.whole_bins(*label_range)
        return AnswerSpace(
            texts=self._from_ticks(ticks, form, cot),
            values=form.from_ticks(ticks),
            bins=form.tick_intervals(ticks) if cot.interval else None,
            openings=self._openings(np.unique(form.lower_ticks(ticks)), form, cot),
        )

    def parse(self, text: str, train_range: tuple[float, float] | None = None) -> ParsedAnswer:
        """Read a number: the first one after the last cue ("so it is", "value is", "Answer:").

        Without a cue a single number outside the interval counts. A value is rejected if it is further from
        the middle of ``train_range`` than five times half its width; a range without width rejects nothing.
        """
        statement = normalise_numbers(self._statement(text))
        intervals = list(_INTERVAL.finditer(statement))
        cues = list(_VALUE_CUE.finditer(statement))
        interval, flags = _read_interval(intervals[-1] if intervals else None)
        start = max((match.end() for match in [*intervals[-1:], *cues[-1:]]), default=0)
        numbers = find_numbers(statement[start:])
        if not cues:
            flags = (*flags, "no_cue")
        problem = _number_problem(numbers, bool(cues), train_range)
        if problem:
            return ParsedAnswer(None, interval, False, (*flags, problem))
        value = numbers[0]
        if interval is not None and not interval[0] <= value < interval[1]:
            flags = (*flags, "outside_interval")
        return ParsedAnswer(value, interval, True, flags)

    def _openings(self, lower: NDArray[np.int64], form: NumberFormat, cot: ChainOfThought) -> list[str]:
        if not cot.interval:
            return ["The value is "]
        return [interval_step(*form.bound_texts(bound)) for bound in lower.tolist()]

    def _from_ticks(self, ticks: NDArray[np.int64], form: NumberFormat, cot: ChainOfThought) -> list[str]:
        numbers = form.tick_texts(ticks)
        if not cot.interval:
            return [f"The value is {number}." for number in numbers]
        lower, which = np.unique(form.lower_ticks(ticks), return_inverse=True)
        openings = self._openings(lower, form, cot)
        return [f"{openings[i]}{number}." for i, number in zip(which.tolist(), numbers, strict=True)]


def _read_interval(match: re.Match[str] | None) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    if match is None:
        return None, ()
    lower, upper = read_number(match[1]), read_number(match[2])
    return ((lower, upper), ()) if lower < upper else (None, ("empty_interval",))


def _number_problem(numbers: list[float], cued: bool, train_range: tuple[float, float] | None) -> str | None:
    if not numbers:
        return "no_value"
    if len(numbers) > 1 and not cued:
        return "ambiguous"
    if not np.isfinite(numbers[0]):
        return "out_of_range"
    if train_range is None:
        return None
    low, high = train_range
    far = abs(numbers[0] - (low + high) / 2) > RANGE_FACTOR * (high - low) / 2
    return "out_of_range" if far and low < high else None


_DECISION_CUE = re.compile(r"\b(?:interaction|answer)\s*:", re.IGNORECASE)
# Negations come first: "do not interact" contains "interact". What may be is not decided.
_DECISION = re.compile(
    r"(?P<no>\b(?:no|not|cannot|never|none|neither)\b|n['\u2019]t\b)|(?P<yes>\byes\b|\binteracts?\b)",
    re.IGNORECASE,
)
_HEDGE = re.compile(r"\b(?:whether|if|may|might|could|unclear|unknown|unlikely)\b", re.IGNORECASE)


@dataclass(frozen=True, eq=False, kw_only=True)
class BinaryFamily(Family):
    """A family whose answers are yes (1) and no (0)."""

    kind = "binary"
    _answer_start = r"Interaction\s*:"

    def answers(self, labels: ArrayLike, cot: ChainOfThought, *, property: str | None = None) -> list[str]:
        self.property_name(property)
        array = np.asarray(labels, dtype=np.float64)
        bad = np.flatnonzero((array != 0) & (array != 1))
        if len(bad):
            raise ValueError(
                f"family {self.name} is answered by 0 (no) or 1 (yes), but position {bad[0]} holds "
                f"{array[bad[0]]} ({len(bad)} of {array.size} labels are neither)"
            )
        return [f"Interaction: {'yes' if label else 'no'}" for label in array.tolist()]

    def answer_space(
        self,
        cot: ChainOfThought,
        *,
        property: str | None = None,
        label_range: tuple[float, float] | None = None,
    ) -> AnswerSpace:
        values = np.array([0.0, 1.0])
        texts = self.answers(values, cot, property=property)
        return AnswerSpace(texts, values, None, openings=["Interaction: ", "yes", "no"])

    def parse(self, text: str, train_range: tuple[float, float] | None = None) -> ParsedAnswer:
        """Read the first decision after the last cue ("Interaction:", "Answer:"), or in the whole text."""
        statement = self._statement(text)
        cues = list(_DECISION_CUE.finditer(statement))
        flags = () if cues else ("no_cue",)
        tail = statement[cues[-1].end() :] if cues else statement
        decision = _DECISION.search(tail)
        if decision is None or _HEDGE.search(tail[: decision.start()]):
            return ParsedAnswer(None, None, False, (*flags, "no_decision"))
        return ParsedAnswer(float(decision.lastgroup == "yes"), None, True, flags)


SOLVATION = NumberFamily(
    name="solvation",
    roles=("solute", "solvent"),
    role_titles=("Solute", "Solvent"),
    symmetric=False,
    questions={
        "solvation free energy": (
            "What is the solvation free energy of the solute in the solvent, in kcal/mol?"
        )
    },
    formats={
        "solvation free energy": NumberFormat("solvation free energy", "kcal/mol", 2, Decimal("0.5")),
    },
)

CHROMOPHORE = NumberFamily(
    name="chromophore",
    roles=("chromophore", "solvent"),
    role_titles=("Chromophore", "Solvent"),
    symmetric=False,
    questions={
        "absorption": "At which wavelength, in nm, does the chromophore absorb most in this solvent?",
        "emission": "At which wavelength, in nm, does the chromophore emit most in this solvent?",
        "lifetime": (
            "What is the base-10 logarithm of the excited-state lifetime, in ns, "
            "of the chromophore in this solvent?"
        ),
    },
    formats={
        "absorption": NumberFormat("absorption", "nm", 1, Decimal(10)),
        "emission": NumberFormat("emission", "nm", 1, Decimal(10)),
        "lifetime": NumberFormat("lifetime", "log10(ns)", 3, Decimal("0.25"), log10=True),
    },
)

DDI = BinaryFamily(
    name="ddi",
    roles=("drug", "drug"),
    role_titles=("Drug 1", "Drug 2"),
    symmetric=True,
    questions={"interaction": "Do these two drugs interact?"},
)

SIDE_EFFECT = BinaryFamily(
    name="side-effect",
    roles=("drug", "drug"),
    role_titles=("Drug 1", "Drug 2"),
    symmetric=True,
    questions={"side effect": "Does taking both drugs together cause {query}?"},
)

FAMILIES: dict[str, Family] = {family.name: family for family in (SOLVATION, CHROMOPHORE, DDI, SIDE_EFFECT)}


def get_family(name: str) -> Family:
    """The family of that name; an unknown name is a ValueError that lists the choices."""
    if name not in FAMILIES:
        raise ValueError(f"there is no family {name!r}; choose from {', '.join(FAMILIES)}")
    return FAMILIES[name]
