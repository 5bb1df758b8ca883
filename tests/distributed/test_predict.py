"""Batch prediction over processes: each writes its own shards, and every row stands in one of them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from processes import moltc_together
from tiny_pairs import arguments

from data_prep.errors import DataError
from moltc.cli import main
from moltc.shards import read_predictions

pytestmark = pytest.mark.distributed


def test_two_processes_write_every_row_once(pairs_folder, tmp_path):
    """Promise: the shards of both processes together are the answers of one process, in order of the rows."""
    folder, best = pairs_folder("solvation"), tmp_path / "run/checkpoints/best.ckpt"
    assert main(arguments("fit", folder, tmp_path / "run")) == 0
    options = {"ckpt_path": best, "data__predict_split": "all", "data__eval_batch_size": 5}
    assert main(arguments("predict", folder, tmp_path / "one", **options)) == 0
    two = {"trainer__devices": 2, "trainer__strategy": "ddp"}
    moltc_together(arguments("predict", folder, tmp_path / "two", **options, **two), logs=tmp_path / "logs")

    shards = sorted((tmp_path / "two/predictions").iterdir())
    assert [shard.name for shard in shards] == ["part-0000-00000.parquet", "part-0001-00000.parquet"]
    parts = [pl.read_parquet(shard) for shard in shards]
    assert sorted(np.concatenate([part["row"] for part in parts])) == list(range(48))
    assert min(map(len, parts)) >= 20
    found, alone = (read_predictions(tmp_path / n / "predictions").collect() for n in ("two", "one"))
    assert found["row"].to_list() == list(range(48))
    assert found["pair_id"].equals(pl.read_parquet(folder / "pairs.parquet")["pair_id"])
    assert found["text"].equals(alone["text"])
    np.testing.assert_allclose(found["spread"], alone["spread"], atol=1e-4)
    assert not list((tmp_path / "two").glob(".*"))


def test_a_folder_without_shards_is_named(tmp_path):
    with pytest.raises(DataError, match="holds no part-.*run moltc predict first"):
        read_predictions(tmp_path)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/part-0000-00000.parquet").touch()
    with pytest.raises(DataError, match="name a task: tiny"):
        read_predictions(tmp_path)
