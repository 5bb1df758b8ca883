"""Items as pieces of a prompt: a title and one soft token, in the forms that LLaRA compares.

LLaRA (Liao et al., SIGIR 2024, arXiv 2312.02445, section 3.2). The text-only form keeps a placeholder where
the hybrid form has its soft token, so that both prompts have the same number of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from graphrec.language.config import ItemForm as ItemForm
from moltc.backbone.prompt import Piece, Soft

FORMS: tuple[str, ...] = get_args(ItemForm)

ITEM = "item"
"""Role of a soft token that is projected from the item's vector."""
PLACEHOLDER = "placeholder"
"""Role of a soft token that is the same for every item."""


def item_pieces(titles: Sequence[str], form: ItemForm, *, first_slot: int = 1) -> list[Piece]:
    """Items joined by commas, as pieces of a prompt; item n takes the slot ``first_slot + n``.

    Args:
        titles: in the order shown.
        form: "hybrid": title, blank, soft token; "text": title, blank, placeholder; "token": the soft token
            alone.
        first_slot: of the prompt's numbering of soft tokens.

    Raises:
        ValueError: ``form`` is not known, or an item has no title.
    """
    if form not in FORMS:
        raise ValueError(f"form={form!r} is not known; choose from {', '.join(FORMS)}")
    role = PLACEHOLDER if form == "text" else ITEM
    pieces: list[Piece] = []
    for place, title in enumerate(titles):
        if form != "token" and not title.strip():
            raise ValueError(f"item {place} has no title to show; use form 'token', or leave the item out")
        between = ", " if place else ""
        pieces.append(between if form == "token" else f"{between}{title} ")
        pieces.append(Soft(role, first_slot + place))
    return [piece for piece in pieces if piece]
