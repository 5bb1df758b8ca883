"""Families answered in free text: what one molecule is like, what two molecules are like.

They train the towers before any interaction is asked about: captions of single molecules (MolCA, arXiv
2310.12798, generative alignment) and descriptions of two (MolTC, arXiv 2402.03781, first stage), which teach
the language model to keep two molecules apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from moltc.chain_of_thought import ChainOfThought
from moltc.family import AnswerSpace, Family, ParsedAnswer


@dataclass(frozen=True, eq=False, kw_only=True)
class TextFamily(Family):
    """A family whose answers are texts that the data give."""

    kind = "text"

    def answers(self, labels: ArrayLike, cot: ChainOfThought, *, property: str | None = None) -> list[str]:
        """The given texts [n] as they are; one that is empty or no text is a ValueError that names it."""
        self.property_name(property)
        texts = np.asarray(labels, dtype=object).ravel().tolist()
        for position, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(
                    f"family {self.name} is answered by a text, but position {position} holds {text!r};"
                    " give one or leave the row out"
                )
        return texts

    def answer_space(
        self,
        cot: ChainOfThought,
        *,
        property: str | None = None,
        label_range: tuple[float, float] | None = None,
    ) -> AnswerSpace:
        raise ValueError(
            f"family {self.name} is answered in free text: there is no list of admissible answers; let the "
            "model write"
        )

    def parse(self, text: str, train_range: tuple[float, float] | None = None) -> ParsedAnswer:
        """Any text is an answer, and has no value; only an empty one is invalid."""
        return ParsedAnswer(None) if text.strip() else ParsedAnswer(None, None, False, ("empty",))


CAPTION = TextFamily(
    name="caption",
    roles=("drug",),
    role_titles=("Molecule",),
    symmetric=False,
    questions={"caption": "What is this molecule like?"},
)

DESCRIPTION = TextFamily(
    name="description",
    roles=("drug", "drug"),
    role_titles=("Drug 1", "Drug 2"),
    symmetric=False,
    questions={"description": "What are these two drugs like?"},
)
