"""The data module: what it gives, in which order, and that it goes on where it stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from preference_files import pairs, read, write_lines

from align.collate import text_collator
from align.data import PreferenceDataModule
from align.records import PreferenceTable
from data_prep.preference_report import write_preferences
from data_prep.preferences import PreferencePlan, collect, file_source
from moltc.backbone.language_model import LanguageModel, LanguageModelConfig, TinyConfig
from moltc.backbone.soft_prompt_lm import SoftPromptLM
from moltc.backbone.tokenizer import train_tokenizer

WORDS = [
    {"prompt": f"say {n}", "chosen": " well" * (1 + n % 9), "rejected": [" no", " nay", " never"]}
    for n in range(60)
]
SINGLE = [{"prompt": f"say {n}", "completion": f" c{n}", "label": n % 2 == 0} for n in range(60)]
CHAT = [{"prompt": [{"role": "user", "content": f"q{n}"}], "chosen": "a", "rejected": "b"} for n in range(20)]


@pytest.fixture
def make(tmp_path: Path):
    """A data module that is set up, with a small model to tokenise for."""

    def _make(records: list[dict], *, stage: str | None = "fit", **options: object) -> PreferenceDataModule:
        path = tmp_path / "records.jsonl"
        if not path.exists():
            write_lines(path, *records)
        return set_up(PreferenceDataModule(str(path), **({"batch_size": 8} | options)), stage)

    return _make


def set_up(data: PreferenceDataModule, stage: str | None = "fit", window: int = 512) -> PreferenceDataModule:
    data.setup(stage)
    tiny = TinyConfig(hidden=16, layers=1, heads=2, ffn=16, max_positions=window)
    tokenizer = train_tokenizer(data.texts(), vocab_size=300)
    model = SoftPromptLM(LanguageModel.from_config(LanguageModelConfig(tiny=tiny), tokenizer))
    data.make_collator = lambda *given: text_collator(model.language_model, model.pack, *given)
    return data


def order(loader) -> list[list[int]]:
    return [batch.rows.tolist() for batch in loader]


def test_each_split_is_whole(make) -> None:
    data = make(WORDS)
    loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    for split, loader in zip(("train", "valid", "test"), loaders, strict=True):
        rows = sorted(row for batch in order(loader) for row in batch)
        assert rows == data.table.rows(split).tolist()
    assert [len(data.table.rows(split)) for split in ("train", "valid", "test")] == [48, 6, 6]


def test_epochs_differ_and_repeat(make) -> None:
    data, again = make(WORDS), make(WORDS)
    loader, other = data.train_dataloader(), again.train_dataloader()
    first = order(loader)
    loader.batch_sampler.set_epoch(1)
    other.batch_sampler.set_epoch(1)
    assert order(loader) == order(other) != first


@pytest.mark.parametrize("workers", [0, 1], ids=["in-process", "one-worker"])
def test_a_stopped_epoch_goes_on(make, workers: int) -> None:
    """Promise: state after two batches, loaded elsewhere, gives the third batch next, negatives included."""
    options = {"num_workers": workers, "negatives": 1, "draw": "epoch"}
    data = make(WORDS, **options)
    loader = data.train_dataloader()
    loader.batch_sampler.set_epoch(3)
    whole = list(loader)
    iterator = iter(loader)
    next(iterator), next(iterator)
    state = data.state_dict()
    assert (state["epoch"], state["given"]) == (3, 2)
    other = make(WORDS, **options)
    other.load_state_dict(state)
    rest = list(other.train_dataloader())
    assert len(rest) == len(whole) - 2
    for before, after in zip(whole[2:], rest, strict=True):
        assert torch.equal(before.packed.input_ids, after.packed.input_ids)
        assert torch.equal(before.ids, after.ids)


def test_a_run_is_not_resumed_on_other_examples(make, tmp_path: Path) -> None:
    data = make(WORDS)
    data.train_dataloader()
    state = data.state_dict()
    other = make(WORDS, flip_noise=0.3)
    other.load_state_dict(state)
    with pytest.raises(ValueError, match="holds other examples or splits than the run"):
        other.train_dataloader()


def test_state_may_come_after_the_loader(make) -> None:
    data, other = make(WORDS), make(WORDS)
    loader = data.train_dataloader()
    next(iter(loader))
    resumed = other.train_dataloader()
    other.load_state_dict(data.state_dict())
    assert order(resumed) == order(data.train_dataloader())[1:]


def test_rows_of_a_batch_are_packed_without_padding(make) -> None:
    """Promise: with batches by length, almost no position is padding; without, many are."""

    def padding(pool: int) -> float:
        data = make(WORDS, pool=pool)
        packed = [batch.packed for batch in data.train_dataloader()]
        empty = sum(int((one.tree < 0).sum()) for one in packed)
        return empty / sum(one.tree.numel() for one in packed)

    assert padding(6) < 0.12
    assert padding(6) < padding(1)


def test_negatives_are_drawn_anew_each_epoch_and_evaluated_alike(make) -> None:
    data = make(WORDS, negatives=1, draw="epoch")
    train, valid = data.train_dataloader(), data.val_dataloader()

    def seen(loader, epoch: int) -> dict[int, tuple]:
        loader.batch_sampler.set_epoch(epoch)
        found = {}
        for batch in loader:
            assert set(batch.num_completions.tolist()) == {2}
            for row, tree in zip(batch.rows.tolist(), batch.trees, strict=True):
                found[row] = tuple(map(tuple, tree.completions))
        return found

    assert seen(train, 0) != seen(train, 1)
    assert seen(valid, 0) == seen(valid, 1)


def test_flips_are_in_train_alone(make) -> None:
    data = make(WORDS, flip_noise=0.5, flip_exact=True)
    flipped = np.flatnonzero(data.table.flipped)
    assert len(flipped) == 24
    assert set(flipped) <= set(data.table.rows("train"))


def test_targets_alone(make) -> None:
    data = make(WORDS, targets_only=True)
    for batch in data.train_dataloader():
        assert set(batch.num_completions.tolist()) == {1}
        assert batch.desirable is None


def test_single_completions_come_with_mismatched_ones(make) -> None:
    data = make(SINGLE)
    for batch in data.train_dataloader():
        assert set(batch.num_completions.tolist()) == {2}
        labels = [row % 2 == 0 for row in data.table.frame["source_row"].to_numpy()[batch.rows] - 1]
        assert batch.desirable.tolist() == labels


def test_pairs_are_taken_apart(make) -> None:
    """Promise: KTO reads pairs as single completions, each in the company of one of another prompt."""
    data = make(WORDS, unpair=True)
    found = [mark for batch in data.train_dataloader() for mark in batch.desirable.tolist()]
    pairs_of_train = make(WORDS).table.sizes()["train"]
    assert (found.count(True), found.count(False)) == (pairs_of_train, 3 * pairs_of_train)


def test_limits_and_templates_reach_the_tokens(make) -> None:
    data = make(CHAT, chat_template="dialogue", max_prompt_tokens=6)
    prompts = [tree.prompt_ids for batch in data.train_dataloader() for tree in batch.trees]
    assert {len(prompt) for prompt in prompts} == {6}
    assert data.collator("train").examples.cuts.prompts == 16
    assert "q3" in data.texts()
    assert not any("role" in text for text in data.texts())


def test_a_built_folder_keeps_its_split(tmp_path: Path) -> None:
    plan = PreferencePlan()
    write_preferences(read(*pairs(30), plan=plan), plan, tmp_path / "built", "mine")
    data = set_up(PreferenceDataModule(str(tmp_path / "built"), seed=4))
    assert data.table.digest() == PreferenceTable.from_records(pairs(30)).digest()


def test_fewer_examples(make) -> None:
    data = make(WORDS, max_train_examples=10, max_eval_examples=2)
    assert [len(data.rows(split)) for split in ("train", "valid", "test")] == [10, 2, 2]
    assert set(data.rows("train")) <= set(data.table.rows("train"))
    assert data.rows("train").tolist() == make(WORDS, max_train_examples=10).rows("train").tolist()


def test_a_split_without_examples_is_named(tmp_path: Path) -> None:
    plan = PreferencePlan()
    write_preferences(read(*pairs(2), plan=plan), plan, tmp_path / "built", "mine")
    with pytest.raises(ValueError, match=r"no examples in split valid \(train: 2, valid: 0, test: 0\)"):
        PreferenceDataModule(str(tmp_path / "built")).setup("fit")


def test_examples_that_are_all_cut_to_the_same_are_an_error(make) -> None:
    data = make(
        [{"prompt": f"p{n}", "chosen": "!a", "rejected": "!b"} for n in range(20)],
        max_completion_tokens=1,
    )
    with pytest.raises(ValueError, match="no example of split train is left"):
        data.train_dataloader()


def test_batches_need_the_module_s_tokenizer(tmp_path: Path) -> None:
    data = PreferenceDataModule(str(write_lines(tmp_path / "x.jsonl", *pairs(30))))
    data.setup("fit")
    with pytest.raises(RuntimeError, match="the module was not set up"):
        data.train_dataloader()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_train_examples": 0}, "max_train_examples must be at least 1"),
        ({"flip_noise": 1.0}, "flip_noise must be at least 0 and below 1"),
        ({"flip_exact": True}, "no effect without flip_noise"),
        ({"targets_only": True, "negatives": 1}, "leaves no rejected completion"),
        ({"draw": "epoch"}, "needs a number of negatives"),
        ({"unpair": True, "targets_only": True}, "leaves single completions"),
    ],
    ids=["examples", "rate", "exact", "targets", "draw", "unpair"],
)
def test_options_that_cannot_be(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PreferenceDataModule("x", **options)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "completions"),
    [
        ("amazon_movies_recdpo/Movies_and_TV_dpo_eval_dataset.json", 4),
        ("sdpo_lastfm/lastfm-val.json", 20),
    ],
    ids=["movies", "lastfm"],
)
def test_published_lists(folder: str, completions: int, real_data: Path, tmp_path: Path) -> None:
    """Promise: a list is one tree, its prompt stored once; drawn negatives come from the list."""
    plan = PreferencePlan()
    found = collect([file_source(real_data / folder)], plan)
    write_preferences(replace(found, frame=found.frame[:60]), plan, tmp_path / "built", "lists")
    data = set_up(PreferenceDataModule(str(tmp_path / "built"), batch_size=8), window=2048)
    batch = next(iter(data.train_dataloader()))
    assert set(batch.num_completions.tolist()) == {completions}
    prompts = sum(len(tree.prompt_ids) for tree in batch.trees)
    assert int((batch.packed.branch[batch.packed.tree >= 0] == 0).sum()) == prompts
    drawn = set_up(
        PreferenceDataModule(str(tmp_path / "built"), batch_size=8, negatives=2, draw="fixed"), window=2048
    )
    for few in drawn.train_dataloader():
        assert set(few.num_completions.tolist()) == {3}
