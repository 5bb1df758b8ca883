"""Batches: which negatives they hold, which completions are mismatched, and that a prompt is one tree."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from preference_files import pairs

from align.collate import Negatives, PreferenceCollator
from align.records import PreferenceTable
from align.tokenise import tokenise
from moltc.backbone.packing import pack
from moltc.backbone.tokenizer import train_tokenizer

LISTS = [
    {"prompt": f"the {n}th", "chosen": "one", "rejected": [f"not {k}" for k in range(1 + n % 7)]}
    for n in range(30)
]
SINGLE = [{"prompt": f"p{n % 9}", "completion": f"c{n}" + "x" * n, "label": n % 3 == 0} for n in range(27)]
TOKENIZER = train_tokenizer([str(LISTS), str(SINGLE)], vocab_size=300)


def collator(records: list[dict], *, flips: float = 0.0, **options: object) -> PreferenceCollator:
    table = PreferenceTable.from_records(records)
    if flips:
        table = table.with_flips(flips, seed=0)
    window = options.pop("window", None)
    examples = tokenise(table, np.arange(len(table)), TOKENIZER, window=window)
    return PreferenceCollator(table, examples, partial(pack, pad_id=0), window, **options)


def texts(batch) -> list[list[str]]:
    return [
        [TOKENIZER.decode(completion, skip_special_tokens=True) for completion in tree.completions]
        for tree in batch.trees
    ]


def test_a_prompt_and_all_its_completions_are_one_tree() -> None:
    collate = collator(LISTS)
    batch = collate([6, 0, 13])
    assert batch.num_completions.tolist() == [8, 2, 8]
    assert batch.packed.num_completions.tolist() == [8, 2, 8]
    assert batch.ids.tolist() == collate.table.ids[[6, 0, 13]].tolist()
    assert batch.rows.tolist() == [6, 0, 13]
    assert batch.desirable is None
    stored = sum(len(tree.prompt_ids) + sum(len(c) - 1 for c in tree.completions) for tree in batch.trees)
    assert int((batch.packed.tree >= 0).sum()) == stored
    assert texts(batch)[1] == ["one", "not 0"]


def test_flips_change_what_stands_first() -> None:
    clean, noisy = collator(pairs(40)), collator(pairs(40), flips=0.5)
    rows = list(range(40))
    for before, after, flipped in zip(
        texts(clean(rows)), texts(noisy(rows)), noisy.table.flipped, strict=True
    ):
        assert after == (before[::-1] if flipped else before)
    assert noisy.table.flipped.any()


class TestNegatives:
    def drawn(self, negatives: Negatives, epoch: int = 0) -> list[list[str]]:
        collate = collator(LISTS, negatives=negatives)
        return texts(collate([row + epoch * len(LISTS) for row in range(len(LISTS))]))

    def test_the_first_ones(self) -> None:
        for number, completions in enumerate(self.drawn(Negatives(3))):
            assert completions == ["one", *(f"not {k}" for k in range(min(3, 1 + number % 7)))]

    def test_a_fixed_draw_is_the_same_in_every_epoch(self) -> None:
        negatives = Negatives(2, "fixed", seed=1)
        assert self.drawn(negatives) == self.drawn(negatives, epoch=3)
        assert self.drawn(negatives) != self.drawn(Negatives(2, "fixed", seed=2))

    def test_draws_of_an_epoch_repeat_with_it(self) -> None:
        negatives = Negatives(2, "epoch", seed=1)
        assert self.drawn(negatives, 1) == self.drawn(negatives, 1)
        assert self.drawn(negatives, 1) != self.drawn(negatives, 2)

    def test_draws_are_distinct_and_chosen_first(self) -> None:
        for completions in self.drawn(Negatives(3, "epoch"), 5):
            assert completions[0] == "one"
            assert "one" not in completions[1:]
            assert len(set(completions)) == len(completions)

    def test_each_negative_is_drawn_as_often(self) -> None:
        order = np.arange(6)
        draws = [Negatives(2, "epoch").choose(order, 7, epoch)[1:] for epoch in range(1500)]
        counts = np.bincount(np.concatenate(draws), minlength=6)
        assert counts[0] == 0
        assert np.abs(counts[1:] - 600).max() < 5 * np.sqrt(600 * 0.6)

    def test_all_of_them_for_reference_values(self) -> None:
        collate = collator(LISTS, negatives=Negatives(1, "epoch"))
        assert [len(row) for row in texts(collate.whole()(range(7)))] == [2 + n for n in range(7)]
        assert collate.tokens().tolist() != collate.whole().tokens().tolist()

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"count": 0}, "at least 1, not 0"),
            ({"draw": "fixed"}, "needs a number of negatives"),
            ({"count": 2, "draw": "random"}, "first, fixed or by epoch"),
        ],
        ids=["none", "no-number", "word"],
    )
    def test_what_cannot_be_drawn(self, options: dict, words: str) -> None:
        with pytest.raises(ValueError, match=words):
            Negatives(**options)


class TestMismatches:
    def test_each_completion_has_the_company_of_another_prompt_s(self) -> None:
        collate = collator(SINGLE, mismatched=True)
        batch = collate(range(27))
        assert batch.num_completions.tolist() == [2] * 27
        assert batch.desirable is not None
        assert batch.desirable.tolist() == [n % 3 == 0 for n in range(27)]
        partners = collate.partners(0)
        for row, (own, other) in enumerate(texts(batch)):
            assert own == SINGLE[row]["completion"]
            assert other == SINGLE[partners[row]]["completion"]
            assert SINGLE[row]["prompt"] != SINGLE[partners[row]]["prompt"]

    def test_they_depend_on_the_epoch_and_not_on_the_batch(self) -> None:
        """Promise: any cut of an epoch into batches gives the same company."""
        collate = collator(SINGLE, mismatched=True)
        whole = texts(collate(range(27)))
        assert [texts(collate([row]))[0] for row in range(27)] == whole
        assert texts(collate(range(27, 54))) != whole

    def test_one_too_long_for_the_window_is_cut(self) -> None:
        collate = collator(SINGLE, mismatched=True, window=10)
        batch = collate(range(27))
        longest = max(len(tree.prompt_ids) + len(tree.completions[1]) - 1 for tree in batch.trees)
        assert longest == 10

    def test_labels_follow_flips(self) -> None:
        collate = collator(SINGLE, flips=0.4, mismatched=True)
        desirable = collate(range(27)).desirable
        assert desirable is not None
        flipped = torch.from_numpy(collate.table.flipped)
        assert torch.equal(desirable, torch.tensor([n % 3 == 0 for n in range(27)]) ^ flipped)

    def test_one_prompt_has_no_other(self) -> None:
        records = [{"prompt": "p", "completion": f"c{n}", "label": True} for n in range(3)]
        with pytest.raises(ValueError, match="has one prompt"):
            collator(records, mismatched=True)([0])
