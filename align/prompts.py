"""Examples whose prompts are written by the model itself, soft tokens included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from align.records import PreferenceTable
from moltc.backbone.prompt import PromptTree
from moltc.backbone.saved import PromptModel, Prompts


@dataclass(frozen=True)
class WrittenExamples:
    """Some rows of a table as prompt trees; see :class:`align.collate.Examples`.

    Attributes
    ----------
    rows : int64 [n], ascending.
    trees : of all rows of the table.
    """

    rows: np.ndarray
    trees: Sequence[PromptTree]

    def tree(self, place: int, columns: Sequence[int]) -> PromptTree:
        """Example ``place`` with these of its completions."""
        tree = self.trees[self.rows[place]]
        return tree.with_completions([tree.completions[column] for column in columns])

    def completion(self, place: int, column: int) -> np.ndarray:
        """Ids of one completion, int64."""
        return self.trees[self.rows[place]].completions[column]

    def tokens(self, completions: int | None = None) -> np.ndarray:
        """Tokens that a model reads of each example, int64 ``[n]``, the first ``completions`` of them."""
        trees = [self.trees[row] for row in self.rows]
        return np.array([len(t.prompt_ids) + sum(map(len, t.completions[:completions])) for t in trees])


def read_table(model: PromptModel, table: PreferenceTable) -> Prompts:
    """Let a model write all prompts of a table; prompt n is row n.

    Raises:
        ValueError: a prompt is a dialogue, or the model cannot read it.
    """
    texts = [table.texts(row) for row in range(len(table))]
    if chats := [row for row, (_, is_chat, _) in enumerate(texts) if is_chat]:
        raise ValueError(f"{table.name}: example {chats[0]} is a dialogue, which this model does not read")
    return model.read([prompt for prompt, _, _ in texts], [completions for _, _, completions in texts])


def examples_of(prompts: Prompts, rows: np.ndarray, *, drop_identical: bool) -> WrittenExamples:
    """The examples of some rows, without those whose chosen completion equals a rejected one."""
    trees = prompts.trees
    kept = [row for row in rows.tolist() if not (drop_identical and _identical(trees[row].completions))]
    return WrittenExamples(np.array(kept, dtype=np.int64), trees)


def _identical(completions: Sequence[np.ndarray]) -> bool:
    return any(np.array_equal(completions[0], other) for other in completions[1:])
