"""What the processes of a run tell each other, beyond the rows of a batch (:mod:`align.ranks`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from align.ranks import ONE_PROCESS, DistributedRanks, Ranks
from moltc.backbone.processes import num_processes

T = TypeVar("T")


def current_ranks() -> Ranks:
    """The processes that train together."""
    return ONE_PROCESS if num_processes() == 1 else DistributedRanks()


def gathered(item: T) -> list[T]:
    """What every process holds, in order of rank; called by all at the same time."""
    if num_processes() == 1:
        return [item]
    parts: list[Any] = [None] * num_processes()
    dist.all_gather_object(parts, item)
    return parts


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average gradients over processes, in one message for each type; a missing one counts as zero.

    Processes may have back-propagated different numbers of micro-batches, none included.
    """
    if num_processes() == 1:
        return
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        by_type.setdefault(parameter.grad.dtype, []).append(parameter.grad)
    for gradients in by_type.values():
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        flat /= num_processes()
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))
