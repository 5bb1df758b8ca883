"""Two processes give the results of one: every row is answered once, and all ranks know the same score."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from tiny_pairs import arguments, callback, write_pairs

from moltc.cli import main
from moltc.shards import read_predictions

SUPPORT = Path(__file__).parents[1] / "support"

pytestmark = pytest.mark.distributed


def test_two_processes_answer_every_row_together(tmp_path):
    """Promise: fit, test and export under DDP report on the whole split; the validation score, which chooses
    the weights, is that of all pairs on every rank."""
    folder = write_pairs(tmp_path / "pairs", "solvation")
    options = {
        "trainer__devices": 2,
        "trainer__strategy": "ddp_find_unused_parameters_true",
        "trainer__max_epochs": 1,
        "trainer__callbacks": callback("RankScores", folder=str(tmp_path)),
        "data__eval_batch_size": 3,
    }
    done = subprocess.run(  # the first process starts the second one itself
        [sys.executable, "-m", "moltc.cli", *arguments("fit", folder, tmp_path / "run", **options)],
        env=os.environ | {"PYTHONPATH": str(SUPPORT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert {"val/rmse", "val/nll"} <= first.keys()

    table = pl.read_parquet(folder / "pairs.parquet").filter(pl.col("split") == "test")
    found = pl.read_parquet(tmp_path / "run/test/predictions.parquet")
    assert found["pair_id"].to_list() == table["pair_id"].to_list()
    assert found["truth"].to_list() == pytest.approx(table["label"].to_list())
    results = json.loads((tmp_path / "run/test/metrics.json").read_text())
    rmse = ((found["value"] - found["truth"]) ** 2).mean() ** 0.5
    assert results["metrics"]["rmse"]["value"] == pytest.approx(rmse)
    assert "MolTC, written freely (4 pairs)" in results["baselines"]

    # one process scores and answers as two did
    best = tmp_path / "run/checkpoints/best.ckpt"
    alone = {"data__eval_batch_size": 3, "ckpt_path": best}
    assert main(arguments("predict", folder, tmp_path / "alone", **alone)) == 0
    again = read_predictions(tmp_path / "alone/predictions").collect()
    assert again["text"].equals(found["text"])
