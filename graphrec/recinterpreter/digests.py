"""Digests of titles: what a language model from scratch learns to read before it meets any state.

The mean embedding of a title's tokens stands where a recommender's state will stand later.

Letters: I items, M histories, N items of a batch, L places, V tokens, H width of the language model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from graphrec.histories import Histories, Integers
from graphrec.recinterpreter.network import Evidence


class TitleDigests:
    """Evidence made of titles alone.

    Args:
        token_ids: of each item's title, I arrays of one id at least.
    """

    def __init__(self, token_ids: Sequence[np.ndarray]) -> None:
        self.rows = Histories.from_lists(token_ids)

    def vectors(self, items: Integers, embeddings: Tensor) -> Tensor:
        """Mean token embeddings of the titles of items ``[N]``, ``[N, H]``, each distinct title once."""
        distinct, back = np.unique(items, return_inverse=True)
        rows = self.rows.select(distinct)
        ids, starts, places = (
            torch.from_numpy(part).to(embeddings.device) for part in (rows.items, rows.starts, back)
        )
        return functional.embedding_bag(ids, embeddings, starts, mode="mean")[places]

    def evidence(self, windows: Histories, items: Integers, length: int, embeddings: Tensor) -> Evidence:
        """Digests of M windows of at most ``length`` items, and of N items, from embeddings ``[V, H]``."""
        flat = self.vectors(windows.items, embeddings)
        rows, places = (
            torch.from_numpy(part).to(flat.device)
            for part in (windows.rows, length - 1 - windows.places_from_end)
        )
        states = flat.new_zeros(len(windows), length, flat.shape[1]).index_put((rows, places), flat)
        mask = torch.zeros(states.shape[:2], dtype=torch.bool, device=flat.device)
        mask[rows, places] = True
        return Evidence(states, mask, self.vectors(items, embeddings))
