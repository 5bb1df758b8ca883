"""One task: a family's question about one data set, and what the training labels say about its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from data_prep.records import TypedClass
from moltc.chain_of_thought import ChainOfThought
from moltc.families import AnswerSpace, ClassFamily, Family, NumberFamily, get_family

SCORES = {
    "number": ("rmse", "min"),
    "binary": ("auc", "max"),
    "class": ("accuracy", "max"),
    "text": ("nll", "min"),
}
"""What validation watches, and which way is better, by kind of answer."""
ANSWER_MARGIN = 0.25
"""How far numbers may be written beyond the training labels on each side, as a share of their range."""


@dataclass(frozen=True)
class Task:
    """What a model was trained to answer.

    Attributes
    ----------
    family, property, dataset : names.
    mean, std : standardise the auxiliary head's numbers; of the training labels (0 and 1 for others).
    low, high : smallest and largest training label.
    computed : the labels come from a formula, not from measurements.
    classes : sentences of the classes of a typed family, in order.
    """

    family: str
    property: str
    dataset: str
    mean: float
    std: float
    low: float
    high: float
    computed: bool = False
    classes: tuple[TypedClass, ...] = ()

    @classmethod
    def from_labels(
        cls,
        family: str,
        property: str,
        dataset: str,
        labels: ArrayLike,
        *,
        computed: bool = False,
        classes: Sequence[TypedClass] = (),
    ) -> Task:
        """The task of training labels as they are measured.

        Raises
        ------
        ValueError : there are none, a yes/no task has only one answer, or a label is no class.
        """
        values = np.asarray(labels, dtype=np.float64)
        if not len(values):
            raise ValueError(f"{dataset}: the training split has no pairs; check the split column")
        plain = cls(family, property, dataset, 0.0, 1.0, 0.0, 1.0, computed, tuple(classes))
        kind = plain.kind
        if isinstance(kind, NumberFamily):
            values = kind.number_format(property).from_measured(values)
            return replace(
                plain,
                mean=float(values.mean()),
                std=float(values.std()) or 1.0,
                low=float(values.min()),
                high=float(values.max()),
            )
        found = np.unique(values).tolist()
        if kind.kind == "binary" and found != [0.0, 1.0]:
            raise ValueError(f"{dataset}: a yes/no task needs training labels 0 and 1, found {found}")
        if kind.kind == "class":
            kind.answers(found, ChainOfThought(), property=property)  # refuses what is no class
            return replace(plain, high=float(len(classes) - 1))
        return plain

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Task:
        """The mirror of :meth:`to_dict`."""
        classes = tuple(TypedClass(**entry) for entry in values.get("classes", ()))
        return cls(**{**values, "classes": classes})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @cached_property
    def name(self) -> str:
        """How logs and folders call the task."""
        return f"{self.dataset}.{self.property}".replace(" ", "_").replace("/", "-")

    @cached_property
    def head(self) -> str:
        """Tasks that ask the same of the same roles share an auxiliary head of this name."""
        return f"{self.family}/{self.property}"

    @cached_property
    def kind(self) -> Family:
        """The family object."""
        family = get_family(self.family)
        if isinstance(family, ClassFamily):
            if not self.classes:
                raise ValueError(
                    f"{self.dataset} holds no sentences of its classes: build it again with data-prep"
                )
            return family.with_classes(self.classes)
        return family

    @cached_property
    def is_number(self) -> bool:
        return self.kind.kind == "number"

    @cached_property
    def outputs(self) -> int:
        """Outputs of an auxiliary head: 1, the number of classes, or 0 where there is none: for free texts,
        and for single molecules, since a head reads what two make together."""
        if self.kind.kind == "text" or len(self.kind.roles) == 1:
            return 0
        return len(self.classes) if self.kind.kind == "class" else 1

    @cached_property
    def score(self) -> tuple[str, str]:
        """What validation watches, and whether "min" or "max" of it is best."""
        return SCORES[self.kind.kind]

    @cached_property
    def unit(self) -> str:
        """Unit of the printed numbers; empty where answers are none."""
        kind = self.kind
        return kind.number_format(self.property).unit if isinstance(kind, NumberFamily) else ""

    def printed(self, labels: ArrayLike) -> np.ndarray:
        """Measured labels [n] in the printed unit (log10 for lifetimes), float64, unrounded; NaN stays."""
        kind = self.kind
        values = np.array(labels, dtype=np.float64)
        if isinstance(kind, NumberFamily):
            known = ~np.isnan(values)
            values[known] = kind.number_format(self.property).from_measured(values[known])
        return values

    def answers(
        self, printed: ArrayLike, cot: ChainOfThought, exchanged: np.ndarray | None = None
    ) -> list[str]:
        """Answer texts of labels in the printed unit; ``exchanged`` (bool [n]) marks pairs that are asked in
        the other order, which turns the sentence of a directed class round."""
        kind = self.kind
        if isinstance(kind, ClassFamily):
            return kind.answers(printed, cot, property=self.property, exchanged=exchanged)
        return kind.answers(printed, cot, property=self.property)

    @cached_property
    def answer_range(self) -> tuple[float, float]:
        """Least and greatest number that an answer may name: a margin around the training labels, so that
        other molecules may lie outside them; labels of one sign keep it."""
        margin = ANSWER_MARGIN * (self.high - self.low)
        low, high = self.low - margin, self.high + margin
        return max(low, 0.0) if self.low >= 0 else low, min(high, 0.0) if self.high <= 0 else high

    def answer_space(self, cot: ChainOfThought) -> AnswerSpace:
        """Every admissible answer: numbers in whole bins around :attr:`answer_range`."""
        return self.kind.answer_space(cot, property=self.property, label_range=self.answer_range)


def with_shared_scales(tasks: Sequence[Task], sizes: Sequence[int]) -> tuple[Task, ...]:
    """The tasks with one mean and deviation for all that share a head; ``sizes`` are their training rows."""
    scaled = []
    for task in tasks:
        group = [(t, n) for t, n in zip(tasks, sizes, strict=True) if t.head == task.head]
        weight = np.array([n for _, n in group], dtype=np.float64)
        means = np.array([t.mean for t, _ in group])
        squares = np.array([t.std**2 + t.mean**2 for t, _ in group])
        mean = float(np.average(means, weights=weight))
        spread = float(np.sqrt(max(np.average(squares, weights=weight) - mean**2, 0.0))) or 1.0
        alone = len(group) == 1 or not task.is_number
        scaled.append(task if alone else replace(task, mean=mean, std=spread))
    return tuple(scaled)
