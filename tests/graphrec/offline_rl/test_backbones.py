"""Encoders: packed sequences in one pass equal each prefix encoded by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from graphrec.histories import Histories
from graphrec.offline_rl.backbones import BACKBONES, build_backbone
from graphrec.offline_rl.nextitnet import CausalConvolution
from graphrec.sequential.packing import Packing, pack

WIDTH, LENGTH = 8, 6
SESSIONS = [[1, 2, 3, 4, 5, 6], [7], [3, 3, 1], [2, 9, 2], [5, 4]]


def encoder(name: Any) -> tuple[torch.nn.Module, int]:
    torch.manual_seed(1)
    module, width = build_backbone(name, WIDTH, LENGTH, dropout=0.2, num_blocks=2, num_heads=2)
    return module.double().eval(), width


@pytest.mark.parametrize("name", BACKBONES)
def test_one_pass_equals_prefix_by_prefix(name: str) -> None:
    module, width = encoder(name)
    table = torch.randn(10, WIDTH, dtype=torch.float64)
    items, packing = pack(Histories.from_lists(SESSIONS))
    together = module(table[items], packing)
    assert together.shape == (len(items), width)
    for row, start, length in zip(packing.order, packing.starts, packing.lengths, strict=True):
        for held in range(1, length + 1):
            prefix, alone = pack(Histories.from_lists([SESSIONS[row][:held]]))
            expected = module(table[prefix], alone)[-1]
            torch.testing.assert_close(together[start + held - 1], expected)


@pytest.mark.parametrize("name", BACKBONES)
def test_gradients_reach_every_weight(name: str) -> None:
    module, _ = encoder(name)
    items, packing = pack(Histories.from_lists(SESSIONS))
    vectors = torch.randn(len(items), WIDTH, dtype=torch.float64, requires_grad=True)
    module(vectors, packing).square().sum().backward()
    assert vectors.grad is not None and vectors.grad.abs().sum(1).gt(0).all()
    for weight in module.parameters():
        assert weight.grad is not None and weight.grad.isfinite().all()


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_causal_convolution_is_the_padded_one(dilation: int) -> None:
    torch.manual_seed(0)
    convolution = CausalConvolution(WIDTH, dilation).double()
    lengths = [9, 4, 1]
    rows = torch.randn(3, 9, WIDTH, dtype=torch.float64)
    packed = torch.cat([rows[row, :length] for row, length in enumerate(lengths)])
    found = convolution(packed, Packing.of(np.array(lengths)))
    # taps of Conv1d lie oldest first, ours newest first
    weight = convolution.taps.weight.view(WIDTH, 3, WIDTH).flip(1).transpose(1, 2)
    padded = functional.pad(rows.transpose(1, 2), (2 * dilation, 0))
    expected = functional.conv1d(padded, weight, convolution.taps.bias, dilation=dilation).transpose(1, 2)
    torch.testing.assert_close(
        found, torch.cat([expected[row, :length] for row, length in enumerate(lengths)])
    )


def test_windows_too_short_for_the_filters() -> None:
    with pytest.raises(ValueError, match="windows of 4 or more"):
        build_backbone("caser", WIDTH, 3, dropout=0.0, num_blocks=1, num_heads=1)


def test_unknown_name() -> None:
    wrong: Any = "lstm"
    with pytest.raises(ValueError, match="choose one of gru4rec"):
        build_backbone(wrong, WIDTH, LENGTH, dropout=0.0, num_blocks=1, num_heads=1)
