"""How a trained learner behaves on held-out events: values of taken and random items, transition model.

Letters: B rows, N negatives, w state width.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from graphrec.data import Rows
from graphrec.histories import Histories
from graphrec.offline_rl.contrast import top_one
from graphrec.offline_rl.negatives import draw_other
from graphrec.offline_rl.recommender import OfflineRL


class Probes(NamedTuple):
    """Means over rows.

    Attributes
    ----------
    value : Q of the items that were taken; None for learners without values.
    random_value : Q of random other items; None likewise.
    transition_top1 : how often the item that was taken predicts the next state best among itself and N random
        ones; None for learners without a transition model.
    chance : what guessing would reach, 1 / (1 + N).
    """

    value: float | None
    random_value: float | None
    transition_top1: float | None
    chance: float


def probe(model: OfflineRL, rows: Rows, *, num_rows: int = 5000, seed: int = 0) -> Probes:
    """Ask a learner about held-out events.

    Args:
        model: fitted.
        rows: states and the items that came next.
        num_rows: so many of the rows, drawn by the seed; all where there are fewer.
        seed: of rows and random items.
    """
    rng = np.random.default_rng(seed)
    rows = rows.select(np.sort(rng.permutation(len(rows))[:num_rows]))
    network, count = model.network.first, model.objective.num_negatives
    drawn = draw_other(rows.targets, len(model.catalogue), count, rng)
    candidates = torch.from_numpy(np.column_stack([rows.targets, drawn])).to(model.device)  # [B, 1 + N]
    states = model.states(rows.histories)  # [B, w]
    value = random_value = accuracy = None
    with model.inference():
        if network.value is not None:
            values = network.value(states).of(candidates)
            value, random_value = float(values[:, 0].mean()), float(values[:, 1:].mean())
        if network.transition is not None:
            reached = model.states(_with_targets(rows))
            similar = network.transition(states, network.items(candidates), reached)
            accuracy = float(top_one(similar).float().mean())
    return Probes(value, random_value, accuracy, 1 / (1 + count))


def _with_targets(rows: Rows) -> Histories:
    """Each history with what came next."""
    histories = rows.histories
    items = np.insert(histories.items, histories.ends, rows.targets)
    return Histories.from_lengths(items, histories.lengths + 1)
