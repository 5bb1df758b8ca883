"""Dropout whose mask costs a tenth: sixteen random bits for each number in place of a draw of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEVELS = 1 << 16


class Dropout(nn.Dropout):
    """As ``nn.Dropout``, with the rate rounded to 1/65536; bits come from torch's default generator."""

    def forward(self, inputs: Tensor) -> Tensor:
        cut = round(self.p * LEVELS)
        if not self.training or not cut or cut == LEVELS:
            return super().forward(inputs)
        words = torch.empty(-(-inputs.numel() // 4), dtype=torch.int64, device=inputs.device)
        words.random_(-(2**63), None)
        bits = words.view(torch.int16)[: inputs.numel()].view(inputs.shape)
        kept = bits >= cut - LEVELS // 2  # signed: the lowest `cut` values are dropped
        return inputs * kept.to(inputs.dtype).mul_(LEVELS / (LEVELS - cut))
