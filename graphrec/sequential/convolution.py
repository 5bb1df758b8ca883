"""Caser (Tang & Wang, WSDM 2018) in its stronger form: a state at every place, shared item table."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from graphrec.sequential.packing import Packing


class Convolution(nn.Module):
    """Convolutions over the window that ends at each token: item vectors to states, ``[P, d]`` to ``[P, d]``.

    A filter of height h is a matrix for each of its h taps. All tokens are multiplied with all taps once, and
    what overlapping windows share is never computed again. Before the first token of a sequence are zeros.

    Args:
        width: d.
        window: tokens that a state sees.
        heights: tokens that a horizontal filter spans.
        num_filters: horizontal filters of each height.
        num_vertical: weighted sums over the window.
        dropout: on the item vectors and on the features.
    """

    def __init__(
        self,
        width: int,
        window: int,
        *,
        heights: Sequence[int] = (2, 3, 4),
        num_filters: int = 16,
        num_vertical: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not heights or max(heights) > window or min(heights) < 1:
            raise ValueError(f"heights={tuple(heights)} must lie between 1 and window={window}")
        self.window, self.heights, self.num_filters = window, tuple(heights), num_filters
        self.taps = nn.Linear(width, num_filters * sum(heights), bias=False)
        self.bias = nn.Parameter(torch.zeros(len(self.heights), num_filters))
        self.vertical = nn.Parameter(torch.randn(num_vertical, window) / window**0.5)
        self.output = nn.Linear(num_filters * len(self.heights) + num_vertical * width, width)
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)

    def forward(self, vectors: Tensor, packing: Packing) -> Tensor:
        vectors = self.drop(vectors)
        positions = packing.positions.to(vectors.device)
        taps = self.taps(vectors).split(self.num_filters, dim=-1)  # sum(heights) times [P, filters]
        features, first = [], 0
        for height, bias in zip(self.heights, self.bias, strict=True):
            convolved = sum_of_taps(taps[first : first + height], positions)
            features.append(self._highest(convolved, height, positions) + bias)
            first += height
        summed = [
            sum_of_taps([weight * vectors for weight in weights], positions) for weights in self.vertical
        ]
        return self.norm(self.output(self.drop(torch.cat([*features, *summed], dim=-1).relu())))

    def _highest(self, convolved: Tensor, height: int, positions: Tensor) -> Tensor:
        """The highest response within each window; where the window reaches before the sequence it is 0."""
        highest = convolved
        for back in range(1, self.window - height + 1):
            highest = torch.maximum(highest, earlier(convolved, back, positions))
        return highest


def sum_of_taps(taps: Sequence[Tensor], positions: Tensor) -> Tensor:
    """``sum over k of taps[k]`` taken k tokens earlier in the same sequence, ``[P, n]``."""
    total = taps[0]
    for back, tap in enumerate(taps[1:], start=1):
        total = total + earlier(tap, back, positions)
    return total


def earlier(flat: Tensor, back: int, positions: Tensor) -> Tensor:
    """Rows of ``flat`` ``[P, n]`` from ``back`` tokens earlier; zero before the first of a sequence."""
    kept = max(0, len(flat) - back)
    moved = pad(flat[:kept], (0, 0, len(flat) - kept, 0))
    return moved * (positions >= back).unsqueeze(1)
