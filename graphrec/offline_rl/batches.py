"""Sessions as batches of transitions: packed pieces, what each event was worth, and drawn negatives.

Letters: H events of all sessions, P events of a batch, N negatives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphrec.histories import Histories, Mask
from graphrec.offline_rl.negatives import draw_other, draw_outside
from graphrec.sequential.packing import Packing

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Pieces:
    """Sessions cut into pieces that an encoder can take; every event is learnt in exactly one of them.

    Attributes:
        sessions: the whole sessions, H events.
        events: which event each place of the pieces is, as histories of event numbers 0 to H - 1.
        learnt: whether a place is learnt here; the rest is context, learnt in an earlier piece.
    """

    sessions: Histories
    events: Histories
    learnt: Mask

    @classmethod
    def of(cls, sessions: Histories, length: int) -> Pieces:
        """Pieces of at most ``length`` events; those after the first begin with half of it as context."""
        lengths, stride = sessions.lengths, length - length // 2
        count = np.where(lengths > 0, 1 + np.maximum(0, -(-(lengths - length) // stride)), 0)
        rows = np.repeat(np.arange(len(sessions)), count)
        number = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
        first = number * stride
        size = np.minimum(length, lengths[rows] - first)
        places = Histories.from_lengths(np.zeros(int(size.sum()), dtype=np.int64), size)
        events = np.repeat(sessions.starts[rows] + first, size) + places.positions
        context = np.where(number > 0, length - stride, 0)
        return cls(sessions, replace(places, items=events), places.positions >= np.repeat(context, size))

    def __len__(self) -> int:
        return len(self.events)


@dataclass(frozen=True)
class SessionBatch:
    """Packed pieces with P places.

    Attributes:
        items: ``[P]``.
        packing: where each piece lies.
        before: row of each event's state among the empty one (0) and the states after each place (1 + p),
            ``[P]``.
        next_items: the event that followed in the session, its own item where none did, ``[P]``.
        rewards: ``[P]``.
        done: whether the event ends its session, bool ``[P]``.
        negatives: ``[P, N]``.
        learnt: places whose events are learnt in this batch, long.
    """

    items: Tensor
    packing: Packing
    before: Tensor
    next_items: Tensor
    rewards: Tensor
    done: Tensor
    negatives: Tensor
    learnt: Tensor

    def to(self, device: torch.device | str) -> SessionBatch:
        """The same batch on another device."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        moved: dict[str, Any] = {name: value.to(device) for name, value in tensors.items()}
        return replace(self, **moved)


def session_batches(
    pieces: Pieces,
    rewards: Floats,
    num_items: int,
    *,
    batch_size: int,
    num_negatives: int,
    outside_session: bool,
    rng: np.random.Generator,
) -> Iterator[SessionBatch]:
    """Every piece once, in random order.

    Args:
        pieces: of the fitted sessions.
        rewards: of all H events.
        num_items: size of the catalogue.
        batch_size: pieces of a batch.
        num_negatives: N.
        outside_session: draw negatives outside the whole session, and not only other than the event.
        rng: of order and negatives.
    """
    sessions = pieces.sessions
    rows, places_from_end = sessions.rows, sessions.places_from_end
    places = Histories(np.arange(len(pieces.learnt)), pieces.events.ends)
    order = rng.permutation(len(pieces))
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        packing = Packing.of(pieces.events.lengths[chosen])
        taken = places.select(chosen[packing.order]).items  # [P], places
        which = pieces.events.items[taken]  # [P], numbers of events
        items, ended = sessions.items[which], places_from_end[which] == 0
        positions = packing.positions.numpy()
        if outside_session:
            drawn = draw_outside(sessions, rows[which], num_items, num_negatives, rng)
        else:
            drawn = draw_other(items, num_items, num_negatives, rng)
        yield SessionBatch(
            items=torch.from_numpy(items),
            packing=packing,
            before=torch.from_numpy(np.where(positions == 0, 0, np.arange(len(which)))),
            next_items=torch.from_numpy(sessions.items[np.where(ended, which, which + 1)]),
            rewards=torch.from_numpy(rewards[which]),
            done=torch.from_numpy(ended),
            negatives=torch.from_numpy(drawn),
            learnt=torch.from_numpy(np.flatnonzero(pieces.learnt[taken])),
        )
