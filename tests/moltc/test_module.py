"""Training: what moves in which phase, at which rate, and what a checkpoint holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from tiny_pairs import (
    POOLED,
    QFORMER,
    TINY_LANGUAGE_MODEL,
    data,
    fit,
    llama_config,
    module,
    tiny_config,
    trainer,
    write_pairs,
)

from moltc.backbone.checkpoint import CheckpointError
from moltc.model import MolTC, MolTCConfig
from moltc.module import PairModule
from moltc.optim import OptimConfig, schedule
from moltc.pair_towers import PairHeadConfig
from moltc.training import AtomicCheckpointIO

HEAD = PairHeadConfig(weight=1.0, hidden=(8,))


# -- one step of everything ----------------------------------------------------------------------------


@pytest.mark.parametrize("towers", [POOLED, QFORMER], ids=["pooled", "qformer"])
@pytest.mark.parametrize("sharing", ["tied", "by_role", "by_slot", "by_task", "adapter"])
@pytest.mark.parametrize("family", ["solvation", "ddi"])
def test_every_sharing_mode_trains(pairs_folder, tmp_path, family, sharing, towers):
    """Promise: all sharing modes train end to end, every tower that the task names included."""
    learner = module(tiny_config(towers=replace(towers, sharing=sharing)))
    snapshots = fit(learner, pairs_folder(family), tmp_path)
    still = set(snapshots.states[0]) - snapshots.moved(0)
    assert not still
    keys = set(learner.moltc.writers[0].keys)
    expected = {
        "tied": {"molecule"},
        "by_role": {"solute", "solvent"} if family == "solvation" else {"drug"},
        "by_slot": {"slot1", "slot2"},
        "by_task": {f"tiny-{family}:{role}" for role in learner.moltc.task.kind.roles},
        "adapter": {"solute", "solvent"} if family == "solvation" else {"drug"},
    }
    assert keys == expected[sharing]


@pytest.mark.parametrize("training", ["lora", "frozen", "full"])
def test_only_what_is_to_be_trained_moves(pairs_folder, llama, tmp_path, training):
    """Promise: frozen language models stay, LoRA moves its adapters alone, towers move always."""
    learner = module(llama_config(llama, training))
    snapshots = fit(learner, pairs_folder("ddi"), tmp_path)
    moved = snapshots.moved(0)
    in_language_model = {name for name in moved if name.startswith("lm.language_model")}
    everything = {name for name in snapshots.states[0] if name.startswith("lm.language_model")}
    assert moved - in_language_model == set(snapshots.states[0]) - everything
    if training == "full":
        assert in_language_model == everything
    else:
        adapters = {name for name in everything if "lora_" in name}
        assert in_language_model == adapters
        assert bool(adapters) == (training == "lora")


def test_adapters_drop_out_in_training(pairs_folder, llama, tmp_path):
    """Promise: the dropout that the configuration asks for is on while training."""
    config = llama_config(llama, "lora")
    lora = replace(config.language_model.lora, dropout=0.5)
    learner = module(replace(config, language_model=replace(config.language_model, lora=lora)))
    modes: list[bool] = []

    class Watch(lightning.Callback):
        def on_train_batch_end(self, trainer, learner, *_) -> None:
            parts = learner.moltc.language_model.named_modules()
            modes.extend(part.training for name, part in parts if name.endswith("lora_dropout.default"))

    runner = trainer(tmp_path, max_epochs=1, limit_train_batches=1, limit_val_batches=0, callbacks=[Watch()])
    runner.fit(learner, datamodule=data(pairs_folder("ddi")))
    assert modes
    assert all(modes)


@pytest.mark.parametrize("training", ["lora", "frozen", "full"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
def test_published_models_train_as_they_are_told(pairs_folder, llama, tmp_path, training, checkpointing):
    """Promise: within a fit the decoder is in training mode, a frozen one in evaluation mode (no dropout),
    and gradient checkpointing runs each layer a second time, whichever of them is trained."""
    config = llama_config(llama, training)
    lm_config = replace(config.language_model, gradient_checkpointing=checkpointing)
    ran: list[int] = []

    class Watch(lightning.Callback):
        def on_train_batch_start(self, trainer, learner, *_) -> None:
            layer = learner.moltc.language_model.decoder.layers[0]
            self.hook = layer.input_layernorm.register_forward_hook(lambda *_: ran.append(1))

        def on_train_batch_end(self, trainer, learner, *_) -> None:
            self.hook.remove()
            decoder = learner.moltc.language_model.decoder
            parts = {decoder.training, decoder.layers[0].self_attn.training}
            assert parts == {training != "frozen"}

    options = {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 0, "callbacks": [Watch()]}
    learner = module(replace(config, language_model=lm_config))
    trainer(tmp_path, **options).fit(learner, datamodule=data(pairs_folder("ddi")))
    assert len(ran) == (2 if checkpointing else 1)


# -- phases and rates ----------------------------------------------------------------------------------


def test_first_epochs_train_towers_and_head_alone(pairs_folder, tmp_path):
    """Promise: pretrain_epochs leave the language model and the projection to it as they were."""
    optim = OptimConfig(pretrain_epochs=1, weight_decay=0.1)
    learner = module(tiny_config(head=HEAD), optim=optim)
    snapshots = fit(learner, pairs_folder("solvation"), tmp_path, max_epochs=2)
    first, second = snapshots.moved(0), snapshots.moved(1)
    assert first
    assert all(name.startswith("lm.towers") for name in first)
    assert {name for name in snapshots.states[0] if name.startswith("lm.language_model")} <= second


def test_pretraining_needs_a_head_and_leaves_steps(pairs_folder, tmp_path):
    with pytest.raises(ValueError, match="give head.weight"):
        module(tiny_config(), optim=OptimConfig(pretrain_epochs=1))
    learner = module(tiny_config(head=HEAD), optim=OptimConfig(pretrain_epochs=3))
    with pytest.raises(ValueError, match="3 pretrain_epochs leave nothing of 6 steps"):
        fit(learner, pairs_folder("solvation"), tmp_path, max_epochs=3)


@pytest.mark.parametrize(
    ("limits", "per_epoch"),
    [
        ({"max_epochs": 3}, 2),
        ({"max_epochs": -1, "max_steps": 6}, 2),
        ({"max_epochs": 10, "max_steps": 5}, 2),
        ({"max_epochs": 3, "limit_train_batches": 3, "accumulate_grad_batches": 2}, 2),
    ],
    ids=["epochs", "steps", "both", "accumulated"],
)
def test_phases_change_where_the_pretraining_epochs_end(pairs_folder, tmp_path, limits, per_epoch):
    """Promise: the language model's rate rises with the first step after pretrain_epochs, however a run
    is limited."""
    rates: list[float] = []

    class Rates(lightning.Callback):
        def on_before_optimizer_step(self, trainer, learner, optimizer) -> None:
            parts = [part for part, _, _ in learner.parameter_groups()]
            rates.append(optimizer.param_groups[parts.index("language_model")]["lr"])

    learner = module(tiny_config(head=HEAD), optim=OptimConfig(pretrain_epochs=1))
    options = {"limit_train_batches": 2, "limit_val_batches": 0} | limits
    trainer(tmp_path, callbacks=[Rates()], **options).fit(learner, datamodule=data(pairs_folder("solvation")))
    assert rates[:per_epoch] == [0.0] * per_epoch
    assert min(rates[per_epoch:]) > 0
    assert len(rates) > per_epoch


def test_rate_warms_up_and_falls_by_step():
    settings = OptimConfig(warmup=0.1, floor=0.2)
    factor = schedule(settings, "language_model", 0, 100)
    rates = [factor(step) for step in range(101)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert rates[10] == 1.0
    assert (np.diff(rates[10:]) <= 0).all()
    assert rates[100] == pytest.approx(0.2)


def test_phases_have_a_schedule_each():
    """Promise: the language model rests in the first phase, and the towers go on more slowly after it."""
    settings = OptimConfig(warmup=0.1, joint_lr_factor=0.4)
    towers, model = (schedule(settings, part, 50, 150) for part in ("towers", "language_model"))
    assert {model(step) for step in range(50)} == {0.0}
    assert max(towers(step) for step in range(50)) == 1.0
    assert max(towers(step) for step in range(50, 150)) == pytest.approx(0.4)
    assert max(model(step) for step in range(50, 150)) == 1.0


def test_each_trained_parameter_is_in_one_group(pairs_folder, tmp_path):
    """Promise: no weight decay on biases, norms, embeddings and query tokens; nothing twice or left out."""
    learner = module(tiny_config(towers=QFORMER, head=HEAD))
    fit(learner, pairs_folder("solvation"), tmp_path)
    grouped: dict[int, bool] = {}
    for _, decay, parameters in learner.parameter_groups():
        for parameter in parameters:
            assert id(parameter) not in grouped
            grouped[id(parameter)] = decay
    trained = {name: p for name, p in learner.moltc.named_parameters() if p.requires_grad}
    assert grouped.keys() == {id(parameter) for parameter in trained.values()}
    for name, parameter in trained.items():
        plain = parameter.ndim < 2 or "embed" in name or "query_tokens" in name
        assert grouped[id(parameter)] != plain, name


def test_towers_and_language_model_are_clipped_apart(pairs_folder, tmp_path):
    """Promise: large gradients of one part do not shrink those of the other."""
    learner = module(tiny_config())
    fit(learner, pairs_folder("solvation"), tmp_path)
    towers, language_model = learner.moltc.pair_towers, learner.moltc.language_model
    for parameter in towers.parameters():
        parameter.grad = torch.full_like(parameter, 1000.0)
    for parameter in language_model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-6)
    learner.configure_gradient_clipping(None, 1.0)
    norms = [
        torch.cat([p.grad.flatten() for p in part.parameters()]).norm() for part in (towers, language_model)
    ]
    assert norms[0] == pytest.approx(1.0, rel=1e-3)
    small = sum(p.numel() for p in language_model.parameters()) ** 0.5 * 1e-6
    assert norms[1] == pytest.approx(small, rel=1e-3)
    with pytest.raises(ValueError, match="clipped by norm"):
        learner.configure_gradient_clipping(None, 1.0, "value")


def test_noise_depends_on_seed_and_step_alone(pairs_folder, tmp_path):
    """Promise: dropout of a step is the same whatever was drawn before it, so a resumed run repeats it."""
    tiny = replace(TINY_LANGUAGE_MODEL, tiny=replace(TINY_LANGUAGE_MODEL.tiny, dropout=0.5))
    losses: list[list[float]] = []

    class Draw(lightning.Callback):
        def __init__(self, count: int) -> None:
            self.count = count

        def on_train_batch_start(self, *_) -> None:
            torch.rand(self.count)

        def on_train_batch_end(self, trainer, *_) -> None:
            losses[-1].append(float(trainer.callback_metrics["train/loss"]))

    for drawn, seed in ((0, 0), (7, 0), (0, 1)):
        losses.append([])
        learner = module(tiny_config(language_model=tiny), seed=seed)
        runner = trainer(tmp_path, max_epochs=1, limit_val_batches=0, callbacks=[Draw(drawn)])
        runner.fit(learner, datamodule=data(pairs_folder("solvation")))
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_micro_batches_of_a_step_have_noise_of_their_own(pairs_folder, tmp_path):
    """Promise: the dropout masks of an accumulated step differ between its micro-batches."""
    seeds: list[tuple[int, int]] = []

    class Seeds(lightning.Callback):
        def on_before_backward(self, trainer, *_) -> None:
            seeds.append((trainer.global_step, torch.initial_seed()))

    options = {"max_epochs": 1, "limit_val_batches": 0, "accumulate_grad_batches": 2}
    runner = trainer(tmp_path, callbacks=[Seeds()], **options)
    runner.fit(module(tiny_config()), datamodule=data(pairs_folder("solvation")))
    assert [step for step, _ in seeds] == [0, 0, 1, 1]
    assert len({seed for _, seed in seeds}) == 4


# -- test runs -----------------------------------------------------------------------------------------


def test_test_run_answers_each_pair_once(pairs_folder, tmp_path):
    """Promise: valid and test pairs are answered once each, none is left out or repeated."""
    learner, pairs = module(tiny_config(), free_answers=5), data(pairs_folder("ddi"), eval_batch_size=3)
    trainer(tmp_path).test(learner, datamodule=pairs, verbose=False)
    for split in ("valid", "test"):
        rows, found = learner.test_answers[0][split]
        np.testing.assert_array_equal(np.sort(rows), pairs.table.rows(split))
        assert len(found.text) == len(rows)
        np.testing.assert_array_equal(rows, np.sort(rows))


def test_free_answers_are_a_seeded_choice_over_the_split(pairs_folder, tmp_path):
    """Promise: the pairs that are answered freely are drawn from the whole test split, not its first ones."""
    chosen = {}
    for seed in (0, 1):
        learner, pairs = module(tiny_config(), free_answers=4, seed=seed), data(pairs_folder("solvation"))
        trainer(tmp_path).test(learner, datamodule=pairs, verbose=False)
        chosen[seed] = [row for row, _ in learner.free_texts[0]]
        assert len(chosen[seed]) == 4
        assert set(chosen[seed]) < set(pairs.table.rows("test").tolist())
        assert chosen[seed] == sorted(chosen[seed])
        assert chosen[seed] != pairs.table.rows("test")[:4].tolist()
    assert chosen[0] != chosen[1]


def test_number_of_free_answers_is_checked():
    with pytest.raises(ValueError, match="free_answers must be 0 or a number of pairs, not -1"):
        module(tiny_config(), free_answers=-1)


# -- checkpoints ---------------------------------------------------------------------------------------


def saved(config: MolTCConfig, folder: Path, root: Path) -> Path:
    """A checkpoint after two steps."""
    learner = module(config)
    path = root / "run.ckpt"
    runner = trainer(root, max_epochs=1, limit_train_batches=2, plugins=[AtomicCheckpointIO()])
    runner.fit(learner, datamodule=data(folder))
    runner.save_checkpoint(path)
    return path


def resume(config: MolTCConfig, folder: Path, path: Path) -> PairModule:
    """Load a checkpoint for testing."""
    learner = module(config)
    runner = trainer(path.parent, plugins=[AtomicCheckpointIO()])
    runner.test(learner, datamodule=data(folder), ckpt_path=path, verbose=False)
    return learner


def test_checkpoint_holds_adapters_and_no_base_weights(pairs_folder, llama, tmp_path):
    """Promise: what was trained is stored, the frozen base is not."""
    path = saved(llama_config(llama, "lora"), pairs_folder("ddi"), tmp_path)
    names = torch.load(path, weights_only=True)["state_dict"].keys()
    in_language_model = [name for name in names if "language_model" in name]
    assert in_language_model
    assert all("lora_" in name for name in in_language_model)
    assert any("running_mean" in name for name in names)


@pytest.mark.parametrize("removed", ["lora_A", "towers"], ids=["adapter", "towers"])
def test_checkpoint_without_its_adapter_is_refused(pairs_folder, llama, tmp_path, removed):
    """Promise: a checkpoint that lost weights never answers with random ones."""
    config, folder = llama_config(llama, "lora"), pairs_folder("ddi")
    path = saved(config, folder, tmp_path)
    resume(config, folder, path)  # whole, it loads
    checkpoint = torch.load(path, weights_only=True)
    state = checkpoint["state_dict"]
    checkpoint["state_dict"] = {name: tensor for name, tensor in state.items() if removed not in name}
    torch.save(checkpoint, path)
    message = "missing the adapter, " if removed == "lora_A" else r"missing \['model.lm.towers"
    with pytest.raises(CheckpointError, match=message):
        resume(config, folder, path)


def test_checkpoint_of_another_model_is_refused(pairs_folder, tmp_path):
    folder = pairs_folder("ddi")
    path = saved(tiny_config(), folder, tmp_path)
    with pytest.raises(CheckpointError, match="the configuration that the run was started with"):
        resume(tiny_config(towers=replace(POOLED, sharing="by_slot")), folder, path)


def test_checkpoint_of_other_labels_is_refused(pairs_folder, tmp_path):
    """Promise: label statistics are part of the task; other data are noticed."""
    import polars as pl

    from data_prep.tables import write_parquet

    folder = write_pairs(tmp_path / "pairs", "solvation")
    path = saved(tiny_config(), folder, tmp_path)
    file = folder / "pairs.parquet"
    frame, metadata = pl.read_parquet(file), pl.read_parquet_metadata(file)
    write_parquet(frame.with_columns(pl.col("label") + 0.01), file, metadata=metadata)
    with pytest.raises(CheckpointError, match="trained on other data"):
        resume(tiny_config(), folder, path)


def test_checkpoint_of_another_vocabulary_is_refused(pairs_folder, tmp_path):
    """Promise: token ids keep their meaning; another tokenizer of the same size is noticed."""
    folder = pairs_folder("ddi")
    path = saved(tiny_config(), folder, tmp_path)
    checkpoint = torch.load(path, weights_only=True)
    words = checkpoint["moltc"]["vocabulary"]
    words[10], words[11] = words[11], words[10]
    torch.save(checkpoint, path)
    with pytest.raises(CheckpointError, match="tokenizer differs"):
        resume(tiny_config(), folder, path)


def test_restored_weights_are_those_that_were_saved(pairs_folder, llama, tmp_path):
    """Promise: adapters, towers and batch-norm statistics come back exactly."""
    config, folder = llama_config(llama, "lora"), pairs_folder("ddi")
    path = saved(config, folder, tmp_path)
    restored = resume(config, folder, path).state_dict()
    for name, tensor in torch.load(path, weights_only=True)["state_dict"].items():
        assert torch.equal(restored[name], tensor), name


def test_export_is_what_was_trained(pairs_folder, tmp_path):
    learner = module(tiny_config())
    fit(learner, pairs_folder("ddi"), tmp_path)
    learner.export(tmp_path / "export")
    loaded = MolTC.from_pretrained(tmp_path / "export").state_dict()
    for name, tensor in learner.moltc.state_dict().items():
        assert torch.equal(loaded[name], tensor), name


def test_model_exists_only_after_setup():
    with pytest.raises(RuntimeError, match=r"built in setup\(\)"):
        _ = module(tiny_config()).moltc
