"""What the language model is asked about a user's digest, and what it should answer.

Same tasks as in RecInterpreter (arXiv 2310.20487), in our words: *recovery* lists the items of one digest,
*residual* names what was added between two, and *item* names the one item that a vector stands for, which
reads DreamRec's oracle items. One wording is drawn for each training batch; evaluation uses the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from graphrec.llara.templates import DOMAINS
from moltc.backbone.prompt import Piece, Soft

Task = Literal["recovery", "residual", "item"]
TASKS: tuple[str, ...] = get_args(Task)

SEQUENCE = "sequence"
"""Role of soft tokens that stand for a history."""
ITEM = "item"
"""Role of soft tokens that stand for one item's vector."""

MARK = "*"
"""Where a soft token stands in a wording."""
WORDINGS: dict[str, tuple[str, ...]] = {
    "recovery": (
        "A digest of one user's {many}: * Write out the {many}, oldest first.",
        "This stands for what a user has {met}: * List those {many} in their order.",
        "Digest of a history: * Which {many} went into it, first to last?",
    ),
    "residual": (
        "A user's digest: * The same user one {one} later: * Which {one} came in between?",
        "Earlier digest: * Later digest: * Name the one {one} that makes the difference.",
        "* became * when the user had {met} one more {one}. Give its title.",
    ),
    "item": (
        "A digest of one {one}: * Give its title.",
        "This stands for a single {one}: * What is it called?",
        "* is one of the {many}. Name it.",
    ),
}
_STREAM = 0x1D7E6
"""Keeps these draws apart from others of the same seed and step."""


def all_texts(domain: str) -> list[str]:
    """Every text around soft tokens and titles, for the vocabulary of a tokenizer."""
    words = DOMAINS[domain]._asdict()
    texts = [text.format(**words) for wordings in WORDINGS.values() for text in wordings]
    return [part for text in texts for part in text.split(MARK)] + [listing([], domain), " , "]


def pieces(task: str, wording: int = 0, domain: str = "items") -> list[Piece]:
    """A prompt as pieces; soft tokens take slots 1, 2, ... in the order of the text.

    Raises:
        ValueError: task, wording or domain are not known.
    """
    if task not in WORDINGS:
        raise ValueError(f"task={task!r} is not known; choose from {', '.join(WORDINGS)}")
    if not 0 <= wording < len(WORDINGS[task]):
        raise ValueError(f"wording={wording} is not known; give 0 to {len(WORDINGS[task]) - 1}")
    if domain not in DOMAINS:
        raise ValueError(f"domain={domain!r} is not known; choose from {', '.join(DOMAINS)}")
    role = ITEM if task == "item" else SEQUENCE
    texts = WORDINGS[task][wording].format(**DOMAINS[domain]._asdict()).split(MARK)
    found: list[Piece] = []
    for slot, text in enumerate(texts):
        found += [Soft(role, slot), text] if slot else [text]
    return [piece for piece in found if piece]


def num_wordings() -> int:
    """How many wordings each task has."""
    return min(len(wordings) for wordings in WORDINGS.values())


def drawn_wording(seed: int, epoch: int, batch: int) -> int:
    """The wording of a training batch, drawn by its place in the run alone."""
    return int(np.random.default_rng([_STREAM, seed, epoch, batch]).integers(num_wordings()))


def listing(titles: Sequence[str], domain: str = "items", separator: str = ", ") -> str:
    """The answer to a recovery prompt."""
    return f"The user has {DOMAINS[domain].met} {separator.join(titles)} so far."


def listed(text: str, domain: str = "items") -> str:
    """What an answer lists: its first line without the words around the list."""
    line = text.strip().split("\n", 1)[0].strip()
    return line.removeprefix(f"The user has {DOMAINS[domain].met}").removesuffix("so far.").strip()


def named(text: str) -> str:
    """The title that answers any other prompt."""
    return text.strip().split("\n", 1)[0].strip()
