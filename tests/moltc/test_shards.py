"""Shards of predictions in one process (several: tests/distributed)."""

from __future__ import annotations

import polars as pl
import pytest
from tiny_pairs import data, module, tiny_config, trainer

from data_prep.errors import DataError
from moltc.data import PairDataModule
from moltc.shards import PredictionShards, read_predictions


def test_memory_is_bounded_and_the_new_folder_replaces_the_old(pairs_folder, tmp_path):
    """Promise: a shard holds at most its rows and one batch; nothing of an earlier prediction stays."""
    old = tmp_path / "predictions"
    old.mkdir()
    (old / "part-0000-00099.parquet").touch()
    shards = PredictionShards(old, shard_rows=4)
    learner = module(tiny_config())
    pairs = data(pairs_folder("solvation"), eval_batch_size=3, predict_split="train")
    runner = trainer(tmp_path, callbacks=[shards])
    assert runner.predict(learner, datamodule=pairs, return_predictions=False) is None
    sizes = [len(pl.read_parquet(file)) for file in sorted(old.iterdir())]
    assert sum(sizes) == shards.written == 32
    assert max(sizes) <= 6 and len(sizes) == 6
    table = pairs.table
    found = read_predictions(old).collect()
    assert found["row"].to_list() == table.rows("train").tolist()
    assert found["pair_id"].to_list() == table.pair_id[table.rows("train")].tolist()


def test_shards_of_no_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match="shard_rows must be at least 1, not 0"):
        PredictionShards(tmp_path, shard_rows=0)


def test_each_of_several_tasks_has_a_folder(pairs_folder, tmp_path):
    """Promise: shards of one folder have the columns of one task."""
    folder = tmp_path / "predictions"
    learner = module(tiny_config())
    pairs = PairDataModule([str(pairs_folder("solvation")), str(pairs_folder("ddi"))], eval_batch_size=5)
    runner = trainer(tmp_path, callbacks=[PredictionShards(folder)])
    runner.predict(learner, datamodule=pairs, return_predictions=False)
    assert sorted(part.name for part in folder.iterdir()) == sorted(learner.moltc.names)
    for number, name in enumerate(learner.moltc.names):
        found = read_predictions(folder, name).collect()
        assert found["row"].to_list() == pairs.table.rows("test", number).tolist()
    with pytest.raises(DataError, match="name a task: "):
        read_predictions(folder)
