"""Predictions of many pairs as Parquet shards: each process writes its own, and nothing is gathered.

The folder takes its place when all processes are done, so it is whole or the one that was there before.
Memory is bounded by the rows of one shard. Shards of several tasks lie in a folder for each.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
from lightning.pytorch.callbacks import Callback

from data_prep.errors import DataError
from data_prep.tables import write_parquet
from moltc.collate import PairBatch
from moltc.evaluate import predictions
from moltc.module import Found

FOLDER = "predictions"
SHARD_ROWS = 50_000


class PredictionShards(Callback):
    """Writes what each process predicts to ``folder/part-PROCESS-NUMBER.parquet``.

    Columns are those of a test's predictions and, in front, ``row``: the row of the table of pairs.

    Parameters
    ----------
    folder : replaced as a whole when all is predicted.
    shard_rows : most rows that wait in memory, up to one batch.

    Attributes
    ----------
    written : rows that this process wrote.
    """

    def __init__(self, folder: Path, shard_rows: int = SHARD_ROWS) -> None:
        if shard_rows < 1:
            raise ValueError(f"shard_rows must be at least 1, not {shard_rows}")
        self.folder, self.shard_rows = folder, shard_rows
        self.unfinished = folder.with_name(f".{folder.name}.unfinished")
        self.written = 0
        self._waiting: list[pl.DataFrame] = []
        self._task = ""
        self._shards = 0

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.is_global_zero:
            shutil.rmtree(self.unfinished, ignore_errors=True)  # of a start that was killed
            self.unfinished.mkdir(parents=True)
        trainer.strategy.barrier()

    def on_predict_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Found,
        batch: PairBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        model, (rows, found) = pl_module.moltc, outputs
        task = model.tasks[batch.task].name if len(model.tasks) > 1 else ""
        if task != self._task:
            self._write(trainer.global_rank)
            self._task = task
        frame = predictions(pl_module.data.table, rows, pl_module.labels(rows), found, model)
        self._waiting.append(frame.insert_column(0, pl.Series("row", rows)))
        if sum(map(len, self._waiting)) >= self.shard_rows:
            self._write(trainer.global_rank)

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:
        self._write(trainer.global_rank)
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.unfinished.rename(self.folder)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        shutil.rmtree(self.unfinished, ignore_errors=True)

    def _write(self, rank: int) -> None:
        if not self._waiting:
            return
        shard = pl.concat(self._waiting)
        self._waiting = []
        name = f"part-{rank:04d}-{self._shards:05d}.parquet"
        write_parquet(shard, self.unfinished / self._task / name)
        self._shards += 1
        self.written += len(shard)


def read_predictions(folder: str | Path, task: str | None = None) -> pl.LazyFrame:
    """The shards of ``moltc predict`` as one lazy table, in the order of the table of pairs.

    Parameters
    ----------
    folder : ``RUN/predictions``.
    task : name of the task, where the model answers several.

    Raises
    ------
    DataError : there are no shards, or ``task`` is not one of those there.
    """
    place = Path(folder) / (task or "")
    if not any(place.glob("part-*.parquet")):
        tasks = sorted({file.parent.name for file in Path(folder).glob("*/part-*.parquet")})
        mend = f"name a task: {', '.join(tasks)}" if tasks else "run moltc predict first"
        raise DataError(f"{place} holds no part-*.parquet: {mend}")
    return pl.scan_parquet(place / "part-*.parquet").sort("row")
