"""A MolTC model as preference training sees it: a prompt is a pair of molecules, completions are answers.

The text of a prompt is a JSON object with ``a`` and ``b`` (SMILES; ``b`` is left out where the task is about
one molecule), ``task`` for a model of several, and ``query`` where the question leaves something open.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from data_prep.molecules import featurise
from moltc.backbone.packing import PackedTrees
from moltc.backbone.prompt import PromptTree
from moltc.backbone.soft_prompt_lm import SoftPromptLM
from moltc.collate import pair_inputs
from moltc.model import MolTC
from moltc.pair_table import Asked, PairTable
from moltc.pair_towers import PAIR, PairInputs
from moltc.prompt_writer import PromptWriter


@dataclass(frozen=True)
class PairPrompts:
    """Pairs that were read, their prompts and answers.

    Attributes
    ----------
    table : the pairs; without labels.
    writers : how the prompts of each task are written.
    trees : one for each pair, its completions the answers.
    """

    table: PairTable
    writers: Sequence[PromptWriter]
    trees: Sequence[PromptTree]

    def inputs(self, numbers: np.ndarray, packed: PackedTrees) -> PairInputs:
        """Tower inputs of some pairs, int64 ``[B]``, whose trees were packed."""
        places = {number: place for place, number in enumerate(numbers.tolist())}
        entities = dict(packed.entities)
        if PAIR in entities:  # the prompts name their pair by its number here, the towers by place
            entities[PAIR] = [places[number] for number in entities[PAIR]]
        table = self.table
        a, b, tasks = table.mol_a[numbers], table.mol_b[numbers], table.task[numbers]
        shifts = np.zeros(len(numbers), dtype=np.float32)
        return pair_inputs(entities, self.writers, tasks, a, b, table.molecules, shifts)


class PairAnswerer:
    """An exported MolTC model whose answers are to be preferred over others.

    Its calibration does not outlive such training and is dropped.
    """

    def __init__(self, model: MolTC) -> None:
        self.model = model
        model.calibration = {}

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load an exported model; an incomplete or altered folder is refused."""
        return cls(MolTC.from_pretrained(folder))

    @property
    def lm(self) -> SoftPromptLM:
        return self.model.lm

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the model for :class:`moltc.PairPredictor`."""
        self.model.save_pretrained(folder)

    def read(self, prompts: Sequence[str], completions: Sequence[Sequence[str]]) -> PairPrompts:
        """Read pairs, and write their prompts with these answers.

        Raises
        ------
        ValueError : a prompt is no such object, or a molecule cannot be read; the prompt's number, the value
            and the reason are named.
        """
        asked = [self._parse(number, text) for number, text in enumerate(prompts)]
        table = self._table(asked)
        writers = self.model.writers
        trees = [
            writers[int(task)].tree(table.text(row), int(a), int(b), row, [text.strip() for text in answers])
            for row, (task, a, b, answers) in enumerate(
                zip(table.task, table.mol_a, table.mol_b, completions, strict=True)
            )
        ]
        return PairPrompts(table, writers, trees)

    def _parse(self, number: int, text: str) -> dict[str, Any]:
        """The object in a prompt, checked against its task; ``task`` becomes its number."""
        try:
            asked = json.loads(text)
        except json.JSONDecodeError:
            asked = None
        if not isinstance(asked, dict) or not isinstance(asked.get("a"), str):
            raise ValueError(
                f"prompt {number} is {text[:80]!r}: a molecular model is asked by a JSON object such as "
                '{"a": "CCO", "b": "O"}'
            )
        try:
            task = self.model.task_number(asked.get("task"))
        except ValueError as error:
            raise ValueError(f"prompt {number}: {error}") from error
        writer = self.model.writers[task]
        asks = "{query}" in writer.task.kind.question_template(writer.task.property)
        wanted = {"a"} | ({"b"} if len(writer.keys) > 1 else set()) | ({"query"} if asks else set())
        if set(asked) - {"task"} != wanted:
            raise ValueError(
                f"prompt {number} has {sorted(asked)}; {writer.task.name} is asked by {sorted(wanted)}"
            )
        return asked | {"task": task}

    def _table(self, asked: Sequence[dict[str, Any]]) -> PairTable:
        """The pairs as a table; each distinct molecule is read once."""
        smiles = [(one["a"], one.get("b")) for one in asked]
        flat = [text for pair in smiles for text in pair if text is not None]
        read = featurise(flat, workers=1, progress=False)
        if read.rejects:
            first = read.rejects[0]
            owner = [n for n, pair in enumerate(smiles) for text in pair if text is not None][first.row]
            raise ValueError(
                f"prompt {owner}: the molecule {flat[first.row]!r} cannot be read: {first.reason}"
            )
        rows = iter(read.row_of.tolist())
        members = np.array(
            [[-1 if text is None else next(rows) for text in pair] for pair in smiles], dtype=np.int32
        )
        queries = [one.get("query") for one in asked]
        return PairTable(
            molecules=read.table,
            mol_a=members[:, 0],
            mol_b=members[:, 1],
            label=np.full(len(asked), np.nan),
            split=np.full(len(asked), "none"),
            pair_id=np.arange(len(asked)).astype(str),
            asked=tuple(Asked(t.family, t.property, t.dataset, t.classes) for t in self.model.tasks),
            task=np.array([one["task"] for one in asked], dtype=np.int16),
            query=np.array(queries, dtype=object) if any(q is not None for q in queries) else None,
        )
