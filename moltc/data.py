"""The data module: batches whose order depends on seed and epoch only, and that go on exactly where they
stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import lightning
import numpy as np
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset, Sampler

from moltc.collate import SPLITS, PairBatch, PairCollator, PairTable


class _Rows(Dataset):
    """Row numbers as a data set: the collator reads the table itself."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


class EpochBatches(Sampler[list[int]]):
    """Batches of row numbers, a function of (seed, epoch) alone.

    Batches differ in size by at most one row, so none is too small for batch statistics and no row is left
    out. With several processes each takes every n-th row of the global batch.

    Parameters
    ----------
    rows : int64, the rows of the split.
    batch_size : rows of the global batch.
    shuffle : new order each epoch.
    exchange : number of rows of the whole table when rows are to be exchanged (``row + exchange``) with
        probability 0.5 in each epoch, else 0.
    epoch_stride : added to every row once for each epoch before this one, so that a collator can tell
        epochs apart; 0: not.
    """

    def __init__(
        self,
        rows: np.ndarray,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool,
        exchange: int = 0,
        epoch_stride: int = 0,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.rows, self.batch_size, self.seed = rows, batch_size, seed
        self.shuffle, self.exchange, self.epoch_stride = shuffle, exchange, epoch_stride
        self.epoch = 0
        self.start = 0

    @property
    def sampler(self) -> EpochBatches:
        """The object that trainers call ``set_epoch`` on."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the coming epoch; only the epoch that was resumed starts midway."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        rows = self.rows
        if self.shuffle:
            rng = np.random.default_rng([self.seed, self.epoch])
            rows = rng.permutation(rows)
            if self.exchange:
                rows = rows + self.exchange * rng.integers(0, 2, size=len(rows))
        rows = rows + self.epoch_stride * self.epoch
        rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        start, self.start = self.start, 0
        for batch in np.array_split(rows, len(self))[start:]:
            if len(batch) < world:
                raise ValueError(
                    f"a global batch of {len(batch)} rows cannot feed {world} processes; use fewer"
                )
            yield batch[rank::world].tolist()


class ResumableLoader:
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
        batch_sampler: EpochBatches,
        size: int,
        collate: Callable[[list[int]], PairBatch],
        workers: int = 0,
    ) -> None:
        self.batch_sampler = batch_sampler
        self.collate = collate
        self.given = 0
        self._loader = DataLoader(
            _Rows(size),
            batch_sampler=batch_sampler,
            collate_fn=collate,
            num_workers=workers,
            persistent_workers=workers > 0,
        )

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[PairBatch]:
        self.given = self.batch_sampler.start
        for batch in self._loader:
            self.given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where the epoch stands."""
        return {"epoch": self.batch_sampler.epoch, "given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after ``given`` batches of that epoch."""
        self.batch_sampler.epoch = state["epoch"]
        self.batch_sampler.start = state["given"] % len(self.batch_sampler)


class PairDataModule(lightning.LightningDataModule):
    """Pairs of one task from a folder that ``data-prep`` wrote.

    Parameters
    ----------
    folder : holds pairs.parquet, molecules.parquet and graphs.safetensors.
    batch_size : pairs of a global batch in training.
    eval_batch_size : pairs of a batch when answering.
    num_workers : data processes; 0 makes batches in the training process.
    seed : of the order of rows.
    label_noise : noise on the answers that are written as training targets, drawn anew each epoch: it keeps a
        small model from learning them by heart. For numbers its standard deviation on the printed scale, for
        yes/no the probability of the other answer. The auxiliary head sees the labels as they are.
    max_train_pairs : use only the first pairs of a seeded shuffle of the training split (learning curves,
        dry runs).
    """

    def __init__(
        self,
        folder: str,
        batch_size: int = 128,
        eval_batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        label_noise: float = 0.0,
        max_train_pairs: int | None = None,
    ) -> None:
        super().__init__()
        if max_train_pairs is not None and max_train_pairs < 1:
            raise ValueError(
                f"max_train_pairs must be at least 1, not {max_train_pairs}; leave it out for all"
            )
        if label_noise < 0:
            raise ValueError(f"label_noise must not be negative, got {label_noise}")
        self.folder, self.label_noise = folder, label_noise
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.num_workers, self.seed, self.max_train_pairs = num_workers, seed, max_train_pairs
        self.table: PairTable | None = None
        self.make_collator: Callable[..., PairCollator] | None = None
        self._train: ResumableLoader | None = None
        self._resumed: dict[str, int] = {}

    def setup(self, stage: str | None = None) -> None:
        """Open the tables (memory-mapped; nothing is copied per process)."""
        if self.table is None:
            self.table = PairTable.load(self.folder)
        for split in SPLITS if stage == "fit" else ():  # a missing one would be noticed after training
            self.rows(split)

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split; an empty split is an error that says which are there."""
        assert self.table is not None
        rows = self.table.rows(split)
        if not len(rows):
            there = ", ".join(f"{s}: {len(self.table.rows(s))}" for s in SPLITS)
            raise ValueError(
                f"{self.folder} has no pairs in split {split} ({there}); build it with another split"
            )
        if split == "train" and self.max_train_pairs is not None:
            order = np.random.default_rng(self.seed).permutation(len(rows))
            rows = np.sort(rows[order[: self.max_train_pairs]])
        return rows

    def loader(self, split: str, *, train: bool, targets: bool) -> ResumableLoader:
        """Batches of a split: shuffled and exchanged in training, in both orders when answering."""
        assert self.table is not None
        if self.make_collator is None:
            raise RuntimeError("the module was not set up: its prompt writer makes the batches")
        collate = self.make_collator(self.table, targets=targets, both_orders=not train)
        if train and self.label_noise:
            if not collate.writer.task.is_number and self.label_noise >= 0.5:
                raise ValueError(f"label_noise {self.label_noise} turns yes into no: stay below 0.5")
            collate.label_noise, collate.seed = self.label_noise, self.seed
        batches = EpochBatches(
            self.rows(split),
            self.batch_size if train else self.eval_batch_size,
            seed=self.seed,
            shuffle=train,
            exchange=len(self.table) if train and collate.writer.task.kind.symmetric else 0,
            epoch_stride=2 * len(self.table) if train else 0,
        )
        return ResumableLoader(batches, 2 * len(self.table), collate, self.num_workers if train else 0)

    def train_dataloader(self) -> ResumableLoader:
        self._train = self.loader("train", train=True, targets=True)
        if self._resumed:
            self._train.load_state_dict(self._resumed)
            self._resumed = {}
        return self._train

    def val_dataloader(self) -> ResumableLoader:
        return self.loader("valid", train=False, targets=True)

    def test_dataloader(self) -> list[ResumableLoader]:
        """The valid split, on which calibration is fitted, then the test split."""
        return [self.loader(split, train=False, targets=True) for split in ("valid", "test")]

    def predict_dataloader(self) -> ResumableLoader:
        return self.loader("test", train=False, targets=False)

    def state_dict(self) -> dict[str, int]:
        """Where the training epoch stands; kept with every checkpoint."""
        return {} if self._train is None else self._train.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from there; a trainer may ask for the loader before or after this."""
        if self._train is None:
            self._resumed = state_dict
        else:
            self._train.load_state_dict(state_dict)

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        return batch.to(device)
