"""Low-rank adapters: nothing at the start, B A x afterwards, and only inside their block."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from moltc.backbone.adapters import LowRankAdapters


@pytest.fixture
def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 4))


def test_new_adapters_change_nothing(mlp: nn.Sequential) -> None:
    adapters, x = LowRankAdapters(mlp, ["0", "2"], rank=2), torch.randn(5, 6)
    with adapters.applied_to(mlp) as adapted:
        assert torch.equal(adapted(x), mlp(x))


def test_trained_adapters_equal_merged_weights(mlp: nn.Sequential) -> None:
    adapters, x = LowRankAdapters(mlp, ["0", "2"], rank=2), torch.randn(5, 6)
    plain = mlp(x)
    for delta in adapters.deltas:
        nn.init.normal_(delta.up)
    with adapters.applied_to(mlp):
        adapted = mlp(x)
    assert torch.equal(mlp(x), plain)
    with torch.no_grad():
        for index, delta in zip((0, 2), adapters.deltas, strict=True):
            mlp[index].weight += delta.up @ delta.down
    torch.testing.assert_close(adapted, mlp(x))


def test_an_error_inside_the_block_leaves_no_trace(mlp: nn.Sequential) -> None:
    adapters = LowRankAdapters(mlp, ["0"], rank=2)
    nn.init.normal_(adapters.deltas[0].up)
    x = torch.randn(5, 6)
    plain = mlp(x)
    with pytest.raises(RuntimeError), adapters.applied_to(mlp):
        mlp(torch.randn(5, 7))
    assert torch.equal(mlp(x), plain)


def test_a_linear_map_itself_can_be_adapted() -> None:
    linear = nn.Linear(3, 3)
    adapters = LowRankAdapters(linear, [""], rank=1)
    nn.init.ones_(adapters.deltas[0].up)
    x = torch.randn(2, 3)
    with adapters.applied_to(linear):
        assert not torch.equal(linear(x), nn.functional.linear(x, linear.weight, linear.bias))


@pytest.mark.parametrize("rank", [0, 5], ids=["zero", "above the width"])
def test_ranks_that_do_not_fit_are_refused(mlp: nn.Sequential, rank: int) -> None:
    with pytest.raises(ValueError, match="choose 1 to 4"):
        LowRankAdapters(mlp, ["2"], rank=rank)


def test_only_linear_maps_can_be_adapted(mlp: nn.Sequential) -> None:
    with pytest.raises(TypeError, match="only linear maps"):
        LowRankAdapters(mlp, ["1"], rank=1)
