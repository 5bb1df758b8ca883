"""One task: a family's question about one data set, and what the training labels say about its numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from moltc.chain_of_thought import ChainOfThought
from moltc.families import AnswerSpace, Family, NumberFamily, get_family


@dataclass(frozen=True)
class Task:
    """What a model was trained to answer.

    Attributes
    ----------
    family, property, dataset : names.
    mean, std : of the training labels (0 and 1 for yes/no).
    low, high : smallest and largest training label; answers are written within whole bins around them.
    computed : the labels come from a formula, not from measurements.
    """

    family: str
    property: str
    dataset: str
    mean: float
    std: float
    low: float
    high: float
    computed: bool = False

    @classmethod
    def from_labels(
        cls, family: str, property: str, dataset: str, labels: ArrayLike, *, computed: bool = False
    ) -> Task:
        """The task of training labels as they are measured.

        Raises
        ------
        ValueError : there are none, or a yes/no task has only one class.
        """
        values = np.asarray(labels, dtype=np.float64)
        if not len(values):
            raise ValueError(f"{dataset}: the training split has no pairs; check the split column")
        kind = get_family(family)
        if isinstance(kind, NumberFamily):
            values = kind.number_format(property).from_measured(values)
            std = float(values.std()) or 1.0
            return cls(
                family,
                property,
                dataset,
                float(values.mean()),
                std,
                float(values.min()),
                float(values.max()),
                computed,
            )
        classes = np.unique(values).tolist()
        if classes != [0.0, 1.0]:
            raise ValueError(f"{dataset}: a yes/no task needs training labels 0 and 1, found {classes}")
        return cls(family, property, dataset, 0.0, 1.0, 0.0, 1.0, computed)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Task:
        """The mirror of :meth:`to_dict`."""
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @cached_property
    def kind(self) -> Family:
        """The family object."""
        return get_family(self.family)

    @cached_property
    def is_number(self) -> bool:
        return self.kind.kind == "number"

    @cached_property
    def unit(self) -> str:
        """Unit of the printed numbers; empty for yes/no."""
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

    def answers(self, printed: ArrayLike, cot: ChainOfThought) -> list[str]:
        """Answer texts of labels in the printed unit."""
        return self.kind.answers(printed, cot, property=self.property)

    def answer_space(self, cot: ChainOfThought) -> AnswerSpace:
        """Every admissible answer within the range of the training labels."""
        return self.kind.answer_space(cot, property=self.property, label_range=(self.low, self.high))
