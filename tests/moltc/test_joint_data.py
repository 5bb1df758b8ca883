"""Rows of several tasks: their shares of an epoch, and each task validated and tested by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_pairs import build, collator, data, tiny_config

from moltc.data import EpochBatches, PairDataModule


def epoch(batches: EpochBatches, number: int) -> list[list[int]]:
    """All batches of an epoch."""
    batches.set_epoch(number)
    return list(batches)


# -- shares --------------------------------------------------------------------------------------------

SHARES = {
    "as-they-are": (1.0, [90, 10]),
    "square-root": (0.5, [75, 25]),
    "alike": (0.0, [50, 50]),
}


def sampled(temperature: float, *, seed: int = 0, size: int = 8) -> EpochBatches:
    """Batches over 100 rows, 90 of one task and 10 of another."""
    groups = np.repeat([0, 1], [90, 10])
    options = {"groups": groups, "temperature": temperature}
    return EpochBatches(np.arange(100), size, seed=seed, shuffle=True, **options)


@pytest.mark.parametrize("case", SHARES)
def test_temperature_gives_tasks_their_shares(case):
    """Promise: n ** temperature, exactly; a task's rows are all taken equally often, or once more."""
    temperature, shares = SHARES[case]
    rows = np.concatenate(epoch(sampled(temperature), 2))
    assert [int((rows < 90).sum()), int((rows >= 90).sum())] == shares
    for first, size, share in ((0, 90, shares[0]), (90, 10, shares[1])):
        counts = np.bincount(rows, minlength=100)[first : first + size]
        assert set(counts) <= {share // size, share // size + 1}


def test_class_temperature_shares_the_rows_of_each_task():
    """Promise: n ** class_temperature within a task, from the epoch on that first trains text; tasks keep
    their shares."""
    groups, classes = np.repeat([0, 1], [100, 50]), np.repeat([0, 1, 0, 1], [81, 19, 25, 25])
    options = {"groups": groups, "classes": classes, "class_temperature": 0.5, "classes_from": 2}
    batches = EpochBatches(np.arange(150), 16, seed=0, shuffle=True, **options)
    assert sorted(np.concatenate(epoch(batches, 1))) == list(range(150))
    rows = np.concatenate(epoch(batches, 2))
    shares = 100 * np.sqrt([81, 19]) / np.sqrt([81, 19]).sum()
    found = np.bincount(2 * groups[rows] + classes[rows])
    assert found.tolist() == [round(shares[0]), round(shares[1]), 25, 25]
    assert epoch(batches, 3) != epoch(batches, 2)


def test_temperature_sampling_depends_on_seed_and_epoch_alone():
    assert epoch(sampled(0.5), 1) == epoch(sampled(0.5), 1)
    assert epoch(sampled(0.5), 1) != epoch(sampled(0.5), 2)
    assert epoch(sampled(0.5), 1) != epoch(sampled(0.5, seed=1), 1)


def test_temperature_sampling_resumes():
    """Promise: an epoch that repeats rows goes on after the batches that were given out."""
    batches = sampled(0.0)
    whole = epoch(batches, 3)
    again = sampled(0.0)
    again.set_epoch(3)
    again.start = 5
    assert list(again) == whole[5:]


@pytest.mark.parametrize("temperature", [-0.1, 1.5], ids=["negative", "above-one"])
def test_temperature_has_its_bounds(pairs_folder, temperature):
    with pytest.raises(ValueError, match="temperature lies between 0"):
        data(pairs_folder("solvation"), temperature=temperature)


@pytest.mark.parametrize("temperature", [-0.1, 1.5], ids=["negative", "above-one"])
def test_class_temperature_has_its_bounds(pairs_folder, temperature):
    with pytest.raises(ValueError, match="class_temperature lies between 0"):
        data(pairs_folder("solvation"), class_temperature=temperature)


def test_class_temperature_needs_classes(make_joint):
    """Promise: an option that would do nothing is refused."""
    with pytest.raises(ValueError, match="class_temperature is for typed interactions"):
        make_joint("solvation", class_temperature=0.5).train_dataloader()


def test_rare_classes_are_shown_more_often(make_joint):
    """Promise: through the data module, with the classes of the table; so many rows an epoch as before."""
    module = make_joint("typed-ddi", class_temperature=0.0)
    rows = module.rows("train")
    label = module.table.label.copy()
    label[rows] = np.arange(len(rows)) < 3
    module.table = replace(module.table, label=label)
    given = np.concatenate(list(module.train_dataloader().batch_sampler)) % len(label)
    assert len(given) == len(rows)
    assert abs(label[given].sum() - len(rows) / 2) <= 0.5


@pytest.fixture
def make_joint(pairs_folder, pairs):
    """A data module over several tables, with the collator of an untrained model."""

    def make(*names: str, **settings) -> PairDataModule:
        module = data([pairs_folder(name) for name in names], **settings)
        module.setup("fit")
        model = build(tiny_config(), pairs(*names))
        module.make_collator = lambda table, **options: collator(model, table, **options)
        return module

    return make


def test_each_task_is_validated_and_tested_by_itself(make_joint):
    module = make_joint("solvation", "caption")
    assert module.score == ("val/loss", "min")
    asked = [module.table.task[loader.batch_sampler.rows].tolist() for loader in module.val_dataloader()]
    assert asked == [[0] * 8, [1] * 2]
    splits = [
        (set(module.table.task[rows]), set(module.table.split[rows]))
        for rows in (loader.batch_sampler.rows for loader in module.test_dataloader())
    ]
    assert splits == [({n}, {split}) for n in (0, 1) for split in ("valid", "test")]


def test_training_mixes_tasks_and_exchanges_only_symmetric_ones(make_joint):
    module = make_joint("solvation", "ddi", batch_size=16)
    loader = module.train_dataloader()
    count = len(module.table)
    rows = np.concatenate(list(loader.batch_sampler))
    exchanged = rows[rows >= count] - count
    assert len(exchanged)
    assert set(module.table.task[exchanged]) == {1}
    batch = next(iter(loader))
    assert set(batch.tasks) == {0, 1}
    with pytest.raises(ValueError, match="ask 2 tasks: answer them one by one"):
        _ = batch.task


@pytest.mark.parametrize("split", ["valid", "test"])
def test_fewer_answered_pairs_are_a_seeded_choice_of_each_task(make_joint, split):
    """Promise: a split is limited task by task, the same way each time; the other one is left whole."""
    limit = {f"max_{split}_pairs": 3}
    limited, other = make_joint("solvation", "caption", **limit), {"valid": "test", "test": "valid"}[split]
    whole = limited.table
    for number in (0, 1):
        rows = limited.rows(split, number)
        assert len(rows) == min(3, len(whole.rows(split, number)))
        assert set(rows) <= set(whole.rows(split, number).tolist())
        np.testing.assert_array_equal(limited.rows(other, number), whole.rows(other, number))
    parts = [limited.rows(split, number) for number in (0, 1)]
    np.testing.assert_array_equal(limited.rows(split), np.concatenate(parts))
    again = make_joint("solvation", "caption", **limit)
    np.testing.assert_array_equal(limited.rows(split), again.rows(split))
    reseeded = make_joint("solvation", "caption", **limit, seed=1)
    assert set(limited.rows(split, 0)) != set(reseeded.rows(split, 0))
    sizes = [len(loader.batch_sampler.rows) for loader in limited.test_dataloader()]
    assert sizes == [len(limited.rows(name, number)) for number in (0, 1) for name in ("valid", "test")]


@pytest.mark.parametrize("count", [0, -3], ids=["none", "negative"])
@pytest.mark.parametrize("name", ["max_train_pairs", "max_valid_pairs", "max_test_pairs"])
def test_no_pairs_cannot_be_asked_for(pairs_folder, name, count):
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        data(pairs_folder("solvation"), **{name: count})


def test_task_without_a_split_is_named(make_joint):
    """Promise: a split that one of several tasks lacks is noticed before training, with the task's name."""
    module = make_joint("solvation", "caption")
    lacking = (module.table.task == 1) & (module.table.split == "test")
    module.table = replace(module.table, split=np.where(lacking, "none", module.table.split))
    message = r"tiny-caption has no pairs in split test \(train: 8, valid: 2, test: 0\)"
    with pytest.raises(ValueError, match=message):
        module.setup("fit")
