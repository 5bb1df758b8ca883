"""FSDP2 on two CPU processes: weights are spread, training is that of one process, files are its files."""

from __future__ import annotations

import json

import polars as pl
import pytest
from parallel_runs import assert_same, train
from processes import moltc_together, together
from tiny_pairs import arguments, tiny_config

from moltc.cli import main
from moltc.optim import OptimConfig
from moltc.pair_towers import PairHeadConfig
from moltc.predictor import PairPredictor
from moltc.shards import read_predictions

pytestmark = pytest.mark.distributed
SHARDED = {"devices": 2, "strategy": "fsdp2"}


@pytest.fixture(scope="module")
def run(pairs_folder):
    """A run in float64 whose first epoch trains towers and head alone."""
    head = PairHeadConfig(weight=1.0, pair_tokens=1)
    return {
        "config": tiny_config(head=head),
        "module": {"optim": OptimConfig(pretrain_epochs=1)},
        "data": {"folder": str(pairs_folder("solvation"))},
    }


@pytest.fixture(scope="module")
def alone(run, tmp_path_factory):
    """Folder of the run in one process."""
    folder = tmp_path_factory.mktemp("alone")
    train(run, folder)
    return folder


def test_sharded_training_is_that_of_one_process(run, alone, tmp_path):
    """Promise: each process holds half of the weights; losses, validation and final weights are those of one
    process."""
    sharded = run | {"trainer": SHARDED}
    together(train, sharded, tmp_path / "whole", logs=tmp_path / "logs")
    assert_same(tmp_path / "whole", alone)
    assert json.loads((tmp_path / "whole/losses.json").read_text())["share"] == pytest.approx(0.5, abs=0.02)


def test_checkpoint_of_a_sharded_run_is_resumed_anywhere(run, alone, tmp_path):
    """Promise: a run that crashed goes on, sharded or in one process, as if nothing had happened."""
    stop = 7
    sharded = run | {"trainer": SHARDED}
    together(train, sharded, tmp_path / "sharded", None, stop, logs=tmp_path / "logs")
    assert_same(tmp_path / "sharded", alone, first=stop)
    train(run, tmp_path / "one", resume=tmp_path / "sharded/crashed.ckpt")
    assert_same(tmp_path / "one", alone, first=stop)


def test_command_line_run_is_tested_exported_and_asked(pairs_folder, tmp_path):
    """Promise: fit under fsdp2 leaves what a run in one process leaves, and one process reads it."""
    folder, root = pairs_folder("solvation"), tmp_path / "run"
    sharded = {"trainer__devices": 2, "trainer__strategy": "fsdp2"}
    moltc_together(arguments("fit", folder, root, **sharded), logs=tmp_path / "logs")
    expected = pl.read_parquet(root / "test/predictions.parquet")
    best = root / "checkpoints/best.ckpt"
    assert main(arguments("predict", folder, tmp_path / "one", ckpt_path=best)) == 0
    found = read_predictions(tmp_path / "one/predictions").collect()
    assert found["text"].equals(expected["text"])
    predictor = PairPredictor.from_pretrained(root / "export")
    answers = predictor.predict(list(expected.select("smiles_a", "smiles_b").iter_rows()))
    assert [answer.text for answer in answers] == expected["text"].to_list()
