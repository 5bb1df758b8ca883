"""The order of examples in training: random, with examples of about the same length together."""

from __future__ import annotations

import numpy as np

from moltc.backbone.loading import ResumableBatches


class LengthBatches(ResumableBatches):
    """Batches of row numbers, a function of (seed, epoch) alone.

    Shuffled rows are taken ``pool`` batches at a time and sorted by length within the pool, so that a batch
    holds rows of about one length; then the batches are shuffled. They differ in size by at most one row, and
    none is left out.

    Parameters
    ----------
    rows, tokens : int64 [n], the rows and their lengths.
    batch_size : rows of a global batch.
    pool : batches that are sorted together; 1: no sorting, the order is random alone.
    shuffle : new order each epoch; False: the rows as they are.
    epoch_stride : added to every row once for each epoch before this one, so that a collator can tell epochs
        apart.

    Raises
    ------
    ValueError : batch size or pool is below 1.
    """

    def __init__(
        self,
        rows: np.ndarray,
        tokens: np.ndarray,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool,
        pool: int = 1,
        epoch_stride: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("pool", pool)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        self.rows, self.tokens, self.batch_size = rows, tokens, batch_size
        self.seed, self.shuffle, self.pool, self.epoch_stride = seed, shuffle, pool, epoch_stride

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def epoch_batches(self) -> list[np.ndarray]:
        """The global batches of the epoch, the epoch itself in their numbers."""
        rows = self.rows + self.epoch_stride * self.epoch
        if not self.shuffle:
            return np.array_split(rows, len(self))
        rng = np.random.default_rng([self.seed, self.epoch])
        batches = np.array_split(rng.permutation(len(rows)), len(self))
        if self.pool > 1:
            pools = [batches[at : at + self.pool] for at in range(0, len(batches), self.pool)]
            batches = [batch for pool in pools for batch in self._sorted(pool)]
            batches = [batches[at] for at in rng.permutation(len(batches))]
        return [rows[places] for places in batches]

    def _sorted(self, pool: list[np.ndarray]) -> list[np.ndarray]:
        """The same places, in batches of the same sizes, by length."""
        places = np.concatenate(pool)
        ordered = places[np.argsort(self.tokens[places], kind="stable")]
        return np.split(ordered, np.cumsum([len(batch) for batch in pool])[:-1])
