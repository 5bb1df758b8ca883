"""A batch of questions on its way to the language model, and which windows and items they are about.

Letters: B questions, M windows, N items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from graphrec.histories import Histories, Integers
from graphrec.recinterpreter.examples import TaskRows
from graphrec.recinterpreter.prompts import ITEM, SEQUENCE
from moltc.backbone.packing import PackedTrees
from moltc.backbone.prompt import PromptTree

Ask = Callable[[str, Sequence[int], Sequence[int], int], PromptTree]
"""Task, entities, window and wording to a question with its answer."""


@dataclass(frozen=True)
class InterpreterBatch:
    """B questions with their answers.

    Attributes:
        packed: the prompts.
        windows: histories of their soft tokens, in the order of the prompts' entities, M rows.
        items: likewise, ``[N]``.
    """

    packed: PackedTrees
    windows: Histories
    items: Integers

    def to(self, device: torch.device) -> InterpreterBatch:
        """The same on a device."""
        return InterpreterBatch(self.packed.to(device), self.windows, self.items)


def question_batch(
    rows: TaskRows,
    tasks: Sequence[str],
    ask: Ask,
    pack: Callable[[Sequence[PromptTree]], PackedTrees],
) -> InterpreterBatch:
    """Ask each row's task; window b is the one of row b, and B + b the one before its last item."""
    count = len(rows)
    entities = {"recovery": lambda b: (b,), "residual": lambda b: (count + b, b), "item": lambda b: (b,)}
    names = [tasks[task] for task in rows.tasks.tolist()]
    trees = [
        ask(name, entities[name](b), window, rows.wording)
        for b, (name, window) in enumerate(zip(names, rows.windows.lists(), strict=True))
    ]
    packed = pack(trees)
    windows = _joined(rows.windows, rows.before).select(_entities(packed, SEQUENCE))
    return InterpreterBatch(packed, windows, rows.last_items[_entities(packed, ITEM)])


def _entities(packed: PackedTrees, role: str) -> Integers:
    """Entities of a role, in the order of the soft tokens."""
    return np.array(packed.entities.get(role, []), dtype=np.int64)


def _joined(one: Histories, other: Histories) -> Histories:
    """Rows of both, one after the other."""
    items = np.concatenate([one.items, other.items])
    return Histories.from_lengths(items, np.concatenate([one.lengths, other.lengths]))
