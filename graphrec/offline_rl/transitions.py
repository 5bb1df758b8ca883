"""Sessions as transitions (state, action, reward, next state), one for each event, all at once.

The state before an event is what the session held so far, the first event's being empty. Every event is a
transition, and only the last of a session is done (the protocol of SQN, arXiv 2006.05779).

Letters: H events of all sessions, L window length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graphrec.data import Words
from graphrec.histories import Histories, Integers, Mask

EVENTS = ("click", "purchase")


def windows(sessions: Histories, length: int, pad: int, *, after: bool) -> Integers:
    """The latest ``length`` items before each event, or up to and with it, ``[H, L]``, padded on the right.

    Args:
        sessions: events in time order.
        length: L, at least 1.
        pad: number that fills the places of missing items.
        after: whether the event itself counts: the next state instead of the state.
    """
    if length < 1:
        raise ValueError(f"length={length} is no length of a window; give a whole number from 1")
    held = np.minimum(sessions.positions + after, length)  # [H]
    columns = np.arange(length)
    index = (np.arange(len(sessions.items)) + after - held)[:, None] + columns  # [H, L]
    filled = columns < held[:, None]
    return np.where(filled, sessions.items[np.where(filled, index, 0)], pad)


def read_lengths(sessions: Histories, length: int, *, after: bool) -> Integers:
    """Places that an encoder reads of each row of :func:`windows`, ``[H]``; an empty state counts as one."""
    return np.clip(sessions.positions + after, 1, length)


def done(sessions: Histories) -> Mask:
    """Which events end their session, ``[H]``."""
    return sessions.places_from_end == 0


def rewards(events: Words | None, count: int, *, click: float, purchase: float) -> NDArray[np.float32]:
    """Reward of each event, ``[H]``.

    Args:
        events: kind of each, "click" or "purchase"; None: all are clicks.
        count: H.
        click, purchase: what each is worth.

    Raises:
        ValueError: for another kind of event.
    """
    return np.where(purchases(events, count), purchase, click).astype(np.float32)


def purchases(events: Words | None, count: int) -> Mask:
    """Which events are purchases, ``[H]``; see :func:`rewards`."""
    if events is None:
        return np.zeros(count, dtype=bool)
    if len(events.codes) != count:
        raise ValueError(f"{len(events.codes)} kinds of events for {count} interactions: give one for each")
    names = np.array(events.names)
    strange = np.flatnonzero(~np.isin(names[events.codes], EVENTS))
    if strange.size:
        place = int(strange[0])
        raise ValueError(
            f"event {place} is {str(names[events.codes[place]])!r}; name events {' or '.join(EVENTS)}"
        )
    return names[events.codes] == "purchase"
