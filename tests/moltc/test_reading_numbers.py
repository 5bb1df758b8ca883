"""How a model learns to read its head's number: the output's own token, and numbers drawn anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_pairs import build, collator, data, module, tiny_config, trainer

from moltc.families import get_family
from moltc.pair_towers import HeadSpec, PairHead, PairHeadConfig
from moltc.task import Task

HEAD = PairHeadConfig(weight=1.0, hidden=(8,), pair_tokens=2, pair_tokens_see_output=True)


@pytest.fixture
def drawing(pairs):
    """A model whose pair tokens see the output, and its training collator with a share of numbers drawn."""

    def make(share: float):
        table = pairs("solvation")
        model = build(tiny_config(head=HEAD), table)
        collate = collator(model, table, targets=True, both_orders=False)
        collate.shift, collate.seed = share, 3
        return model, table, collate

    return make


def written_numbers(model, batch) -> np.ndarray:
    """The number that the target of each prompt says."""
    decode = model.language_model.tokenizer.decode
    texts = [decode(tree.completions[0], skip_special_tokens=True) for tree in batch.trees]
    return np.array([get_family("solvation").parse(text).value for text in texts])


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0], ids=["none", "half", "all"])
def test_written_number_and_shown_output_move_together(drawing, share):
    model, table, collate = drawing(share)
    rows = table.rows("train").tolist()
    batch = collate(rows)
    shift = batch.inputs.groups[0].shift.numpy()
    moved = written_numbers(model, batch) - batch.labels.numpy()
    np.testing.assert_allclose(moved, shift * model.task.std, atol=0.006)  # printed with two decimals
    assert np.array_equal(batch.labels.numpy(), table.label[rows].astype(np.float32)), "heads see the labels"
    expected = {0.0: (0, 0), 0.5: (6, 26), 1.0: (30, 32)}[share]
    assert expected[0] <= np.count_nonzero(shift) <= expected[1]


def test_drawn_numbers_depend_on_seed_and_epoch_alone(drawing):
    _, table, collate = drawing(1.0)
    rows = table.rows("train")
    first, again = (collate(rows.tolist()).inputs.groups[0].shift for _ in range(2))
    later = collate((rows + 2 * len(table)).tolist()).inputs.groups[0].shift
    assert torch.equal(first, again)
    assert not torch.equal(first, later)


def test_answering_shows_the_output_as_it_is(drawing):
    model, table, _ = drawing(1.0)
    batch = collator(model, table)(table.rows("test").tolist())
    assert not batch.inputs.groups[0].shift.any()


def test_share_needs_tokens_that_see_the_output(pairs_folder, tmp_path):
    learner = module(tiny_config(head=replace(HEAD, pair_tokens_see_output=False)))
    with pytest.raises(ValueError, match="pair_tokens_see_output"):
        trainer(tmp_path, max_epochs=1).fit(learner, datamodule=data(pairs_folder("solvation"), shift=0.5))


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_share_lies_between_zero_and_one(pairs_folder, share):
    with pytest.raises(ValueError, match="share"):
        data(pairs_folder("solvation"), shift=share)


def test_token_of_the_output_sees_nothing_else():
    """Promise: two pairs with the same output have the same last token, however unusual the molecules."""
    torch.manual_seed(0)
    head = PairHead(4, HEAD, HeadSpec(symmetric=False, outputs=1), 6).eval()
    with torch.no_grad():
        head.out.weight.zero_()
        head.out.bias.fill_(0.7)
    a = torch.randn(3, 4) * torch.tensor([[1.0], [10.0], [1000.0]])
    output, tokens = head(a, -a, torch.zeros(3))
    assert tokens.shape == (3, 2, 6)
    assert torch.allclose(output, torch.full((3, 1), 0.7))
    torch.testing.assert_close(tokens[0, 1], tokens[2, 1])
    assert not torch.allclose(tokens[0, 0], tokens[2, 0], atol=0.1)


def test_shift_changes_the_token_but_not_the_prediction():
    torch.manual_seed(0)
    head = PairHead(4, HEAD, HeadSpec(symmetric=False, outputs=1), 6).eval()
    a, b = torch.randn(2, 4), torch.randn(2, 4)
    output, tokens = head(a, b, torch.zeros(2))
    moved_output, moved = head(a, b, torch.tensor([0.0, 1.0]))
    assert torch.equal(output, moved_output)
    assert torch.equal(tokens[0], moved[0])
    assert torch.equal(tokens[1, 0], moved[1, 0])
    assert not torch.equal(tokens[1, 1], moved[1, 1])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([-4.0, 4.0], (-6.0, 6.0)), ([1.0, 5.0], (0.0, 6.0)), ([-9.0, -1.0], (-11.0, 0.0))],
    ids=["both signs", "positive", "negative"],
)
def test_answers_reach_a_margin_beyond_the_training_labels(labels, expected):
    task = Task.from_labels("solvation", "solvation free energy", "mine", labels)
    assert task.answer_range == pytest.approx(expected)


def test_number_beyond_the_training_labels_can_be_written(pairs):
    model = build(tiny_config(), pairs("solvation"))
    values = model.space().values
    assert values.min() < model.task.low - 0.2 * (model.task.high - model.task.low)
    assert values.max() > model.task.high
