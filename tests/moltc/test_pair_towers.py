"""The auxiliary head on both molecules, and the pair tokens it makes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_pairs import build, collator, tiny_config, train_batch

from moltc.pair_towers import PAIR, WAVELENGTHS, HeadSpec, InputNorm, PairHead, PairHeadConfig

HEAD = PairHeadConfig(weight=0.5, hidden=(8,))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -1.0}, "must not be negative"),
        ({"weight": 1.0, "pair_tokens": -1}, "must not be negative"),
        ({"pair_tokens": 2}, "give head.weight"),
    ],
    ids=["negative-weight", "negative-tokens", "tokens-without-head"],
)
def test_impossible_heads_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PairHeadConfig(**settings)


def test_no_head_by_default(pairs):
    model = build(tiny_config(), pairs("solvation"))
    output = model.lm.encode(collator(model, pairs("solvation"))([0, 1]).inputs)
    assert output.predictions == ()
    assert set(output.soft_tokens) == {"solute", "solvent"}


def test_head_reads_each_prompts_own_molecules(pairs):
    """Promise: one prediction a prompt, from the molecules of that prompt, in any batch."""
    table = pairs("solvation")
    model = build(tiny_config(head=HEAD), table)
    collate = collator(model, table)
    rows = range(12)  # solutes and solvents repeat, each in its own rhythm
    (together,) = model.lm.encode(collate(list(rows)).inputs).predictions
    alone = [model.lm.encode(collate([row]).inputs).predictions[0] for row in rows]
    torch.testing.assert_close(together, torch.cat(alone))
    assert together.unique().numel() == len(rows)


@pytest.mark.parametrize(("family", "same"), [("ddi", True), ("solvation", False)], ids=["ddi", "solvation"])
def test_head_knows_order_only_where_order_matters(pairs, family, same):
    """Promise: the head of a symmetric family cannot tell the order of the molecules."""
    table = pairs(family)
    config = tiny_config(head=HEAD)
    model = build(replace(config, towers=replace(config.towers, sharing="tied")), table)
    count = len(table)
    batch = collator(model, table, both_orders=False)([0, 1, 2, count, count + 1, count + 2])
    (prediction,) = model.lm.encode(batch.inputs).predictions  # [6, 1]
    forward, backward = prediction.view(2, 3)
    assert torch.allclose(forward, backward, atol=1e-6) == same


def test_pair_tokens_stand_before_the_question(pairs):
    """Promise: pair tokens are made per prompt and placed after both molecules."""
    table = pairs("solvation")
    model = build(tiny_config(head=replace(HEAD, pair_tokens=3)), table)
    batch = collator(model, table)([5, 6])
    for tree in batch.trees:
        assert [(run.tower, run.length) for run in tree.slots] == [("solute", 2), ("solvent", 2), (PAIR, 3)]
        text = model.language_model.tokenizer.decode(tree.prompt_ids[tree.slots[-1].start :])
        assert "Question" in text
    soft = model.lm.encode(batch.inputs).soft_tokens[PAIR]
    assert soft.shape == (2, 3, model.language_model.hidden_size)
    embedded = model.lm.embed(batch.packed, model.lm.encode(batch.inputs))
    for row, tree in enumerate(batch.trees):
        start = tree.slots[-1].start
        torch.testing.assert_close(embedded[row, start : start + 3], soft[row])


def test_single_pair_can_be_trained_on(pairs):
    """Promise: a batch of one pair has no batch statistics and still gives a loss and gradients."""
    table = pairs("solvation")
    model = build(tiny_config(head=HEAD), table).train()
    batch = train_batch(model, table, [0])
    losses = model.losses(batch)
    losses["loss"].backward()
    assert torch.isfinite(losses["loss"])
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("family", ["solvation", "ddi"])
def test_head_loss_is_added_with_its_weight(pairs, family):
    """Promise: squared error of the standardised label, or binary cross-entropy, times the weight."""
    table = pairs(family)
    model = build(tiny_config(head=HEAD), table)
    batch = train_batch(model, table, range(6))
    losses = model.losses(batch)
    prediction = model.lm.encode(batch.inputs).predictions[0].squeeze(1)
    if family == "solvation":
        expected = ((prediction - (batch.labels - model.task.mean) / model.task.std) ** 2).mean()
    else:
        p = torch.sigmoid(prediction)
        expected = -(batch.labels * p.log() + (1 - batch.labels) * (1 - p).log()).mean()
    torch.testing.assert_close(losses["head"], expected)
    torch.testing.assert_close(losses["loss"], losses["nll"] + 0.5 * losses["head"])


@pytest.mark.parametrize("family", ["solvation", "ddi"])
def test_pair_tokens_may_see_the_output_of_the_head(pairs, family):
    """Promise: the last token says the head's output, of a number the digits too, and nothing else; the
    others say nothing of it."""
    table = pairs(family)
    seeing = build(tiny_config(head=replace(HEAD, pair_tokens=3, pair_tokens_see_output=True)), table)
    (head,) = seeing.pair_towers.heads.values()
    batch = train_batch(seeing, table, [0, 1, 2])
    before = seeing.lm.encode(batch.inputs)
    with torch.no_grad():
        head.out.bias += 1.0
    after = seeing.lm.encode(batch.inputs)
    tokens, moved = before.soft_tokens[PAIR], after.soft_tokens[PAIR]
    assert tokens.shape[1] == 3
    assert torch.equal(moved[:, :2], tokens[:, :2])
    (output,) = after.predictions  # [3, 1]
    shown = output
    if family == "solvation":
        angle = output * (2 * torch.pi / WAVELENGTHS)
        shown = torch.cat([output, angle.sin(), angle.cos()], dim=1)
    torch.testing.assert_close(moved[:, 2], head.output_token(shown))
    with pytest.raises(ValueError, match="needs pair tokens"):
        replace(HEAD, pair_tokens=0, pair_tokens_see_output=True)


def test_shifts_move_what_the_tokens_show_and_not_the_prediction(pairs):
    """Promise: a shifted pair shows its output as that of a pair with another bias would be shown."""
    table = pairs("solvation")
    model = build(tiny_config(head=replace(HEAD, pair_tokens=1, pair_tokens_see_output=True)), table)
    batch = train_batch(model, table, [0, 1])
    (group,) = batch.inputs.groups
    moved = batch.inputs._replace(groups=(group._replace(shift=torch.tensor([0.5, 0.0])),))
    plain, shifted = model.lm.encode(batch.inputs), model.lm.encode(moved)
    assert torch.equal(plain.predictions[0], shifted.predictions[0])
    (head,) = model.pair_towers.heads.values()
    with torch.no_grad():
        head.out.bias += 0.5
    biased = model.lm.encode(batch.inputs).soft_tokens[PAIR]
    torch.testing.assert_close(shifted.soft_tokens[PAIR][0], biased[0])
    assert torch.equal(shifted.soft_tokens[PAIR][1], plain.soft_tokens[PAIR][1])


def test_an_input_that_never_varies_says_nothing():
    """Promise: drift of a constant input (one solvent for all pairs) moves no answer."""
    torch.manual_seed(0)
    norm = InputNorm(2).train()
    for step in range(200):
        norm(torch.stack([torch.randn(16), torch.full((16,), 0.001 * step)], dim=1))
    norm.eval()
    out = norm(torch.tensor([[0.5, 7.0], [0.5, -7.0]]))
    assert torch.equal(out[0], out[1])
    assert out[0, 1] == norm.bias[1]
    plain = torch.nn.functional.batch_norm(
        torch.tensor([[0.5]]), norm.running_mean[:1], norm.running_var[:1], norm.weight[:1], norm.bias[:1]
    )
    torch.testing.assert_close(out[:1, :1], plain)


@pytest.mark.parametrize(
    ("kind", "outputs", "output", "shift", "shown"),
    [
        ("number", 1, [0.5], 0.25, [0.75]),
        ("binary", 1, [0.5], 1.0, [-0.5]),
        ("binary", 1, [0.5], 0.0, [0.5]),
        ("class", 3, [5.0, 6.0, 7.0], 1.0, [7.0, 5.0, 6.0]),
    ],
    ids=["number", "yes to no", "yes", "class"],
)
def test_what_a_shift_does_to_the_output_of_each_kind(kind, outputs, output, shift, shown):
    """Promise: the answer that the head gave stands ``shift`` further, its certainty is the same."""
    head = PairHead(4, HEAD, HeadSpec(symmetric=False, outputs=outputs, kind=kind), 6)
    moved = head._moved(torch.tensor([output]), torch.tensor([shift]))
    assert moved.tolist() == [shown]
