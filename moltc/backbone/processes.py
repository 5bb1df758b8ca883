"""What several training processes need of each other: sums with gradients, means over all their rows.

Data parallelism averages the gradients of the processes. A loss that each process divides by its own number
of rows would then weigh rows by the process they are in; :func:`global_mean` is the mean over all rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

Mean = Callable[[Tensor], Tensor | None]
"""How values become a mean: :func:`own_mean` or :func:`global_mean`."""


def num_processes() -> int:
    """Processes that train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _Sum.apply(grads[0])


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum of a tensor of any shape, the same in all processes; gradients of all of them flow back."""
    return values if num_processes() == 1 else _Sum.apply(values)


def own_mean(values: Tensor) -> Tensor | None:
    """Mean of values [n]; None where there are none."""
    return values.mean() if values.numel() else None


def global_mean(values: Tensor) -> Tensor | None:
    """This process's part of the mean over the values [n] of all processes; None where none has any.

    The parts' average over the processes is that mean, and so is the average of their gradients. All
    processes must call it the same number of times.
    """
    if num_processes() == 1:
        return own_mean(values)
    count = torch.tensor(float(values.numel()), device=values.device)
    dist.all_reduce(count)
    total = float(count)
    return values.sum() * (num_processes() / total) if total else None


def holders(ids: Tensor) -> Tensor:
    """How many processes hold each of these distinct ids, long [n] -> long [n]; this one is counted."""
    length = torch.tensor(len(ids), device=ids.device)
    dist.all_reduce(length, op=dist.ReduceOp.MAX)
    mine = ids.new_full((int(length),), -1)
    mine[: len(ids)] = ids
    parts = [torch.empty_like(mine) for _ in range(num_processes())]
    dist.all_gather(parts, mine)
    known, counts = torch.cat(parts).unique(return_counts=True)  # ascending
    return counts[torch.searchsorted(known, ids)]
