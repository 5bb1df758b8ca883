"""Scores of a catalogue from written texts: the table of titles, distances and what moves them.

Letters: B rows, I items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from graphrec.bigrec.grounding import GammaChoice, Weights, choose_gamma, weighted_rows
from graphrec.bigrec.title_table import TitleTable
from graphrec.data import Manifest, Rows
from graphrec.recommender import Floats


class TextGrounding(NamedTuple):
    """How texts become scores.

    Attributes:
        table: titles and their vectors.
        weights: what moves distances, of the rows that are asked; None: nothing does.
        gamma: how much it does.
    """

    table: TitleTable
    weights: Floats | Weights | None = None
    gamma: float = 0.0

    @property
    def titles(self) -> Tensor:
        """The vector of each item's title, ``[I, D]``."""
        return self.table.vectors[self.table.of_item]

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Minus the distances of the paper, scaled in each row from -1 to 0, ``[B, I]``."""
        vectors = self.table.embed(texts)
        parts = [near for _, near in weighted_rows(vectors, self.titles, self.weights, self.gamma)]
        if not parts:
            return np.empty((0, len(self.table.of_item)), dtype=np.float32)
        return 0 - np.concatenate(parts).astype(np.float32)  # no minus before zero

    def best_gamma(
        self, texts: Sequence[str], rows: Rows, gammas: Sequence[float], manifest: Manifest
    ) -> GammaChoice:
        """The gamma that is best on validation rows by NDCG@10; items of one title count as one."""
        assert self.weights is not None
        return choose_gamma(
            self.table.embed(texts),
            self.titles,
            self.weights,
            rows.targets,
            gammas,
            same_title=self.table.of_item,
            seen=rows.histories if manifest.filter_seen else None,
            ties=manifest.ties,
        )
