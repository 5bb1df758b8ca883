"""Encoders that give the state after every event of a session in one pass over it.

All take flat tokens of packed sequences and give one state for each, from the tokens up to it: GRU4Rec
(ICLR 2016), Caser (WSDM 2018), NextItNet (WSDM 2019), SASRec (ICDM 2018) in its stronger form.

Letters: P tokens of all sequences, d width, L window length, F filters.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from graphrec.offline_rl.nextitnet import NextItNet
from graphrec.sequential.packing import Packing
from graphrec.sequential.transformer import Transformer

BackboneName = Literal["gru4rec", "caser", "nextitnet", "sasrec"]
BACKBONES: tuple[BackboneName, ...] = ("gru4rec", "caser", "nextitnet", "sasrec")
HEIGHTS = (2, 3, 4)
FILTERS = 16


class Recurrent(nn.Module):
    """Gated recurrent units, ``[P, d]`` to ``[P, d]``; each step takes all sequences that last so long."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.cell = nn.GRU(width, width)

    def forward(self, vectors: Tensor, packing: Packing) -> Tensor:
        places, together = _by_position(packing)
        steps, _ = self.cell(PackedSequence(self.drop(vectors)[places], together))
        states: Tensor = steps.data[places.argsort()]  # back to where the tokens lie
        return states


def _by_position(packing: Packing) -> tuple[Tensor, Tensor]:
    """Flat places of all first tokens, then of all second ones, and so on; and how many there are of each."""
    positions = packing.positions.numpy()
    order = np.argsort(positions, kind="stable")  # sequences lie the longest first: rows stay in that order
    return torch.from_numpy(order), torch.from_numpy(np.bincount(positions))


class Convolutions(nn.Module):
    """Caser over the latest L tokens of each state: ``[P, d]`` to ``[P, 3 F + d]``; missing places are zero.

    Horizontal filters see 2, 3 and 4 consecutive tokens, and the strongest place of each counts; the vertical
    filter weighs places.
    """

    def __init__(self, width: int, length: int, dropout: float) -> None:
        super().__init__()
        if length < max(HEIGHTS):
            raise ValueError(f"length={length}: the filters of caser need windows of {max(HEIGHTS)} or more")
        self.length = length
        self.horizontal = nn.ModuleList(nn.Conv1d(width, FILTERS, height) for height in HEIGHTS)
        self.vertical = nn.Linear(length, 1)
        self.drop = nn.Dropout(dropout)
        self.out_dim = FILTERS * len(HEIGHTS) + width

    def forward(self, vectors: Tensor, packing: Packing) -> Tensor:
        image = self._windows(vectors, packing)  # [P, d, L]
        strongest = [filters(image).relu().amax(2) for filters in self.horizontal]  # each [P, F]
        weighted = self.vertical(image)[:, :, 0].relu()  # [P, d]
        return self.drop(torch.cat([*strongest, weighted], 1))

    def _windows(self, vectors: Tensor, packing: Packing) -> Tensor:
        held = (packing.positions + 1).clamp(max=self.length)[:, None]  # [P, 1]
        columns = torch.arange(self.length)
        index = torch.arange(len(vectors))[:, None] + 1 - held + columns
        filled = (columns < held).to(vectors.device)
        image = vectors[torch.where(columns < held, index, 0)] * filled[:, :, None]  # [P, L, d]
        return image.transpose(1, 2)


def build_backbone(
    name: BackboneName, width: int, length: int, *, dropout: float, num_blocks: int, num_heads: int
) -> tuple[nn.Module, int]:
    """An encoder by name, and the width of its states.

    Args:
        name: one of :data:`BACKBONES`.
        width: of item vectors.
        length: longest sequence that it is given.
        dropout: share of what is dropped in training; nextitnet drops nothing.
        num_blocks, num_heads: of sasrec.

    Raises:
        ValueError: the name is not known.
    """
    if name == "gru4rec":
        return Recurrent(width, dropout), width
    if name == "caser":
        convolutions = Convolutions(width, length, dropout)
        return convolutions, convolutions.out_dim
    if name == "nextitnet":
        return NextItNet(width), width
    if name == "sasrec":
        blocks = Transformer(width, length, num_blocks=num_blocks, num_heads=num_heads, dropout=dropout)
        return blocks, width
    raise ValueError(f"backbone={name!r} is not known; choose one of {', '.join(BACKBONES)}")
