"""The order of training rows: a function of seed and epoch alone, complete, and resumable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_pairs import build, collator, data, tiny_config

from moltc.data import EpochBatches, PairDataModule


def epoch(batches: EpochBatches, number: int) -> list[list[int]]:
    """All batches of an epoch."""
    batches.set_epoch(number)
    return list(batches)


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 60), size=st.integers(1, 25), seed=st.integers(0, 99), exchange=st.booleans())
def test_every_row_is_given_once_an_epoch(count, size, seed, exchange):
    """Promise: no row is left out or repeated, and batches differ in size by at most one."""
    rows = np.arange(count) * 2
    table = 2 * count
    batches = EpochBatches(rows, size, seed=seed, shuffle=True, exchange=table if exchange else 0)
    given_out = epoch(batches, 3)
    assert len(given_out) == len(batches)
    assert sorted(row % table for batch in given_out for row in batch) == rows.tolist()
    sizes = [len(batch) for batch in given_out]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= size
    if not exchange:
        assert all(row < table for batch in given_out for row in batch)


def test_order_depends_on_seed_and_epoch_alone():
    """Promise: the same seed and epoch give the same batches, whatever random state there is around."""
    first = EpochBatches(np.arange(40), 7, seed=1, shuffle=True, exchange=40)
    torch.manual_seed(5)
    np.random.seed(5)
    second = EpochBatches(np.arange(40), 7, seed=1, shuffle=True, exchange=40)
    epoch(second, 0)
    assert epoch(first, 2) == epoch(second, 2)
    assert epoch(first, 2) != epoch(first, 3)
    assert epoch(first, 2) != epoch(EpochBatches(np.arange(40), 7, seed=2, shuffle=True, exchange=40), 2)


def test_rows_are_exchanged_with_even_odds():
    batches = EpochBatches(np.arange(1000), 100, seed=0, shuffle=True, exchange=1000)
    exchanged = np.array([row >= 1000 for batch in epoch(batches, 0) for row in batch])
    assert 400 < exchanged.sum() < 600


def test_unshuffled_rows_keep_their_order():
    assert epoch(EpochBatches(np.array([5, 3, 9]), 2, seed=0, shuffle=False), 4) == [[5, 3], [9]]


def test_start_offset_resumes_once():
    """Promise: an epoch resumed after two batches gives the rest, and the next epoch is whole."""
    batches = EpochBatches(np.arange(20), 4, seed=0, shuffle=True)
    whole, following = epoch(batches, 6), epoch(batches, 7)
    batches.set_epoch(6)
    batches.start = 2
    assert list(batches) == whole[2:]
    assert epoch(batches, 7) == following


def test_offset_of_another_epoch_is_forgotten():
    """Promise: an epoch that was cut short (limit_train_batches) does not shorten the one after it."""
    batches = EpochBatches(np.arange(20), 4, seed=0, shuffle=True)
    whole = epoch(batches, 1)
    batches.set_epoch(0)
    batches.start = 2
    assert epoch(batches, 1) == whole


def test_batch_size_must_be_positive():
    with pytest.raises(ValueError, match="batch_size must be at least 1, not 0"):
        EpochBatches(np.arange(4), 0, seed=0, shuffle=True)


# -- the data module -----------------------------------------------------------------------------------


@pytest.fixture
def make_data(pairs_folder, pairs):
    """A data module that is set up, with the collator of an untrained model."""

    def make(family: str, **settings) -> PairDataModule:
        module = data(pairs_folder(family), **settings)
        module.setup()
        model = build(tiny_config(), pairs(family))
        module.make_collator = lambda table, **options: collator(model, table, **options)
        return module

    return make


def order(loader) -> list[list]:
    """Which molecules each batch holds in which slots."""
    return [[tuple(run.entity for run in tree.slots) for tree in batch.trees] for batch in loader]


@pytest.mark.parametrize("workers", [0, 1], ids=["in-process", "one-worker"])
def test_loader_goes_on_where_its_state_says(make_data, workers):
    """Promise: state after two batches, loaded elsewhere, gives the third batch next."""
    module = make_data("ddi", num_workers=workers)
    loader = module.train_dataloader()
    loader.batch_sampler.set_epoch(3)
    whole = order(loader)
    iterator = iter(loader)
    next(iterator), next(iterator)
    assert module.state_dict() == {"epoch": 3, "given": 2}
    other = make_data("ddi", num_workers=workers)
    other.load_state_dict(module.state_dict())
    resumed = other.train_dataloader()
    assert order(resumed) == whole[2:]
    assert resumed.state_dict() == {"epoch": 3, "given": 4}


def test_state_may_come_after_the_loader(make_data):
    """Promise: strategies that restore late resume too."""
    module = make_data("solvation")
    loader = module.train_dataloader()
    whole = order(loader)
    module.load_state_dict({"epoch": 0, "given": 3})
    assert order(loader) == whole[3:]


def test_state_at_the_end_of_an_epoch_starts_a_whole_one(make_data):
    module = make_data("solvation")
    module.load_state_dict({"epoch": 2, "given": 4})
    loader = module.train_dataloader()
    loader.batch_sampler.set_epoch(3)
    assert len(order(loader)) == 4


@pytest.mark.parametrize(("family", "both"), [("ddi", True), ("solvation", False)], ids=["ddi", "solvation"])
def test_training_exchanges_symmetric_pairs_only(make_data, family, both):
    """Promise: order-swapped copies only where swapping does not change the meaning."""
    module = make_data(family)
    stored = set(zip(module.table.mol_a.tolist(), module.table.mol_b.tolist(), strict=True))
    loader = module.train_dataloader()
    seen = {pair for batch in order(loader) for pair in batch}
    assert bool(seen - stored) == both


def test_answering_never_shuffles(make_data):
    module = make_data("solvation")
    rows = np.concatenate([batch.rows for loader in module.val_dataloader() for batch in loader])
    np.testing.assert_array_equal(rows, module.table.rows("valid"))
    assert [len(loader.batch_sampler.rows) for loader in module.test_dataloader()] == [8, 8]


def test_prediction_needs_no_labels(make_data):
    module = make_data("solvation")
    module.table = replace(module.table, label=np.full(len(module.table), np.nan))
    (loader,) = module.predict_dataloader()
    batch = next(iter(loader))
    assert all(tree.completions == () for tree in batch.trees)


def test_fewer_training_pairs_are_a_seeded_choice(make_data):
    module = make_data("solvation", max_train_pairs=10)
    rows = module.rows("train")
    assert len(rows) == len(set(rows.tolist())) == 10
    np.testing.assert_array_equal(rows, make_data("solvation", max_train_pairs=10).rows("train"))
    assert set(rows) != set(make_data("solvation", max_train_pairs=10, seed=1).rows("train"))
    assert set(rows) < set(make_data("solvation", max_train_pairs=20).rows("train"))


@pytest.mark.parametrize("count", [0, -1], ids=["none", "negative"])
def test_no_training_pairs_cannot_be_asked_for(pairs_folder, count):
    """Promise: an option is honoured or it is an error."""
    with pytest.raises(ValueError, match="max_train_pairs must be at least 1"):
        data(pairs_folder("solvation"), max_train_pairs=count)


def test_empty_split_is_an_error_that_counts_the_others(make_data):
    module = make_data("solvation")
    split = np.where(module.table.split == "valid", "none", module.table.split)
    module.table = replace(module.table, split=split)
    with pytest.raises(ValueError, match=r"no pairs in split valid \(train: 32, valid: 0, test: 8\)"):
        module.val_dataloader()


def test_loaders_need_a_prompt_writer(pairs_folder):
    module = data(pairs_folder("solvation"))
    module.setup()
    with pytest.raises(RuntimeError, match="prompt writer"):
        module.train_dataloader()


@pytest.mark.parametrize("family", ["solvation", "ddi"])
def test_label_noise_is_new_each_epoch_and_repeats_itself(make_data, family):
    """Promise: noise on the written targets depends on seed and epoch alone; labels stay as they are."""

    def written(epoch: int, **settings) -> list[list]:
        module = make_data(family, **settings)
        loader = module.train_dataloader()
        loader.batch_sampler.set_epoch(epoch)
        batches = list(loader)
        for batch in batches:
            np.testing.assert_allclose(batch.labels, module.table.label[batch.rows], rtol=1e-6)
        return [[tree.completions[0].tolist() for tree in batch.trees] for batch in batches]

    noisy = written(1, label_noise=0.4)
    assert noisy == written(1, label_noise=0.4)
    assert noisy != written(1, label_noise=0.0)
    first, second = (written(epoch, label_noise=0.4, batch_size=32)[0] for epoch in (1, 2))
    assert sorted(first) != sorted(second)


def test_noisy_targets_stay_within_the_admissible_answers(make_data):
    """Promise: noise never writes an answer that the automaton could not."""
    module = make_data("solvation", label_noise=5.0)
    loader = module.train_dataloader()
    (writer,) = loader.collate.writers
    space = writer.task.answer_space(writer.config.cot)
    admissible = {tuple(writer.answer_ids(text)) for text in space.texts}
    for batch in loader:
        assert {tuple(tree.completions[0]) for tree in batch.trees} <= admissible


def test_label_noise_must_not_be_negative(pairs_folder):
    with pytest.raises(ValueError, match="label_noise must not be negative"):
        data(pairs_folder("solvation"), label_noise=-0.1)


# -- several tasks -------------------------------------------------------------------------------------

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


def test_fewer_validation_pairs_are_a_seeded_choice_of_each_task(make_joint):
    """Promise: validation is limited task by task, the same way each time; no test pair is ever left out."""
    limited = make_joint("solvation", "caption", max_valid_pairs=3)
    for number, count in ((0, 3), (1, 2)):
        rows = limited.rows("valid", number)
        assert len(rows) == count
        assert set(rows) <= set(limited.table.rows("valid", number).tolist())
        np.testing.assert_array_equal(limited.rows("test", number), limited.table.rows("test", number))
    parts = [limited.rows("valid", number) for number in (0, 1)]
    np.testing.assert_array_equal(limited.rows("valid"), np.concatenate(parts))
    again = make_joint("solvation", "caption", max_valid_pairs=3)
    np.testing.assert_array_equal(limited.rows("valid"), again.rows("valid"))
    other = make_joint("solvation", "caption", max_valid_pairs=3, seed=1)
    assert set(limited.rows("valid", 0)) != set(other.rows("valid", 0))
    sizes = [len(loader.batch_sampler.rows) for loader in limited.test_dataloader()]
    assert sizes == [3, 8, 2, 2]


@pytest.mark.parametrize("count", [0, -3], ids=["none", "negative"])
def test_no_validation_pairs_cannot_be_asked_for(pairs_folder, count):
    with pytest.raises(ValueError, match="max_valid_pairs must be at least 1"):
        data(pairs_folder("solvation"), max_valid_pairs=count)


def test_task_without_a_split_is_named(make_joint):
    """Promise: a split that one of several tasks lacks is noticed before training, with the task's name."""
    module = make_joint("solvation", "caption")
    lacking = (module.table.task == 1) & (module.table.split == "test")
    module.table = replace(module.table, split=np.where(lacking, "none", module.table.split))
    message = r"tiny-caption has no pairs in split test \(train: 8, valid: 2, test: 0\)"
    with pytest.raises(ValueError, match=message):
        module.setup("fit")
