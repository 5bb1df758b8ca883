"""The titles of a catalogue as token ids, made once and then cut and joined as arrays.

Letters: I items, N tokens of all titles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphrec.catalogue import Catalogue
from graphrec.histories import Histories
from moltc.backbone.prompt import PromptBuilder


def all_titles(catalogue: Catalogue) -> list[str]:
    """The title of every item.

    Raises:
        ValueError: an item has none; the message names the first and counts them.
    """
    titles = [catalogue.title(number) for number in range(len(catalogue))]
    known = [title for title in titles if title is not None and title.strip()]
    if len(known) < len(titles):
        first = next(n for n, title in enumerate(titles) if title is None or not title.strip())
        raise ValueError(
            f"item {catalogue.item_ids[first]!r} has no title, and so have {len(titles) - len(known) - 1} "
            "others: a language model names items by their titles; add titles to the data, or leave these "
            "items out"
        )
    return known


def title_tokens(titles: Sequence[str], builder: PromptBuilder, end: np.ndarray) -> Histories:
    """Token ids of each title with the mark that ends it, one row for each, N ids in all."""
    return Histories.from_lists([np.concatenate([builder.following(title), end]) for title in titles])


def end_mark(builder: PromptBuilder, kind: str) -> np.ndarray:
    """Ids of what ends a title, int64 ``[1]``: the end token or a line break.

    Raises:
        ValueError: the tokenizer has no token for a line break.
    """
    if kind == "end":
        return np.array([builder.tokenizer.eos_token_id], dtype=np.int64)
    ids = builder.ids("\n")[-1:]
    if not len(ids) or builder.tokenizer.decode(ids) != "\n":
        raise ValueError("this tokenizer has no token for a line break; give end_mark 'end'")
    return ids
