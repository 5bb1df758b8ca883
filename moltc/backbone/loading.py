"""Loaders whose batches are a function of (seed, epoch), and that go on exactly where they stopped."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Self, TypeVar

import numpy as np
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset, Sampler

from moltc.backbone.shipping import Shipped, unpacked

Batch = TypeVar("Batch")


class ResumableBatches(Sampler[list[int]]):
    """Batches of row numbers; with several processes each takes every n-th row of the global batch.

    Attributes
    ----------
    epoch : whose batches come next.
    start : batches of it that are passed over.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.start = 0

    @abstractmethod
    def epoch_batches(self) -> Sequence[np.ndarray]:
        """The global batches of epoch :attr:`epoch`, int64 each."""

    @abstractmethod
    def __len__(self) -> int:
        """Batches of an epoch."""

    @property
    def sampler(self) -> Self:
        """The object that trainers call ``set_epoch`` on."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the coming epoch; only the epoch that was resumed starts midway."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def __iter__(self) -> Iterator[list[int]]:
        batches = self.epoch_batches()
        rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        start, self.start = self.start, 0
        for batch in batches[start:]:
            if len(batch) < world:
                raise ValueError(
                    f"a global batch of {len(batch)} rows cannot feed {world} processes; use fewer"
                )
            yield batch[rank::world].tolist()


class _Numbers(Dataset):
    """Row numbers as a data set: the collator reads the table itself."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


class ResumableLoader(Generic[Batch]):
    """A loader that knows how many batches of the epoch it has given out, and can begin after them.

    Parameters
    ----------
    batch_sampler : the order of rows.
    size : row numbers run up to this.
    collate : makes a batch from row numbers.
    workers : data processes.
    """

    def __init__(
        self,
        batch_sampler: ResumableBatches,
        size: int,
        collate: Callable[[list[int]], Batch],
        workers: int = 0,
    ) -> None:
        self.batch_sampler = batch_sampler
        self.collate = collate
        self.given = 0
        self._loader = DataLoader(
            _Numbers(size),
            batch_sampler=batch_sampler,
            collate_fn=Shipped(collate) if workers else collate,
            num_workers=workers,
            persistent_workers=workers > 0,
        )

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        self.given = self.batch_sampler.start
        for batch in self._loader:
            self.given += 1
            yield unpacked(batch) if self._loader.num_workers else batch

    def state_dict(self) -> dict[str, int]:
        """Where the epoch stands."""
        return {"epoch": self.batch_sampler.epoch, "given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after ``given`` batches of that epoch."""
        self.batch_sampler.epoch = state["epoch"]
        self.batch_sampler.start = state["given"] % len(self.batch_sampler)
