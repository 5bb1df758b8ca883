"""The fitted part as batches of one epoch after another, and where in it a run stands."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import lightning

from graphrec.histories import Histories

if TYPE_CHECKING:
    from graphrec.neural import NeuralRecommender


class EpochBatches:
    """Batches of an epoch, as Lightning asks for them; the first epoch can begin midway.

    Args:
        recommender: makes the batches, as a pure function of (train, epoch, seed).
        train: what they are made from.
        seed: of their order.

    Attributes:
        epoch: whose batches come next.
        given: batches of it that were given out.
    """

    def __init__(self, recommender: NeuralRecommender, train: Histories, seed: int) -> None:
        self.recommender, self.train, self.seed = recommender, train, seed
        self.epoch = self.given = self._skipped = 0
        self._length = recommender.num_batches(train)
        if self._length < 1:
            raise ValueError(
                f"{recommender.name} makes no batch of these {len(train)} sequences: give longer sequences, "
                "or a smaller batch"
            )

    @property
    def sampler(self) -> EpochBatches:
        """The object that trainers call ``set_epoch`` on."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the coming epoch; only the one that was resumed starts midway."""
        if epoch != self.epoch:
            self.epoch, self._skipped = epoch, 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        self.given, self._skipped = self._skipped, 0
        batches = self.recommender.batches(self.train, self.epoch, self.seed)
        for batch in itertools.islice(batches, self.given, None):
            self.given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where the epoch stands; kept with every checkpoint."""
        return {"epoch": self.epoch, "given": self.given}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on after the batches that were given."""
        self.epoch, self._skipped = state_dict["epoch"], state_dict["given"] % len(self)


class TrainingData(lightning.LightningDataModule):
    """What a trainer iterates over; validation is one step, in which the module ranks all rows."""

    def __init__(self, recommender: NeuralRecommender, train: Histories, seed: int) -> None:
        super().__init__()
        self.train_batches = EpochBatches(recommender, train, seed)

    def train_dataloader(self) -> EpochBatches:
        return self.train_batches

    def val_dataloader(self) -> list[int]:
        return [0]

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        return batch.to(device) if hasattr(batch, "to") else batch
