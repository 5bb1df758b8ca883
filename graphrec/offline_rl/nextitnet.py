"""NextItNet (Yuan et al., WSDM 2019): dilated causal convolutions over packed sequences.

Letters: P tokens of all sequences, d width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graphrec.sequential.packing import Packing

KERNEL = 3
DILATIONS = (1, 2, 1, 2, 1, 2)


class NextItNet(nn.Module):
    """Residual blocks of two dilated convolutions: item vectors to states, ``[P, d]`` to ``[P, d]``.

    A state depends on the tokens up to its own; the field of view of the default blocks is 55 tokens.

    Parameters
    ----------
    width : d.
    dilations : of the first convolution of each block; that of the second is twice as large.
    """

    def __init__(self, width: int, dilations: Sequence[int] = DILATIONS) -> None:
        super().__init__()
        if not dilations or min(dilations) < 1:
            raise ValueError(f"dilations={tuple(dilations)} must be one number from 1 for each block")
        self.blocks = nn.ModuleList(_Block(width, dilation) for dilation in dilations)

    def forward(self, vectors: Tensor, packing: Packing) -> Tensor:
        for block in self.blocks:
            vectors = block(vectors, packing)
        return vectors


class _Block(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.first, self.second = (CausalConvolution(width, factor * dilation) for factor in (1, 2))
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, vectors: Tensor, packing: Packing) -> Tensor:
        inner = self.first_norm(self.first(vectors, packing)).relu()
        inner = self.second_norm(self.second(inner, packing)).relu()
        return vectors + inner


class CausalConvolution(nn.Module):
    """Each token from itself and the tokens 1 and 2 dilations before it; what lies before a sequence is zero.

    Parameters
    ----------
    width : d.
    dilation : distance of the taps.
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.taps = nn.Linear(KERNEL * width, width)  # columns: the token itself, the nearest tap, the next

    def forward(self, vectors: Tensor, packing: Packing) -> Tensor:
        places = torch.arange(len(vectors), device=vectors.device)
        seen = [vectors]
        for back in range(self.dilation, KERNEL * self.dilation, self.dilation):
            inside = packing.positions.to(vectors.device) >= back
            earlier = vectors[torch.where(inside, places - back, 0)]
            seen.append(earlier * inside[:, None])
        mixed: Tensor = self.taps(torch.cat(seen, 1))
        return mixed
