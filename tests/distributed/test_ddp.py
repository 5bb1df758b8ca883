"""Two processes train as one does on the same global batches: losses, validation and weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
from parallel_norms import compare_norms
from parallel_runs import assert_same, train
from processes import together
from tiny_pairs import POOLED, QFORMER, build, tiny_config, train_batch

from moltc.optim import OptimConfig
from moltc.pair_table import PairTable
from moltc.pair_towers import PairHeadConfig

pytestmark = pytest.mark.distributed
HEAD = PairHeadConfig(weight=1.0, pair_tokens=1)


def test_batch_norm_and_means_over_processes_are_those_of_one(tmp_path):
    """Promise: outputs, running statistics and gradients are those of all distinct rows in one process."""
    together(compare_norms, logs=tmp_path)


@pytest.mark.parametrize(
    ("families", "config", "optim"),
    [
        pytest.param(
            ("solvation",),
            tiny_config(head=HEAD),
            OptimConfig(pretrain_epochs=1),
            id="head-pair-tokens-towers-first",
        ),
        pytest.param(
            ("ddi",),
            tiny_config(towers=replace(POOLED, duplicate=("gnn", "proj")), head=PairHeadConfig(weight=1.0)),
            OptimConfig(),
            id="symmetric-own-encoders",
        ),
        pytest.param(
            ("solvation", "ddi"),
            tiny_config(towers=replace(QFORMER, freeze=("gnn",))),
            OptimConfig(),
            id="joint-frozen-encoder",
        ),
    ],
)
def test_two_processes_train_as_one(pairs_folder, tmp_path, families, config, optim):
    """Promise: with the same global batches, which two processes share out unevenly, the loss of each step,
    the validation scores and the final weights are those of one process; parameters that a step leaves out
    need no option."""
    folders = [str(pairs_folder(family)) for family in families]
    run = {"config": config, "module": {"optim": optim}, "data": {"folder": folders}}
    train(run, tmp_path / "one")
    together(train, run | {"trainer": {"devices": 2, "strategy": "ddp"}}, tmp_path / "two", logs=tmp_path)
    assert_same(tmp_path / "two", tmp_path / "one")


@pytest.mark.parametrize("sharing", ["by_role", "tied", "by_slot", "adapter"])
@pytest.mark.parametrize("towers", [POOLED, QFORMER], ids=["pooled", "qformer"])
def test_a_step_on_one_task_uses_every_parameter(pairs_folder, towers, sharing):
    """Promise: DDP need not look for unused parameters where one task is trained throughout."""
    table = PairTable.load(pairs_folder("ddi" if sharing == "tied" else "solvation"))
    model = build(tiny_config(towers=replace(towers, sharing=sharing), head=HEAD), table).train()
    model.losses(train_batch(model, table, range(8)))["loss"].backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
