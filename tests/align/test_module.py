"""Training on preferences: every method runs, learns and reports; what cannot be honoured is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tiny_preferences import Log, Poison, data, fit, learner, lora, trainer, write_llama, write_records

from align.loss_config import Method, PreferenceLossConfig
from align.module import NonFiniteLossError, PreferenceModule
from align.optim import OptimConfig, schedule
from align.reference import ReferenceConfig
from moltc.backbone.checkpoint import CheckpointError
from moltc.backbone.language_model import LanguageModelConfig, TinyConfig
from moltc.backbone.training import LastCheckpoint

FAST = OptimConfig(lr=3e-3)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("records")
    return lambda kind="pair": write_records(folder / f"{kind}.jsonl", kind)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_llama(tmp_path_factory.mktemp("llama"))


KINDS: dict[Method, str] = {"kto": "unpaired", "sdpo": "list", "alpha_dpo": "list"}


@pytest.mark.parametrize("method", ["dpo", "simpo", "orpo", "kto", "alpha_dpo", "beta_dpo", "dr_dpo", "sdpo"])
def test_every_method_learns(method: Method, file, tmp_path: Path) -> None:
    """Promise: validation sees the preference of the training examples come up."""
    settings = {"loss": PreferenceLossConfig(method=method), "optim": FAST}
    made, log = fit(file(KINDS.get(method, "pair")), tmp_path, settings, {}, max_epochs=2)
    first, last = log.steps[0], log.validations[-1]
    assert all(math.isfinite(value) for step in log.steps for value in step.values())
    assert last["val/loss"] < first["train/loss"]
    if method == "kto":
        assert last["val/rewards/chosen"] > last["val/rewards/rejected"]
    else:
        assert last["val/rewards/accuracies"] > 0.7
    assert made.skipped_steps == 0


def test_metrics_are_named_as_trl_names_them(file, tmp_path: Path) -> None:
    _, log = fit(file(), tmp_path, {}, {})
    names = (
        "loss rewards/chosen rewards/rejected rewards/margins rewards/accuracies logps/chosen logps/rejected"
    )
    names += " logps/ref_chosen kl/chosen length/chosen grad_norm lr skipped_steps pairs_per_second"
    assert {f"train/{name}" for name in names.split()} <= log.steps[0].keys()
    assert log.steps[0]["train/loss"] == pytest.approx(math.log(2), abs=1e-4)  # policy and reference agree
    assert log.steps[0]["train/kl/chosen"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("method", ["dpo", "alpha_dpo", "beta_dpo", "dr_dpo"])
def test_micro_batches_change_no_result(method: Method, file, tmp_path: Path) -> None:
    """Promise: a whole run is the same whether its steps are cut or not, to rounding."""
    losses = []
    for micro in (None, 3):
        optim = OptimConfig(lr=1e-3, name="rmsprop", micro_batch=micro)
        settings = {"loss": PreferenceLossConfig(method=method), "optim": optim}
        _, log = fit(file(), tmp_path / str(micro), settings, {})
        losses.append([step["train/loss"] for step in log.steps] + [log.validations[-1]["val/loss"]])
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)


def test_validation_does_not_depend_on_its_batches(file, tmp_path: Path) -> None:
    """Promise: a loss that couples a batch is evaluated on the whole split at once, its state at rest."""
    made, _ = fit(file(), tmp_path, {"loss": PreferenceLossConfig(method="beta_dpo"), "optim": FAST}, {})
    before = made.loss_state
    two, five = (
        trainer(tmp_path).validate(made, data(file(), eval_batch_size=size), verbose=False)[0]
        for size in (2, 5)
    )
    assert two == pytest.approx(five, rel=1e-4, abs=1e-6)
    assert made.loss_state == before


@pytest.mark.parametrize("source", ["base", "start"])
def test_cached_and_online_references_train_alike(source: str, file, llama: str, tmp_path: Path) -> None:
    """Promise: a cached reference is the online one."""
    losses = []
    for cached in (True, False):
        settings = {
            "language_model": lora(llama),
            "reference": ReferenceConfig(source, cached=cached),
            "optim": FAST,
        }
        _, log = fit(file(), tmp_path / str(cached), settings, {})
        losses.append([step["train/loss"] for step in log.steps])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][-1] < losses[0][0] - 1e-3


def test_redrawn_negatives_are_in_the_cache(file, tmp_path: Path) -> None:
    """Promise: negatives that are drawn anew each epoch cost no reference pass."""
    drawn = {"negatives": 1, "draw": "epoch"}
    made, log = fit(file("list"), tmp_path, {"optim": FAST}, drawn, max_epochs=3)
    assert made.reference.online is None
    assert len(log.steps) == 3 * 5


def test_adapter_alone_is_trained_and_dropout_is_off(file, llama: str, tmp_path: Path) -> None:
    """Promise: preference losses see no dropout unless asked, and the base stays as it is."""
    made, _ = fit(file(), tmp_path, {"language_model": lora(llama), "optim": FAST}, {})
    base = {n: p for n, p in made.policy.named_parameters() if "lora_" not in n}
    fresh = PreferenceModule(language_model=lora(llama))
    fresh_run = trainer(tmp_path / "fresh", max_steps=0)
    fresh_run.fit(fresh, data(file()))
    for name, parameter in fresh.policy.named_parameters():
        assert ("lora_" in name) or torch.equal(parameter, base[name])
    assert made.dropout is False
    assert not any(m.training for m in made.policy.modules() if isinstance(m, torch.nn.Dropout))


def test_gradient_checkpointing_is_in_force_without_dropout(file, llama: str, tmp_path: Path) -> None:
    """Promise: activations are recomputed although the model is in evaluation mode; results are the same."""
    losses, calls = [], []
    for checkpointed in (False, True):
        config = LanguageModelConfig(name=llama, gradient_checkpointing=checkpointed)
        made, log = fit(file(), tmp_path / str(checkpointed), {"language_model": config, "optim": FAST}, {})
        losses.append([step["train/loss"] for step in log.steps])
        layer = made.policy.language_model.decoder.layers[0]
        calls.append(layer.training and getattr(layer, "gradient_checkpointing", False))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert calls == [False, True]


class TestNonFinite:
    def test_a_step_is_skipped_counted_and_training_goes_on(self, file, tmp_path: Path) -> None:
        """Promise: a loss that is not a number changes no weight, no statistic and no moment."""
        log = Log()
        made = learner(loss=PreferenceLossConfig(method="alpha_dpo"), optim=FAST)
        trainer(tmp_path, callbacks=[log, Poison([1, 3])]).fit(made, data(file()))
        assert made.skipped_steps == 2
        assert made.skipped_in_a_row == 0
        assert [step["train/skipped_steps"] for step in log.steps] == [0, 1, 1, 2, 2]
        assert made.trainer.global_step == 3
        assert made.loss_state.updates == 3
        assert math.isfinite(log.validations[-1]["val/loss"])
        assert all(torch.isfinite(p).all() for p in made.parameters())

    def test_too_many_in_a_row_stop_with_the_examples(self, file, tmp_path: Path) -> None:
        made = learner(max_skipped_steps=1)
        with pytest.raises(NonFiniteLossError, match=r"2 steps in a row .*examples \[\d+"):
            trainer(tmp_path, callbacks=[Poison([1, 2, 3])]).fit(made, data(file()))


class TestRefusals:
    @pytest.mark.parametrize(
        ("settings", "kind", "batches", "message"),
        [
            pytest.param({"loss": PreferenceLossConfig(method="kto")}, "pair", {}, "unpair", id="kto-pairs"),
            pytest.param({}, "unpaired", {}, "single completions", id="dpo-unpaired"),
            pytest.param(
                {"loss": PreferenceLossConfig(method="sft")}, "pair", {}, "targets_only", id="sft-all"
            ),
            pytest.param({}, "pair", {"targets_only": True}, "targets_only", id="dpo-targets"),
        ],
    )
    def test_examples_that_the_loss_does_not_read(
        self, settings: dict, kind: str, batches: dict, message: str, file, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match=message):
            fit(file(kind), tmp_path, settings, batches)

    def test_a_reference_that_is_not_read(self) -> None:
        with pytest.raises(ValueError, match="leave model.reference out"):
            learner(loss=PreferenceLossConfig(method="simpo"), reference=ReferenceConfig(cached=False))

    def test_precision_that_scales_losses(self, file, tmp_path: Path) -> None:
        made = learner()
        run = trainer(tmp_path)
        run._accelerator_connector.precision_plugin.precision = "16-mixed"
        with pytest.raises(ValueError, match="bf16-mixed"):
            run.fit(made, data(file()))

    def test_a_checkpoint_of_other_settings(self, file, tmp_path: Path) -> None:
        saved = tmp_path / "last.ckpt"
        fit(
            file(),
            tmp_path,
            {},
            {},
            callbacks=[LastCheckpoint(saved, 0)],
            max_steps=2,
            enable_checkpointing=True,
        )
        with pytest.raises(CheckpointError, match=r"optim\.lr was 1e-05, is 0\.003"):
            trainer(tmp_path).fit(learner(optim=FAST), data(file()), ckpt_path=saved)
        other = learner(language_model=LanguageModelConfig(tiny=TinyConfig(hidden=64, vocab_size=300)))
        with pytest.raises(ValueError, match="reference log-probabilities of another model"):
            trainer(tmp_path).fit(other, data(file()), ckpt_path=saved)
        with pytest.raises(CheckpointError, match="does not fit this model"):
            trainer(tmp_path / "elsewhere").fit(other, data(file()), ckpt_path=saved)


class TestOptimiser:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            pytest.param({"lr": 0}, "optim.lr", id="rate"),
            pytest.param({"warmup": 2}, "optim.warmup", id="warm-up"),
            pytest.param({"decay": "constant", "floor": 0.1}, "optim.floor", id="floor-without-decay"),
            pytest.param({"micro_batch": 0}, "optim.micro_batch", id="micro-batch"),
            pytest.param({"name": "lion"}, "optim.name", id="name"),
            pytest.param({"clip": -1.0}, "optim.clip", id="clip"),
            pytest.param({"weight_decay": -1.0}, "weight_decay", id="weight-decay"),
        ],
    )
    def test_settings_are_checked(self, options: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            OptimConfig(**options)

    def test_schedule_rises_and_falls(self) -> None:
        factor = schedule(OptimConfig(warmup=0.2, decay="linear", floor=0.1), 10)
        assert [factor(0), factor(1), factor(2)] == [0.5, 1.0, 1.0]
        assert factor(6) == pytest.approx(0.55)
        assert factor(10) == pytest.approx(0.1)
        assert schedule(OptimConfig(warmup=0, decay="constant"), 10)(7) == 1.0
        assert schedule(OptimConfig(warmup=0), 10)(5) == pytest.approx(0.5)
