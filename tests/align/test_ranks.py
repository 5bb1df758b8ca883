"""Joining the parts of several processes: simulated, and with two real ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from preference_batches import policy_gradient, random_batch, uneven_parts, with_gradient

from align.gap_statistics import FRESH
from align.loss_config import PreferenceLossConfig, build_loss
from align.objective import Step
from align.preferences import concatenate
from align.ranks import OneProcess, SimulatedRanks

SUPPORT = Path(__file__).parents[1] / "support"
METHODS = ("alpha_dpo", "beta_dpo", "dr_dpo", "sdpo")

# each process holds one part, and writes loss, gradient and state of each method
WORKER = """
import json, sys
import torch, torch.distributed as dist
from preference_batches import policy_gradient, uneven_parts, with_gradient
from align.gap_statistics import FRESH
from align.loss_config import PreferenceLossConfig, build_loss
from align.objective import Step
from align.ranks import DistributedRanks

rank, store, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
found = {}
for method in sys.argv[4:]:
    part = with_gradient(uneven_parts()[rank])
    output = build_loss(PreferenceLossConfig(method=method))(
        part, FRESH, Step(key=(0, 1), ranks=DistributedRanks())
    )
    output.loss.backward()
    found[method] = [output.loss.item(), policy_gradient(part).tolist(), output.state]
json.dump(found, open(out, "w"))
dist.destroy_process_group()
"""


def test_one_process_joins_itself() -> None:
    batch = random_batch()
    joined = OneProcess().join(batch)
    assert joined.whole is batch and joined.own == slice(0, 6)


def test_only_ones_own_rows_carry_a_gradient() -> None:
    parts = [with_gradient(random_batch(rows=2, seed=seed)) for seed in range(3)]
    joined = SimulatedRanks(parts, 1).join(parts[1])
    assert joined.own == slice(2, 4)
    joined.whole.policy.sum().backward()
    assert policy_gradient(parts[1]).eq(1).all()
    assert parts[0].policy.grad is None and parts[2].policy.grad is None


@pytest.mark.distributed
def test_two_processes_equal_one(tmp_path: Path) -> None:
    outs = [tmp_path / f"rank{rank}.json" for rank in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), str(tmp_path / "store"), str(out), *METHODS],
            env={"PYTHONPATH": f"{SUPPORT}:{Path(__file__).parents[2]}", "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    ranks = [json.loads(out.read_text()) for out in outs]
    for method in METHODS:
        batch = with_gradient(concatenate(uneven_parts()))
        alone = build_loss(PreferenceLossConfig(method=method))(batch, FRESH, Step(key=(0, 1)))
        alone.loss.backward()
        found = [torch.tensor(rank[method][1], dtype=torch.float64) / 2 for rank in ranks]
        torch.testing.assert_close(found[0], policy_gradient(batch)[:2])
        torch.testing.assert_close(found[1], policy_gradient(batch)[2:, :2])
        for loss, _, state in (rank[method] for rank in ranks):
            assert loss == pytest.approx(alone.loss.item())
            assert state == pytest.approx(list(alone.state))
