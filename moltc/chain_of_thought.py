"""The words around an answer: the prompt of one molecule or a pair, and the reasoning before the answer.

MolTC (arXiv 2402.03781) reasons on two levels. Broad: first say what each molecule is like, then how they
interact. Fine: first say in which interval a number lies, then the number. Both are switched by
:class:`ChainOfThought`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltc.backbone.prompt import Piece, Soft

if TYPE_CHECKING:
    from moltc.family import AnswerSpace, Family

ANSWER_CUE = "Answer:"


@dataclass(frozen=True)
class ChainOfThought:
    """Which steps stand before an answer.

    Parameters
    ----------
    properties : broad step: a sentence about each molecule comes before the answer, written by the model.
    interval : fine step: the interval comes before the number. Other answers have no interval.
    teacher_force_properties : the sentences of the broad step are given in the prompt instead of written.
    """

    properties: bool = False
    interval: bool = True
    teacher_force_properties: bool = False

    def __post_init__(self) -> None:
        if self.teacher_force_properties and not self.properties:
            raise ValueError(
                "teacher_force_properties needs properties: true; no property text is made otherwise"
            )

    @property
    def writes_properties(self) -> bool:
        """Whether the model itself writes the broad step."""
        return self.properties and not self.teacher_force_properties


@dataclass(frozen=True)
class PromptStyle:
    """How a molecule is shown in the prompt.

    Parameters
    ----------
    smiles : write the SMILES before the soft tokens; false gives the graph-only prompt.
    smiles_markers : text before and after a SMILES (the default is Galactica's).
    max_smiles_length : a longer SMILES leaves its block empty, so that text and graph never disagree by
        truncation; the soft tokens then carry the molecule alone.
    """

    smiles: bool = True
    smiles_markers: tuple[str, str] = ("[START_I_SMILES]", "[END_I_SMILES]")
    max_smiles_length: int = 512

    def __post_init__(self) -> None:
        if self.max_smiles_length < 1:
            raise ValueError(
                f"max_smiles_length must be at least 1, got {self.max_smiles_length}; "
                "use smiles: false for a prompt without SMILES"
            )

    def blanks(self, smiles: str) -> bool:
        """Whether the block of this SMILES is left empty for its length."""
        return self.smiles and len(smiles) > self.max_smiles_length


def broad_step(titles: Sequence[str], texts: Sequence[str | None]) -> str:
    """The broad step: one line about each molecule. Line breaks inside a text become blanks.

    Raises
    ------
    ValueError : if a text is missing or empty.
    """
    lines = []
    for title, text in zip(titles, texts, strict=True):
        words = (text or "").split()
        if not words:
            raise ValueError(f"the property text of {title} is empty; supply one or switch the step off")
        lines.append(f"{title}: {' '.join(words)}\n")
    return "".join(lines)


def interval_step(lower: str, upper: str) -> str:
    """The fine step: the interval that the number after it lies in."""
    return f"The value lies between {lower} and {upper}, so it is "


def prompt_pieces(
    family: Family,
    smiles_a: str | None,
    smiles_b: str | None = None,
    *,
    property: str | None = None,
    query: str | None = None,
    cot: ChainOfThought = ChainOfThought(),
    reasoning: str = "",
    style: PromptStyle = PromptStyle(),
) -> tuple[Piece, ...]:
    """The prompt in pieces: the molecules in the family's fixed order, the question, and the answer cue.

    Parameters
    ----------
    family : says titles, roles and question.
    smiles_a, smiles_b : the molecules of slot 1 and 2; not read by the graph-only style. A family that asks
        about one molecule takes the first alone.
    property, query : see :meth:`moltc.family.Family.question`.
    cot, reasoning : the broad step stands before the answer cue when it is teacher-forced.
    style : how molecules are shown.

    Raises
    ------
    ValueError : if a SMILES or the reasoning is needed and missing, or a second molecule is not asked about.
    """
    pieces: list[Piece] = []
    molecules = family.in_slots(smiles_a, smiles_b)
    for slot, (role, title, smiles) in enumerate(
        zip(family.roles, family.role_titles, molecules, strict=True), start=1
    ):
        shown = ""
        if style.smiles:
            if not smiles:
                raise ValueError(
                    f"{title} has no SMILES ({smiles!r}); give one, or set smiles: false for graphs only"
                )
            shown = ("" if style.blanks(smiles) else smiles).join(style.smiles_markers)
        pieces += [f"{_title_text(title, slot)}{shown}", Soft(role, slot)]
    given = _needed(reasoning) if cot.teacher_force_properties else ""
    pieces.append(f"{_question_text(family.question(property, query))}{given}{ANSWER_CUE} ")
    return tuple(pieces)


def phrases(
    family: Family,
    space: AnswerSpace | None,
    *,
    property: str | None = None,
    cot: ChainOfThought = ChainOfThought(),
    style: PromptStyle = PromptStyle(),
) -> list[str]:
    """The fixed texts of a family's prompts and answers, without repeats; ``space`` is None for free text.

    A tokenizer made for this task may give each of them one vocabulary entry: the texts stay the same for
    every language model and are only shorter in tokens for that one.
    """
    question = _question_text(family.question_template(property))
    if cot.teacher_force_properties:
        tail = [*question.split("{query}"), ANSWER_CUE]
    else:
        tail = f"{question}{ANSWER_CUE}".split("{query}")
    titles = [_title_text(title, slot) for slot, title in enumerate(family.role_titles, start=1)]
    markers = style.smiles_markers if style.smiles else ()
    openings = space.openings if space else ()
    return list(dict.fromkeys([*titles, *markers, *tail, *openings]))


def _title_text(title: str, slot: int) -> str:
    return f"{title}: " if slot == 1 else f"\n{title}: "


def _question_text(question: str) -> str:
    return f"\nQuestion: {question}\n"


def _needed(reasoning: str) -> str:
    if not reasoning:
        raise ValueError("this chain of thought has a properties step, but the pair has no property text")
    return reasoning
