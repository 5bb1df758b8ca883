"""What must be known beside a figure of candidate lists: what rules reach, and what the list alone tells.

Letters: B rows, D draws of candidates, C candidates of a draw.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graphrec.data import Rows
from graphrec.evaluation import target_ranks
from graphrec.histories import Histories, Integers
from graphrec.recommender import Recommender

Column = NDArray[np.float64]


def shown_candidates(rows: Rows, draw: int | None = None) -> Integers:
    """The candidate lists of rows, ``[B, D, C]``; of one draw ``[B, 1, C]``.

    Raises:
        ValueError: the rows have none, or not this draw.
    """
    if rows.candidates is None:
        raise ValueError("these rows have no candidate lists: use data whose protocol has them")
    draws = rows.candidates.shape[1]
    if draw is None:
        return rows.candidates
    if not 0 <= draw < draws:
        raise ValueError(f"draw {draw} is none of the {draws} draws of these rows, 0 to {draws - 1}")
    return rows.candidates[:, draw : draw + 1]


def position_rules(rows: Rows, draw: int | None = None) -> dict[str, Column]:
    """HitRatio@1 of answering what is shown first, or last, whatever it is, ``[B]`` each; mean over draws."""
    hits = shown_candidates(rows, draw) == rows.targets[:, None, None]
    return {
        "always the first": hits[:, :, 0].mean(axis=1),
        "always the last": hits[:, :, -1].mean(axis=1),
    }


def list_hits(model: Recommender, histories: Histories, candidates: Integers, targets: Integers) -> Column:
    """HitRatio@1 within the lists of each row, ``[B]``, mean over draws; a tied target is a miss."""
    scores = model.draw_scores(histories, candidates)
    return _hits(scores, candidates, targets).mean(axis=1)


def _hits(scores: NDArray[np.floating], candidates: Integers, targets: Integers) -> Column:
    """``[B, D]``."""
    place = (candidates == targets[:, None, None]).argmax(axis=2).ravel()
    ranks = target_ranks(scores.reshape(-1, scores.shape[2]), place)
    return (ranks == 1).reshape(scores.shape[:2]).astype(np.float64)


def leakage_probe(model: Recommender, rows: Rows, draw: int | None = None) -> dict[str, Column]:
    """HitRatio@1 of the model if it is told nothing of the history, and of chance, ``[B]`` each.

    What the model reaches without a history is told by the candidates themselves, such as their popularity
    or their place in the list.
    """
    candidates = shown_candidates(rows, draw)
    nothing = Histories.from_lengths(np.empty(0, dtype=np.int64), np.zeros(len(rows), dtype=np.int64))
    return {
        "without history": list_hits(model, nothing, candidates, rows.targets),
        "chance": np.full(len(rows), 1 / candidates.shape[2]),
    }


def order_controls(
    model: Recommender, rows: Rows, *, draw: int = 0, permutations: int = 3, seed: int = 0
) -> dict[str, Column]:
    """How far answers hang on the order in which candidates are shown, ``[B]`` each.

    Args:
        draw: whose lists are shown in other orders.
        permutations: drawn orders.
        seed: of these.

    Returns:
        HitRatio@1 of lists in drawn orders ("permuted"), with the target first or last, and the share of
        drawn orders under which the answer stays ("answer kept").
    """
    shown = shown_candidates(rows, draw)[:, 0]  # [B, C]
    targets = rows.targets
    first = _answers(model, rows, shown)
    rng = np.random.default_rng(seed)
    orders = [rng.permuted(shown, axis=1) for _ in range(permutations)]
    answers = np.stack([_answers(model, rows, order) for order in orders], axis=1)  # [B, permutations]
    others = shown[shown != targets[:, None]].reshape(len(shown), -1)
    ends = {
        "target first": np.concatenate([targets[:, None], others], axis=1),
        "target last": np.concatenate([others, targets[:, None]], axis=1),
    }
    return {
        "permuted": (answers == targets[:, None]).mean(axis=1),
        "answer kept": (answers == first[:, None]).mean(axis=1),
        **{name: (_answers(model, rows, order) == targets).astype(float) for name, order in ends.items()},
    }


def _answers(model: Recommender, rows: Rows, shown: Integers) -> Integers:
    """The likeliest item of each list, ``[B]``."""
    scores = model.draw_scores(rows.histories, shown[:, None])[:, 0]
    return shown[np.arange(len(shown)), scores.argmax(axis=1)]
