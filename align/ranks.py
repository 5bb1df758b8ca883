"""One batch of preferences out of the parts that several processes hold.

The vectors of a batch are a few numbers per example, so every process gets all of them and computes the same
loss; only its own part carries a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from align.preferences import Preferences, concatenate


class Joined(NamedTuple):
    """The whole batch, rank after rank, and where this process's rows stand in it."""

    whole: Preferences
    own: slice


class Ranks(Protocol):
    """The processes that share an optimiser step."""

    @property
    def world_size(self) -> int:
        """How many there are."""

    def join(self, batch: Preferences) -> Joined:
        """All processes' rows, without gradient except for one's own; called by all at the same time."""


class OneProcess:
    """No other process."""

    world_size = 1

    def join(self, batch: Preferences) -> Joined:
        return Joined(batch, slice(0, len(batch)))


ONE_PROCESS = OneProcess()


@dataclass(frozen=True)
class SimulatedRanks:
    """One process that stands for ``rank`` among several, all of whose parts are at hand."""

    parts: Sequence[Preferences]
    rank: int

    @property
    def world_size(self) -> int:
        return len(self.parts)

    def join(self, batch: Preferences) -> Joined:
        parts = [part.detached() for part in self.parts]
        return join_parts([*parts[: self.rank], batch, *parts[self.rank + 1 :]], self.rank)


@dataclass(frozen=True)
class DistributedRanks:
    """The processes of a ``torch.distributed`` group (default: all)."""

    group: dist.ProcessGroup | None = None

    @property
    def world_size(self) -> int:
        return dist.get_world_size(self.group)

    def join(self, batch: Preferences) -> Joined:
        batch = batch.with_mask()
        names = [name for name, value in vars(batch).items() if value is not None]
        device = batch.policy.device
        mine = torch.tensor(batch.policy.shape, device=device)
        shapes = [torch.empty_like(mine) for _ in range(self.world_size)]
        dist.all_gather(shapes, mine, group=self.group)
        rows, width = (int(size) for size in torch.stack(shapes).amax(0))
        gathered = {name: self._gather(getattr(batch, name).detach(), rows, width) for name in names}
        rank = dist.get_rank(self.group)
        parts = [
            Preferences(
                **{
                    name: values[r][:n, :w] if values[r].ndim == 2 else values[r][:n]
                    for name, values in gathered.items()
                }
            )
            for r, (n, w) in enumerate(shape.tolist() for shape in shapes)
        ]
        parts[rank] = batch
        return join_parts(parts, rank)

    def _gather(self, values: Tensor, rows: int, width: int) -> list[Tensor]:
        padded = values.new_zeros((rows, width)[: values.ndim])
        padded[tuple(slice(0, size) for size in values.shape)] = values
        received = [torch.empty_like(padded) for _ in range(self.world_size)]
        dist.all_gather(received, padded, group=self.group)
        return received


def join_parts(parts: Sequence[Preferences], rank: int) -> Joined:
    """Concatenate the parts of all ranks."""
    start = sum(len(part) for part in parts[:rank])
    return Joined(concatenate(parts), slice(start, start + len(parts[rank])))
