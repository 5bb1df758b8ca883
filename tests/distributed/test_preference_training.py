"""Two processes train on preferences as one does: the same losses and statistics, whatever is coupled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import together
from tiny_preferences import Poison, data, fit_and_tell, learner, trainer, write_llama, write_records

from align.loss_config import PreferenceLossConfig
from align.optim import OptimConfig
from align.reference import ReferenceConfig
from moltc.backbone.language_model import LanguageModelConfig

pytestmark = pytest.mark.distributed

CASES = {
    "alpha_dpo": ("pair", None),
    "beta_dpo": ("pair", 3),
    "dr_dpo": ("pair", 1),
    "sdpo": ("list", 3),
    "kto": ("unpaired", 3),
}
TIMES = ("train/pairs_per_second", "train/tokens_per_second")


@pytest.mark.parametrize("method", CASES)
def test_two_processes_train_as_one(method: str, tmp_path: Path) -> None:
    """Promise: shared rows, micro-batches of any number in each process, one cached reference file."""
    kind, micro = CASES[method]
    file = write_records(tmp_path / "records.jsonl", kind)
    # another model as reference: the first gaps of a policy that is its own reference are rounding errors
    models = [write_llama(tmp_path / f"llama{seed}", seed) for seed in (1, 2)]
    told = {}
    for name, cut in (("one", None), ("two", micro)):
        optim = OptimConfig(lr=1e-3, name="rmsprop", micro_batch=cut)
        settings = {
            "language_model": LanguageModelConfig(name=models[0]),
            "reference": ReferenceConfig("model", models[1]),
            "loss": PreferenceLossConfig(method=method),
            "optim": optim,
        }
        root = tmp_path / name
        root.mkdir()
        if name == "one":
            fit_and_tell(file, root, settings, "auto")
        else:
            together(fit_and_tell, file, root, settings, "ddp", logs=root / "logs")
        told[name] = json.loads((root / "rank0.json").read_text())
    other = json.loads((tmp_path / "two/rank1.json").read_text())
    one, two = told["one"], told["two"]
    assert other["validations"] == two["validations"]
    assert other["state"] == two["state"]
    assert two["state"] == pytest.approx(one["state"], rel=1e-3, abs=1e-4)
    assert len(one["steps"]) == len(two["steps"]) == 5
    for ours, theirs in zip(
        one["steps"] + one["validations"], two["steps"] + two["validations"], strict=True
    ):
        assert ours.keys() == theirs.keys()
        known = [name for name in ours if name not in TIMES]
        assert [theirs[n] for n in known] == pytest.approx([ours[n] for n in known], rel=5e-3, abs=2e-3)
    assert (tmp_path / "two/reference/logps.safetensors").is_file()


def poisoned(file: Path, root: Path) -> int:
    """One rank meets a loss that is not a number; both must skip the step."""
    made = learner(loss=PreferenceLossConfig(), optim=OptimConfig(lr=1e-3))
    run = trainer(root, devices=2, strategy="ddp", callbacks=[OnOneRank([1])])
    run.fit(made, data(file))
    (root / f"rank{made.global_rank}.json").write_text(json.dumps([made.skipped_steps, run.global_step]))
    return 0


class OnOneRank(Poison):
    """Poison for the second rank alone."""

    def on_train_batch_start(self, trainer, module, batch, number) -> None:
        if module.global_rank == 1:
            super().on_train_batch_start(trainer, module, batch, number)

    def on_train_batch_end(self, trainer, module, outputs, batch, number) -> None:
        if module.global_rank == 1:
            super().on_train_batch_end(trainer, module, outputs, batch, number)


def test_a_loss_that_is_not_finite_skips_the_step_on_all_ranks(tmp_path: Path) -> None:
    file = write_records(tmp_path / "records.jsonl")
    together(poisoned, file, tmp_path, logs=tmp_path / "logs")
    told = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert told == [[1, 4], [1, 4]]
