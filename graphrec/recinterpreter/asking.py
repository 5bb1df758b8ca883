"""Questions about entities as prompt trees; each wording is tokenised once.

Letters: B questions, S entities of a question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrec.language.tokenizer import KnownText
from graphrec.recinterpreter.prompts import pieces
from moltc.backbone.prompt import PromptLayout, PromptTree


class Asker:
    """Writes prompts for one tokenizer.

    Args:
        tokenizer: of the language model.
        soft_run: soft tokens of an entity, marks included.
        domain: what items are called.
    """

    def __init__(self, tokenizer: Any, soft_run: int, domain: str) -> None:
        self.builder = KnownText(tokenizer, lambda role, slot: role, soft_run)
        self.domain = domain
        self._layouts: dict[tuple[str, int], PromptLayout] = {}

    def layout(self, task: str, wording: int = 0) -> PromptLayout:
        """A prompt about no entity yet."""
        key = (task, wording)
        if key not in self._layouts:
            self._layouts[key] = self.builder.layout(pieces(task, wording, self.domain))
        return self._layouts[key]

    def tree(
        self,
        task: str,
        entities: Sequence[int],
        completions: Sequence[str] = (),
        *,
        wording: int = 0,
        limit: int | None = None,
    ) -> PromptTree:
        """A question about entities, rows of the evidence, and its answers.

        Args:
            limit: most tokens of an answer; a longer one is cut and has no end token.
        """
        ids = [self.builder.completion(text)[:limit] for text in completions]
        return self.layout(task, wording).tree(dict(enumerate(entities, 1)), ids)

    def trees(self, task: str, entities: np.ndarray) -> list[PromptTree]:
        """Questions without answers, about entities ``[B, S]``, in the first wording."""
        return [self.tree(task, row) for row in entities.tolist()]
