"""Exported models of any kind, to be trained on by code that does not know their task.

What a task adds to a language model is how its prompts are written and what its towers read; both come with
the exported model, behind the two protocols of this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from moltc.backbone.checkpoint import CheckpointError, saved_kind
from moltc.backbone.packing import PackedTrees
from moltc.backbone.prompt import PromptTree
from moltc.backbone.soft_prompt_lm import KIND, SoftPromptLM

READERS = {
    KIND: ("moltc.backbone.soft_prompt_lm", "SoftPromptLM"),
    "moltc-pairs": ("moltc.preferences", "PairAnswerer"),
}
"""Kind of an exported model -> module and class that read it; imported when such a model is met."""


class Prompts(Protocol):
    """Prompts that a model has read from text, by their number.

    Attributes
    ----------
    trees : one for each prompt, with its completions.
    """

    @property
    def trees(self) -> Sequence[PromptTree]: ...

    def inputs(self, numbers: np.ndarray, packed: PackedTrees) -> Any:
        """What the towers read for some prompts, int64 ``[B]``, all different, whose trees were packed; it
        has ``to(device)``."""
        ...


class PromptModel(Protocol):
    """An exported model whose prompts are not plain text."""

    @property
    def lm(self) -> SoftPromptLM:
        """Language model and towers."""
        ...

    def read(self, prompts: Sequence[str], completions: Sequence[Sequence[str]]) -> Prompts:
        """Write prompts as the model's task does.

        Raises
        ------
        ValueError : one cannot be read; the message names its number and what is wrong.
        """
        ...

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the model as its own kind."""
        ...


def load_prompt_model(folder: str | Path) -> PromptModel | None:
    """An exported model whose prompts are not plain text, whole; None for a plain text model.

    Raises
    ------
    CheckpointError : there is no exported model, or it is of a kind that is not known here.
    """
    kind = saved_kind(folder)
    if kind not in READERS:
        what = "no exported model" if kind is None else f"a {kind} model, which cannot be trained on"
        raise CheckpointError(f"{folder} holds {what}; known are {', '.join(READERS)}")
    if kind == KIND:
        return None
    module, name = READERS[kind]
    return cast(PromptModel, getattr(import_module(module), name).from_pretrained(folder))
