"""Histories whose items never come again: a fact of many logs that a model may use.

Where nothing is filtered from the ranking, a model has to tell by itself that what was met is not met again.
Counts and networks of small width tell it badly: similar items are those of the history themselves.
"""

from __future__ import annotations

import numpy as np

from graphrec.catalogue import Catalogue
from graphrec.histories import Histories
from graphrec.recommender import Floats


def seen_behind(scores: Floats, histories: Histories) -> Floats:
    """Scores with the items of each history behind all others, in the order that they had; ``[B, I]``."""
    reach = scores.max(axis=1) - scores.min(axis=1) + 1
    scores[histories.rows, histories.items] -= reach[histories.rows]  # an item that repeats is moved once
    return scores


def check_no_repeats(fitted: Histories, catalogue: Catalogue) -> None:
    """Refuse ``seen_last`` where the fitted part says otherwise.

    Raises:
        ValueError: a sequence holds an item twice; the message names it.
    """
    again = np.ones(len(fitted.items), dtype=bool)
    again[fitted.latest_of_each()] = False
    if again.any():
        place = int(np.flatnonzero(again)[0])
        raise ValueError(
            f"seen_last: sequence {fitted.rows[place]} of the fitted part holds item "
            f"{catalogue.item_ids[fitted.items[place]]!r} more than once, and {int(again.sum())} "
            "interactions in all are met again: leave seen_last out"
        )
