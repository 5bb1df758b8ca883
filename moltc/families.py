"""Task families: what is asked about molecules, which answers there are, and how an answer is read.

Here are the families answered by numbers and by yes or no, and the table of all families; those answered by
one of several sentences are in :mod:`moltc.typed`, those answered in free text in :mod:`moltc.free_text`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moltc.chain_of_thought import ChainOfThought, interval_step
from moltc.family import AnswerSpace as AnswerSpace
from moltc.family import Family as Family
from moltc.family import ParsedAnswer as ParsedAnswer
from moltc.free_text import CAPTION, DESCRIPTION
from moltc.free_text import TextFamily as TextFamily
from moltc.numbers import NUMBER, NumberFormat, find_numbers, normalise_numbers, read_number
from moltc.typed import TYPED_DDI
from moltc.typed import ClassFamily as ClassFamily

RANGE_FACTOR = 5.0

_INTERVAL = re.compile(rf"\bbetween\s+({NUMBER})\s+and\s+({NUMBER})", re.IGNORECASE)
_ANSWER_START = r"The value (?:lies between|is)\b"
_VALUE_CUE = re.compile(r"\bso it is\b|\bvalue is\b|\banswer\s*:", re.IGNORECASE)


@dataclass(frozen=True, eq=False, kw_only=True)
class NumberFamily(Family):
    """A family whose answers are numbers; ``formats`` gives the printed form of each property."""

    formats: Mapping[str, NumberFormat]

    kind = "number"

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
        statement = normalise_numbers(self._statement(text, _ANSWER_START))
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


# Negations come first: "do not interact" contains "interact". What may be is not decided.
_NO = r"\b(?:no|not|cannot|never|none|neither)\b|n['\u2019]t\b"
_HEDGE = re.compile(r"\b(?:whether|if|may|might|could|unclear|unknown|unlikely)\b", re.IGNORECASE)


@dataclass(frozen=True, eq=False, kw_only=True)
class BinaryFamily(Family):
    """A family whose answers are yes (1) and no (0): ``OPENING: yes``.

    Parameters
    ----------
    opening : the word before the decision.
    affirming : regular expression of what says yes beside the word itself.
    """

    opening: str
    affirming: str

    kind = "binary"

    @cached_property
    def _cue(self) -> re.Pattern[str]:
        return re.compile(rf"\b(?:{self.opening}|answer)\s*:", re.IGNORECASE)

    @cached_property
    def _decision(self) -> re.Pattern[str]:
        return re.compile(rf"(?P<no>{_NO})|(?P<yes>\b(?:yes|{self.affirming})\b)", re.IGNORECASE)

    def answers(self, labels: ArrayLike, cot: ChainOfThought, *, property: str | None = None) -> list[str]:
        self.property_name(property)
        array = np.asarray(labels, dtype=np.float64)
        bad = np.flatnonzero((array != 0) & (array != 1))
        if len(bad):
            raise ValueError(
                f"family {self.name} is answered by 0 (no) or 1 (yes), but position {bad[0]} holds "
                f"{array[bad[0]]} ({len(bad)} of {array.size} labels are neither)"
            )
        return [f"{self.opening}: {'yes' if label else 'no'}" for label in array.tolist()]

    def answer_space(
        self,
        cot: ChainOfThought,
        *,
        property: str | None = None,
        label_range: tuple[float, float] | None = None,
    ) -> AnswerSpace:
        values = np.array([0.0, 1.0])
        texts = self.answers(values, cot, property=property)
        return AnswerSpace(texts, values, None, openings=[f"{self.opening}: ", "yes", "no"])

    def parse(self, text: str, train_range: tuple[float, float] | None = None) -> ParsedAnswer:
        """Read the first decision after the last cue (the opening, or "Answer:"), or in the whole text."""
        statement = self._statement(text, rf"{self.opening}\s*:")
        cues = list(self._cue.finditer(statement))
        flags = () if cues else ("no_cue",)
        tail = statement[cues[-1].end() :] if cues else statement
        decision = self._decision.search(tail)
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

MOLECULE_PROPERTY = NumberFamily(
    name="molecule-property",
    roles=("drug",),
    role_titles=("Molecule",),
    symmetric=False,
    questions={
        "log solubility": (
            "What is the base-10 logarithm of the solubility of this molecule in water, in mol/L?"
        ),
        "lipophilicity": (
            "What is log D of this molecule, the base-10 logarithm of its octanol-water distribution "
            "coefficient at pH 7.4?"
        ),
    },
    formats={
        "log solubility": NumberFormat("log solubility", "log10(mol/L)", 2, Decimal("0.5")),
        "lipophilicity": NumberFormat("lipophilicity", "log D", 2, Decimal("0.5")),
    },
)

DDI = BinaryFamily(
    name="ddi",
    roles=("drug", "drug"),
    role_titles=("Drug 1", "Drug 2"),
    symmetric=True,
    questions={"interaction": "Do these two drugs interact?"},
    opening="Interaction",
    affirming="interacts?",
)

SIDE_EFFECT = BinaryFamily(
    name="side-effect",
    roles=("drug", "drug"),
    role_titles=("Drug 1", "Drug 2"),
    symmetric=True,
    questions={"side effect": "Does taking both drugs together cause {query}?"},
    opening="Interaction",
    affirming="interacts?",
)

MOLECULE_CLASS = BinaryFamily(
    name="molecule-class",
    roles=("drug",),
    role_titles=("Molecule",),
    symmetric=False,
    questions={"blood-brain barrier": "Does the molecule pass the blood-brain barrier?"},
    opening="Verdict",
    affirming="pass(?:es)?|cross(?:es)?",
)

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        SOLVATION,
        CHROMOPHORE,
        MOLECULE_PROPERTY,
        DDI,
        TYPED_DDI,
        SIDE_EFFECT,
        MOLECULE_CLASS,
        CAPTION,
        DESCRIPTION,
    )
}


def get_family(name: str) -> Family:
    """The family of that name; an unknown name is a ValueError that lists the choices.

    Of a class family this is the question alone: its classes come from a data set, see
    :meth:`moltc.typed.ClassFamily.with_classes`.
    """
    if name not in FAMILIES:
        raise ValueError(f"there is no family {name!r}; choose from {', '.join(FAMILIES)}")
    return FAMILIES[name]
