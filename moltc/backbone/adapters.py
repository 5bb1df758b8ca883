"""Low-rank adapters that let several towers share the weights of one module.

LoRA, Hu et al. 2021 (arXiv 2106.09685): W x becomes W x + B A x with B zero at the start. Here an adapter is
in force only inside a ``with`` block, so that one shared module can serve each tower with that tower's own
adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class LowRankDelta(nn.Module):
    """What a low-rank adapter adds to a linear map: x -> B A x, zero until trained.

    Raises
    ------
    ValueError : the rank is not between 1 and the smaller width of the linear map.
    """

    def __init__(self, in_features: int, out_features: int, rank: int) -> None:
        super().__init__()
        if not 1 <= rank <= min(in_features, out_features):
            raise ValueError(
                f"adapter_rank {rank} does not fit a linear map {in_features} -> {out_features}: "
                f"choose 1 to {min(in_features, out_features)}, or 0 for no adapters"
            )
        self.down = nn.Parameter(torch.empty(rank, in_features))
        self.up = nn.Parameter(torch.zeros(out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features]."""
        return F.linear(F.linear(x, self.down), self.up)


class LowRankAdapters(nn.Module):
    """Low-rank deltas for some linear maps of a module, by their names in it ("" is the module itself)."""

    def __init__(self, module: nn.Module, targets: Sequence[str], rank: int) -> None:
        super().__init__()
        self.targets = tuple(targets)
        linears = [module.get_submodule(name) for name in self.targets]
        self.deltas = nn.ModuleList(
            LowRankDelta(linear.in_features, linear.out_features, rank)
            for linear in linears
            if isinstance(linear, nn.Linear)
        )
        if len(self.deltas) != len(self.targets):
            raise TypeError("only linear maps can be adapted: " + ", ".join(self.targets))

    @contextmanager
    def applied_to(self, module: M) -> Iterator[M]:
        """Within the block, the named linear maps of ``module`` add these deltas to their outputs.

        The module's own weights are not touched. A module may serve one block at a time in a process, and a
        forward pass that is recomputed later (activation checkpointing) must be recomputed inside its block.
        """
        handles = [
            module.get_submodule(name).register_forward_hook(_adding(delta))
            for name, delta in zip(self.targets, self.deltas, strict=True)
        ]
        try:
            yield module
        finally:
            for handle in handles:
                handle.remove()


def _adding(delta: nn.Module) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + delta(inputs[0])

    return hook
