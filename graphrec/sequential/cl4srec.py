"""CL4SRec (Xie et al., ICDE 2022, arXiv 2010.14395): SASRec that also tells views of sequences apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from graphrec.histories import Histories
from graphrec.sequential.augment import random_view
from graphrec.sequential.config import SASRecConfig
from graphrec.sequential.examples import SequenceBatch, window_batch
from graphrec.sequential.losses import info_nce
from graphrec.sequential.packing import Packing, pack
from graphrec.sequential.recommender import SASRec

View = tuple[Tensor, Packing]
"""Tokens ``[P]`` of changed rows, and how they lie."""


@dataclass(frozen=True)
class CL4SRecConfig(SASRecConfig):
    """SASRec and a contrast of views.

    Attributes:
        contrast_weight: of the contrast, beside the loss of the next item.
        temperature: of the contrast.
        crop_share: items that cropping keeps.
        mask_share: items that masking hides.
        reorder_share: items that reordering shuffles.
    """

    contrast_weight: float = 0.1
    temperature: float = 1.0
    crop_share: float = 0.6
    mask_share: float = 0.3
    reorder_share: float = 0.6

    def _check_numbers(self) -> None:
        super()._check_numbers()
        if self.contrast_weight < 0:
            raise ValueError(f"contrast_weight must not be negative, got {self.contrast_weight}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")
        for name in ("crop_share", "mask_share", "reorder_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share above 0 and up to 1, not {getattr(self, name)}")

    def _check_combinations(self) -> None:
        super()._check_combinations()
        if self.network != "strong" or self.rows == "prefixes":
            raise ValueError(
                "views are made of whole rows: give network: strong, and rows: windows or latest"
            )


@dataclass(frozen=True)
class ContrastBatch:
    """Rows to train on, and two views of each that has an item."""

    rows: SequenceBatch
    views: tuple[View, View]

    def to(self, device: torch.device) -> ContrastBatch:
        """The same on a device."""
        first, second = ((tokens.to(device), packing) for tokens, packing in self.views)
        return ContrastBatch(self.rows.to(device), (first, second))


class CL4SRec(SASRec):
    """SASRec whose states of two views of a sequence are drawn together, and apart from other sequences'."""

    name = "cl4srec"
    config_class = CL4SRecConfig
    config: CL4SRecConfig
    extra_tokens = 1  # the mask, number I + 1

    def batches(self, train: Histories, epoch: int, seed: int) -> Iterator[ContrastBatch]:
        rng = np.random.default_rng([seed, epoch])
        rows = self.windows_of(train, rng)
        for chosen in np.array_split(rng.permutation(len(rows)), self.num_batches(train)):
            batch = rows.select(chosen)
            yield ContrastBatch(window_batch(batch), (self._view(batch, rng), self._view(batch, rng)))

    def _view(self, rows: Histories, rng: np.random.Generator) -> View:
        config, start = self.config, len(self.catalogue)
        real = rows.items != start
        items = Histories.from_lengths(rows.items[real], np.bincount(rows.rows[real], minlength=len(rows)))
        view = random_view(
            items.last(config.length),
            rng,
            mask=start + 1,
            crop_share=config.crop_share,
            mask_share=config.mask_share,
            reorder_share=config.reorder_share,
        )
        return pack(self.network.rows(view))

    def loss(self, batch: ContrastBatch, step: int) -> dict[str, Tensor]:
        next_item = self.next_item_loss(batch.rows)
        first, second = (self.network.last_states(*view) for view in batch.views)  # [B, d] each
        contrast = info_nce(first, second, temperature=self.config.temperature).mean()
        total = next_item + self.config.contrast_weight * contrast
        return {"loss": total, "next_item": next_item, "contrast": contrast}
