"""The states that a frozen recommender holds of a history, one for each place that is read.

Letters: B histories, L places, d width of the recommender.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphrec.dreamrec.recommender import DreamRec
from graphrec.histories import Histories
from graphrec.recommender import Recommender
from graphrec.sequential.recommender import SequentialRecommender

Source = SequentialRecommender | DreamRec


class PlaceStates(NamedTuple):
    """States of B histories, the latest in the last place.

    Attributes:
        states: ``[B, L, d]``, zero where there is none.
        mask: which places have a state, bool ``[B, L]``.
    """

    states: NDArray[np.float32]
    mask: NDArray[np.bool_]


def checked_source(model: Recommender, length: int) -> Source:
    """A recommender whose states can be read.

    Raises:
        ValueError: it holds no states of histories, or reads fewer places.
    """
    if not isinstance(model, (SequentialRecommender, DreamRec)):
        raise ValueError(
            f"{model.name} holds no states of histories; read sasrec, gru4rec, caser, cl4srec or dreamrec"
        )
    if length > model.config.length:
        raise ValueError(
            f"length {length} is more than the {model.config.length} places that {model.name} reads; lower it"
        )
    return model


def place_states(source: Source, histories: Histories, length: int) -> PlaceStates:
    """States at the latest ``length`` places of each history.

    Strong networks give them in one pass. Of published ones, and of DreamRec, the state after each prefix is
    taken: their encoders look back only, so that it is the state at the prefix's last place.
    """
    windows = histories.last(length)
    if isinstance(source, SequentialRecommender) and source.config.network == "strong":
        flat, read = source.all_states(windows)
        flat = flat[read.items != read_start(source)]
    else:
        flat = source.states(prefixes(windows))
    states = np.zeros((len(windows), length, flat.shape[1]), dtype=np.float32)
    mask = np.zeros((len(windows), length), dtype=bool)
    places = windows.rows, length - 1 - windows.places_from_end
    states[places], mask[places] = flat, True
    return PlaceStates(states, mask)


def read_start(source: SequentialRecommender) -> int:
    """The number that stands for the start of a sequence."""
    return source.network.num_items


def prefixes(histories: Histories) -> Histories:
    """Every non-empty prefix of each row, row after row and the shortest first."""
    lengths = histories.positions + 1  # [H]
    firsts = np.repeat(histories.starts[histories.rows], lengths)
    within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return Histories.from_lengths(histories.items[firsts + within], lengths)
