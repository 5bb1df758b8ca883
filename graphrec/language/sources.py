"""Where item vectors and states come from: saved recommenders, or a factorisation of what occurs near what.

Vectors are centred and of unit mean square, states of unit mean square each, so that sources of different
scale can stand side by side.

Letters: B rows, I items, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor

from graphrec.catalogue import Catalogue
from graphrec.histories import Histories
from graphrec.recommender import Floats, Recommender
from graphrec.sequential.start_vectors import cooccurrence_vectors

COOCCURRENCE = "cooccurrence"
DECAY = 0.7
"""Weight of an item in the state of the factorisation, for each item after it."""


class HasStates(Protocol):
    """A recommender that tells the state after each history."""

    def states(self, histories: Histories) -> Floats:
        """``[B, d]``."""


class SavedSource:
    """A saved recommender with item vectors.

    Args:
        recommender: fitted.
        name: what messages call it.
    """

    def __init__(self, recommender: Recommender, name: str) -> None:
        self.recommender, self.name = recommender, name

    @classmethod
    def load(cls, folder: str | Path, catalogue: Catalogue) -> SavedSource:
        """Read it.

        Raises:
            ValueError: it knows other items, or has no item vectors.
        """
        recommender = Recommender.from_pretrained(folder)
        if list(recommender.catalogue.item_ids) != list(catalogue.item_ids):
            raise ValueError(
                f"the recommender in {folder} knows another catalogue ({len(recommender.catalogue)} items, "
                f"here {len(catalogue)}); fit it on the same data"
            )
        return cls(recommender, str(folder))

    def vectors(self, fitted: Histories) -> Tensor:
        """``[I, d]``."""
        return centred(torch.from_numpy(np.array(self.recommender.item_vectors(), dtype=np.float32)))

    def states(self, histories: Histories, vectors: Tensor) -> Tensor:
        """``[B, d]``."""
        if not hasattr(self.recommender, "states"):
            raise ValueError(
                f"{self.name} is a {self.recommender.name}, which has no states; name a sequential "
                "recommender, or give states false"
            )
        states = cast(HasStates, self.recommender).states(histories)
        return unit(torch.from_numpy(np.array(states, dtype=np.float32)))


class CooccurrenceSource:
    """Vectors from a factorisation of pairs; its state is the mean of a history, later items weighing more.

    Args:
        num_items, width: of the vectors, I and d.
    """

    name = COOCCURRENCE

    def __init__(self, num_items: int, width: int) -> None:
        self.num_items, self.width = num_items, width

    def vectors(self, fitted: Histories) -> Tensor:
        """``[I, d]``, counted over the fitted part."""
        return centred(cooccurrence_vectors(fitted, self.num_items, self.width, seed=0))

    def states(self, histories: Histories, vectors: Tensor) -> Tensor:
        """``[B, d]`` from the stored vectors ``[I, d]``."""
        weights = torch.from_numpy(DECAY ** histories.places_from_end.astype(np.float32))
        rows, items = torch.from_numpy(histories.rows), torch.from_numpy(histories.items)
        states = vectors.new_zeros(len(histories), vectors.shape[1])
        weighted = vectors[items.to(vectors.device)] * weights.to(vectors)[:, None]
        return unit(states.index_add(0, rows.to(vectors.device), weighted))


Source = SavedSource | CooccurrenceSource


class Sources:
    """Several sources side by side.

    Args:
        parts: in the order of their columns.
        widths: columns of each.
    """

    def __init__(self, parts: Sequence[Source], widths: Sequence[int]) -> None:
        self.parts, self.widths = list(parts), list(widths)

    @classmethod
    def named(cls, names: Sequence[str], catalogue: Catalogue, width: int) -> Sources:
        """Sources by name: "cooccurrence", ``width`` wide, or folders of saved recommenders."""
        parts: list[Source] = [
            CooccurrenceSource(len(catalogue), width)
            if name == COOCCURRENCE
            else SavedSource.load(name, catalogue)
            for name in names
        ]
        return cls(parts, [_width(part) for part in parts])

    @property
    def width(self) -> int:
        """Columns of all."""
        return sum(self.widths)

    def vectors(self, fitted: Histories) -> Tensor:
        """``[I, d]``."""
        return torch.cat([part.vectors(fitted) for part in self.parts], dim=1)

    def states(self, histories: Histories, vectors: Tensor) -> Tensor:
        """States after histories, ``[B, d]``, given the stored vectors ``[I, d]``."""
        own = vectors.split(self.widths, dim=1)
        found = [
            part.states(histories, table).to(vectors.device)
            for part, table in zip(self.parts, own, strict=True)
        ]
        return torch.cat(found, dim=1)


def _width(source: Source) -> int:
    if isinstance(source, CooccurrenceSource):
        return source.width
    return int(source.recommender.item_vectors().shape[1])


def centred(vectors: Tensor) -> Tensor:
    """Vectors ``[I, d]`` without their mean, of unit mean square over all their numbers."""
    moved = vectors - vectors.mean(0)
    spread = moved.square().mean().sqrt()
    return moved / spread if spread > 0 else moved


def unit(states: Tensor) -> Tensor:
    """States ``[B, d]`` of unit mean square each; a state of zero stays zero."""
    size = states.square().mean(1, keepdim=True).sqrt()
    return states / size.clamp(min=1e-6)
