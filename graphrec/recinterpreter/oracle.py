"""DreamRec's oracle items: how far they lie from items, and what its encoder makes of one in a history.

DreamRec (arXiv 2310.20453) generates the vector of the ideal next item, which no catalogue item need have.

Letters: B rows, L places, I items, d width.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from graphrec.dreamrec.last_state import Places, last_states
from graphrec.dreamrec.recommender import DreamRec
from graphrec.dreamrec.retrieval import retrieval_factors
from graphrec.histories import Histories, Integers
from graphrec.recinterpreter.states import PlaceStates, Source, place_states
from graphrec.topk import best_by_factors

Vectors = NDArray[np.float32]

NOISE_ROWS = 2_000
"""Histories that the noise is measured on."""


def nearest_items(model: DreamRec, oracles: Vectors, k: int) -> Integers:
    """The k items that lie best along each oracle item ``[B, d]``, best first, ``[B, k]``."""
    vectors = torch.from_numpy(oracles), torch.from_numpy(model.item_vectors())
    return best_by_factors(retrieval_factors(*vectors, model.config.retrieval), k)[0]


def oracle_noise(source: Source, fitted: Histories) -> Vectors:
    """How far oracle items lie from their nearest items, root mean square by dimension, ``[d]``.

    A reader of item vectors that is trained under noise of this size meets oracle items as something known.
    Recommenders that generate none have none.
    """
    if not isinstance(source, DreamRec):
        return np.zeros(source.item_vectors().shape[1], dtype=np.float32)
    oracles = source.oracle_vectors(fitted[:NOISE_ROWS])
    distance = oracles - source.item_vectors()[nearest_items(source, oracles, 1)[:, 0]]
    found: Vectors = np.sqrt(np.square(distance).mean(0)).astype(np.float32)
    return found


def with_oracle(model: DreamRec, histories: Histories, oracles: Vectors, length: int) -> PlaceStates:
    """States of histories to which an oracle item was added as if it were one of the catalogue.

    Args:
        oracles: ``[B, d]``.
        length: places L; the last is that of the oracle item.
    """
    states = np.zeros((len(histories), length, oracles.shape[1]), dtype=np.float32)
    mask = np.zeros((len(histories), length), dtype=bool)
    if length > 1:
        states[:, :-1], mask[:, :-1] = place_states(model, histories, length - 1)
    states[:, -1], mask[:, -1] = _last_state(model, histories.last(length - 1), oracles), True
    return PlaceStates(states, mask)


def _last_state(model: DreamRec, histories: Histories, oracles: Vectors) -> Vectors:
    """The state after each history and its oracle item, ``[B, d]``."""
    network, device = model.network, model.device
    longest = int(histories.lengths.max(initial=0)) + 1
    columns = np.arange(longest)
    real = torch.from_numpy(columns <= histories.lengths[:, None])
    last = torch.from_numpy(columns == histories.lengths[:, None])
    rows = torch.from_numpy(histories.padded(longest, network.num_items))
    with model.inference():
        places = Places(real.to(device))
        vectors = functional.embedding(rows.to(device).flatten()[places.cells], network.table)
        added = torch.from_numpy(oracles).to(vectors)
        vectors = vectors.masked_scatter(last.to(device).flatten()[places.cells].unsqueeze(1), added)
        found: Vectors = last_states(network.encoder, vectors, places).cpu().numpy()
    return found
