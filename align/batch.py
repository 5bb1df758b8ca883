"""A batch of examples on their way through the model: prompt trees, packed, and what stays with each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from moltc.backbone.packing import PackedTrees
from moltc.backbone.prompt import PromptTree

Pack = Callable[[Sequence[PromptTree]], PackedTrees]


@dataclass(frozen=True)
class PreferenceBatch:
    """B examples, each a prompt tree whose first completion is the chosen one.

    Attributes
    ----------
    packed : the trees, packed as the model takes them.
    trees : B prompt trees.
    ids : long [B], a number that stays with its example.
    num_completions : long [B].
    desirable : bool [B] for unpaired data, whose trees hold a completion and a mismatched one; else None.
    rows : int64 [B], places in the table.
    """

    packed: PackedTrees
    trees: Sequence[PromptTree]
    ids: Tensor
    num_completions: Tensor
    desirable: Tensor | None
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> PreferenceBatch:
        """The same batch on another device."""
        return replace(
            self,
            packed=self.packed.to(device),
            ids=self.ids.to(device),
            num_completions=self.num_completions.to(device),
            desirable=None if self.desirable is None else self.desirable.to(device),
        )

    def take(self, places: np.ndarray, pack: Pack) -> PreferenceBatch:
        """Some of the examples by their place in the batch, int64 ``[n]``, packed again."""
        kept = self._rows(places)
        return replace(kept, packed=pack(kept.trees).to(self.ids.device))

    def _rows(self, places: np.ndarray) -> PreferenceBatch:
        """Some of the examples, not packed yet."""
        index = torch.from_numpy(places).to(self.ids.device)
        return replace(
            self,
            trees=[self.trees[place] for place in places.tolist()],
            ids=self.ids[index],
            num_completions=self.num_completions[index],
            desirable=None if self.desirable is None else self.desirable[index],
            rows=self.rows[places],
        )

    def only(self, wanted: np.ndarray, pack: Pack) -> PreferenceBatch:
        """Some of the completions, bool ``[C]``, packed again; examples without any are left out."""
        ends = np.cumsum([len(tree.completions) for tree in self.trees])
        masks = np.split(wanted, ends[:-1])
        places = np.flatnonzero([mask.any() for mask in masks])
        kept = self._rows(places)
        trees = [
            tree.with_completions([tree.completions[k] for k in np.flatnonzero(masks[place])])
            for tree, place in zip(kept.trees, places.tolist(), strict=True)
        ]
        counts = torch.tensor([len(tree.completions) for tree in trees], device=self.ids.device)
        return replace(kept, trees=trees, packed=pack(trees).to(self.ids.device), num_completions=counts)

    def cut(self, size: int | None, pack: Pack) -> Iterator[PreferenceBatch]:
        """The batch in parts of at most ``size`` examples, equal but for one; None leaves it whole."""
        if size is None or size >= len(self):
            yield self
            return
        for places in np.array_split(np.arange(len(self)), -(-len(self) // size)):
            yield self.take(places, pack)
