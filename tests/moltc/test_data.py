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
from moltc.pair_towers import PairHeadConfig
from moltc.task import Task


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


# -- shifted numbers -----------------------------------------------------------------------------------

SEEING = PairHeadConfig(weight=1.0, hidden=(8,), pair_tokens=1, pair_tokens_see_output=True)


@pytest.fixture
def shifted(pairs_folder, pairs):
    """Labels, written answers and shifts of one epoch's batches of a tiny table's pairs."""

    def make(
        share: float, epoch: int = 1, name: str = "solvation"
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, Task]:
        module, table = data(pairs_folder(name), shift=share), pairs(name)
        module.setup()
        model = build(tiny_config(head=SEEING), table)
        module.make_collator = lambda table, **options: collator(model, table, **options)
        loader = module.train_dataloader()
        loader.batch_sampler.set_epoch(epoch)
        found = []
        for batch in loader:
            texts = [model.language_model.tokenizer.decode(tree.completions[0][:-1]) for tree in batch.trees]
            numbers = [model.task.kind.parse(text).value for text in texts]
            found.append((batch.labels, numbers, batch.inputs.groups[0].shift))
        labels, written, shifts = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return labels, written, shifts, model.task

    return make


def test_shifted_pairs_are_written_and_shown_alike(shifted):
    """Promise: what the pair token shows is moved by as much as what is written, in deviations of the label;
    the label, which the head learns, stays; nothing leaves the range of answers."""
    labels, written, shifts, task = shifted(0.5)
    np.testing.assert_allclose(written, labels + shifts * task.std, atol=0.006)
    low, high = task.answer_range
    assert ((low - 0.006 <= written) & (written <= high + 0.006)).all()
    assert 6 < (shifts != 0).sum() < 26, "about half of 32 pairs"


@pytest.mark.parametrize(("name", "answers"), [("ddi", 2), ("typed-ddi", 3)], ids=["yes-no", "types"])
def test_shifted_answers_go_round_the_end(shifted, name, answers):
    """Promise: a yes becomes a no, a class the one so many places further; both ways occur."""
    labels, written, shifts, _ = shifted(0.8, name=name)
    np.testing.assert_array_equal(written, (labels + shifts) % answers)
    assert set(shifts.tolist()) == set(range(answers))


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (1.0, 32)], ids=["none", "all"])
def test_share_of_the_shifted_pairs(shifted, share, count):
    assert (shifted(share)[2] != 0).sum() == count


def test_shifts_depend_on_seed_and_epoch_alone(shifted):
    first, again, later = (shifted(0.5, epoch)[2] for epoch in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert sorted(first) != sorted(later)


def test_training_hides_molecules_from_the_votes(pairs_folder, pairs):
    """Promise: a, b or both count as unseen, by seed and epoch alone; who is asked is as it is."""
    table, module = pairs("ddi"), data(pairs_folder("ddi"))
    module.setup()
    model = build(tiny_config(head=replace(SEEING, neighbours=10.0)), table)
    module.make_collator = lambda table, **options: collator(model, table, **options)

    def hidden(epoch: int) -> np.ndarray:
        loader = module.train_dataloader()
        loader.batch_sampler.set_epoch(epoch)
        return np.concatenate([batch.inputs.groups[0].hidden for batch in loader])

    first, again, later = hidden(1), hidden(1), hidden(2)
    assert {tuple(row) for row in first.tolist()} == {(True, False), (False, True), (True, True)}
    np.testing.assert_array_equal(first, again)
    assert (first != later).any()
    (asked,) = module.test_dataloader()[1:]
    assert all(batch.inputs.groups[0].hidden is None for batch in asked)


def test_shift_without_a_token_that_shows_it_is_refused(make_data):
    """Promise: an option is honoured or it is an error."""
    with pytest.raises(ValueError, match=r"shift goes with model\.head\.pair_tokens_see_output"):
        make_data("solvation", shift=0.5).train_dataloader()


def test_shift_is_a_share(pairs_folder):
    with pytest.raises(ValueError, match="shift is a share between 0 and 1, not 1.5"):
        data(pairs_folder("solvation"), shift=1.5)
