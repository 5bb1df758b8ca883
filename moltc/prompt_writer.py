"""How the prompt of a pair is written: from two molecules and a question to a prompt tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from moltc.backbone.prompt import PromptBuilder, PromptLayout, PromptTree, Soft
from moltc.backbone.towers import tower_key
from moltc.chain_of_thought import phrases, prompt_pieces
from moltc.pair_towers import PAIR
from moltc.task import Task

if TYPE_CHECKING:
    from moltc.model import MolTCConfig

PAIR_TITLE = "\nPair: "
PAIR_SLOT = 3


@dataclass(frozen=True)
class PairText:
    """What the prompt of one pair is written from; a and b stand in the family's order."""

    smiles_a: str
    smiles_b: str = ""
    properties_a: str = ""
    properties_b: str = ""
    query: str | None = None

    def swapped(self) -> PairText:
        """The same pair in the other order."""
        return PairText(self.smiles_b, self.smiles_a, self.properties_b, self.properties_a, self.query)


class PromptWriter:
    """Writes prompt trees of one task's pairs; small enough to travel to data workers."""

    def __init__(self, config: MolTCConfig, task: Task, tokenizer: Any) -> None:
        free = task.kind.kind == "text"  # what is said of the molecules is the answer itself
        self.cot = (
            replace(config.cot, properties=False, teacher_force_properties=False) if free else config.cot
        )
        self.config, self.task = config, task
        queries = dict.fromkeys(self.keys, config.towers.num_queries) | {PAIR: config.head.pair_tokens}
        self.builder = PromptBuilder(tokenizer, self.key, queries, placeholder=tokenizer.eos_token_id)

    @property
    def keys(self) -> tuple[str, ...]:
        """Tower keys of the slots, one for each molecule."""
        return tuple(self.key(role, slot) for slot, role in enumerate(self.task.kind.roles, start=1))

    @property
    def pair_tokens(self) -> int:
        """Soft tokens made from the auxiliary head; a task without a head has none."""
        return self.config.head.pair_tokens if self.task.outputs else 0

    def key(self, role: str, slot: int) -> str:
        """Tower that encodes what stands in a slot."""
        return PAIR if role == PAIR else tower_key(self.config.towers.sharing, role, slot, self.task.dataset)

    def reasoning(self, text: PairText) -> str:
        """The property step of a pair; empty when the chain of thought has none."""
        if not self.cot.properties:
            return ""
        return self.task.kind.reasoning(text.properties_a, text.properties_b)

    def pieces(self, text: PairText) -> list[str | Soft]:
        """The prompt of a pair in pieces."""
        given = prompt_pieces(
            self.task.kind,
            text.smiles_a,
            text.smiles_b,
            property=self.task.property,
            query=text.query,
            cot=self.cot,
            reasoning=self.reasoning(text) if self.cot.teacher_force_properties else "",
            style=self.config.prompt,
        )
        pieces = list(given)
        if self.pair_tokens:
            pieces[-1:-1] = [PAIR_TITLE, Soft(PAIR, PAIR_SLOT)]
        return pieces

    def tree(self, text: PairText, a: int, b: int, pair: int, answers: Sequence[str] = ()) -> PromptTree:
        """The tree of one pair.

        ``a`` and ``b`` are rows of the molecule table, ``pair`` the prompt's number in its batch; each
        answer becomes a completion, after the property step where the model writes it.
        """
        fixed = None if text.query else self._same_for_all
        layout = fixed or self.builder.layout(self.pieces(text))
        completions = [self.answer_ids(answer) for answer in answers]
        if completions and self.cot.writes_properties:
            step = self.builder.following(self.reasoning(text))
            completions = [np.concatenate([step, ids]) for ids in completions]
        return layout.tree({1: a, 2: b, PAIR_SLOT: pair}, completions)

    @cached_property
    def _same_for_all(self) -> PromptLayout | None:
        """The prompt that every pair of the task has when nothing of the pair is written in it."""
        question = self.task.kind.question_template(self.task.property)
        if self.config.prompt.smiles or self.cot.teacher_force_properties or "{query}" in question:
            return None
        return self.builder.layout(self.pieces(PairText("")))

    def answer_ids(self, answer: str) -> np.ndarray:
        """Ids of an answer where it stands: after the written property step, or directly after the prompt."""
        if self.cot.writes_properties:
            return np.concatenate([self.builder.ids(answer), [self.builder.tokenizer.eos_token_id]])
        return self.builder.completion(answer)


def fixed_phrases(config: MolTCConfig, task: Task) -> list[str]:
    """The texts that examples of a task repeat, as the tiny tokenizer's single entries.

    Of an answer these are its wording up to the decimal point: an interval fixes the digits before it.
    """
    kind = task.kind
    space = None if kind.kind == "text" else task.answer_space(config.cot)
    found = phrases(kind, space, property=task.property, cot=config.cot, style=config.prompt)
    openings = set() if space is None else set(space.openings)
    starts = set(openings)
    if space is not None and task.is_number:
        starts |= {text[: text.rindex(".", 0, -1) + 1] for text in space.texts if "." in text[:-1]}
    lead = "" if config.cot.writes_properties else " "  # an answer right after the prompt starts with a blank
    fixed = [p for p in found if p not in openings] + [lead + start for start in sorted(starts)]
    return [*fixed, PAIR_TITLE] if config.head.pair_tokens else fixed
