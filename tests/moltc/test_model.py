"""What a prompt of a pair holds, and what of it is scored."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from tiny_pairs import POOLED, QFORMER, build, collator, llama_config, tiny_config, train_batch

from moltc.backbone.towers import TowerConfig
from moltc.chain_of_thought import ChainOfThought, PromptStyle
from moltc.families import FAMILIES, SOLVATION
from moltc.model import MolTC, MolTCConfig
from moltc.pair_towers import PairHeadConfig
from moltc.task import Task

REASONED = ChainOfThought(properties=True)
GIVEN = ChainOfThought(properties=True, teacher_force_properties=True)


def slots(model: MolTC, batch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What stands in slot 1 and slot 2 of each prompt's input embeddings."""
    embedded = model.lm.embed(batch.packed, model.lm.encode(batch.inputs)).flatten(0, 1)
    starts = batch.packed.prompt_end - torch.tensor([len(tree.prompt_ids) - 1 for tree in batch.trees])
    return [
        tuple(embedded[start + run.start : start + run.start + run.length] for run in tree.slots[:2])
        for start, tree in zip(starts.tolist(), batch.trees, strict=True)
    ]


# -- soft tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("smiles", [True, False], ids=["with-smiles", "graph-only"])
@pytest.mark.parametrize("family", ["solvation", "ddi"])
@pytest.mark.parametrize("towers", [POOLED, QFORMER], ids=["pooled", "qformer"])
def test_each_slot_holds_exactly_its_soft_tokens(pairs, family, towers, smiles):
    """Promise: Q places per molecule in each prompt, and nothing but the towers' output stands there."""
    table = pairs(family)
    model = build(tiny_config(towers=towers, prompt=PromptStyle(smiles=smiles)), table)
    batch = collator(model, table, both_orders=False)(range(5))
    queries = towers.num_queries
    assert batch.packed.slot_index.numel() == 5 * 2 * queries == len(batch.packed.slot_index.unique())
    encoded = model.lm.encode(batch.inputs).soft_tokens
    for tree, in_prompt in zip(batch.trees, slots(model, batch), strict=True):
        assert [run.length for run in tree.slots] == [queries, queries]
        for run, soft in zip(tree.slots, in_prompt, strict=True):
            molecule = batch.packed.entities[run.tower].index(run.entity)
            torch.testing.assert_close(soft, encoded[run.tower][molecule])


@pytest.mark.parametrize(
    ("family", "sharing"),
    [("ddi", "by_role"), ("ddi", "adapter"), ("solvation", "tied")],
    ids=["ddi-by-role", "ddi-adapter", "solvation-tied"],
)
def test_swapping_molecules_swaps_soft_tokens(pairs, family, sharing):
    """Promise: where both slots share a tower, the first Q and the last Q soft tokens change places."""
    table = pairs(family)
    model = build(tiny_config(towers=replace(POOLED, sharing=sharing)), table)
    batch = collator(model, table, both_orders=False)([3, 3 + len(table)])
    (first, second), (swapped_first, swapped_second) = slots(model, batch)
    torch.testing.assert_close(first, swapped_second)
    torch.testing.assert_close(second, swapped_first)
    assert not torch.allclose(first, second)


FREEZES = [(), ("gnn",), ("proj",), ("gnn", "proj"), ("gnn", "query_tokens", "qformer", "proj", "adapters")]


@pytest.mark.parametrize("freeze", FREEZES, ids=lambda parts: "+".join(parts) or "nothing")
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_each_molecule_writes_its_own_soft_tokens(pairs, freeze, mode):
    """Promise: in every freeze setting another second molecule changes the second soft tokens, another
    first molecule the first ones; no slot repeats the other's."""
    table = pairs("ddi")
    towers = replace(QFORMER, freeze=freeze)
    model = build(tiny_config(towers=towers), table).train(mode == "train")
    molecules = np.array([[0, 1], [0, 2], [3, 1]], dtype=np.int32)
    other = replace(table, mol_a=molecules[:, 0], mol_b=molecules[:, 1], label=np.zeros(3))
    (a, b), (same_a, other_b), (other_a, same_b) = slots(model, train_batch(model, other, range(3)))
    torch.testing.assert_close(a, same_a)
    torch.testing.assert_close(b, same_b)
    assert not torch.allclose(b, other_b)
    assert not torch.allclose(a, other_a)
    assert not torch.allclose(a, b)


def test_frozen_parts_get_no_gradient(pairs):
    table = pairs("solvation")
    model = build(tiny_config(towers=replace(QFORMER, freeze=("gnn", "qformer"))), table).train()
    batch = train_batch(model, table, range(4))
    model.losses(batch)["loss"].backward()
    graded = {
        name.split(".")[0]
        for name, p in model.pair_towers.towers.parts.named_parameters()
        if p.grad is not None
    }
    assert graded == {"query_tokens", "proj"}


# -- what is scored ------------------------------------------------------------------------------------


def test_loss_never_counts_prompt_tokens(pairs, monkeypatch):
    """Promise: another question changes neither which tokens are scored nor how many."""
    table = pairs("solvation")
    model = build(tiny_config(), table)
    before = train_batch(model, table, range(6)).packed
    asked = {
        "solvation free energy": "How strongly, in kcal/mol, and in rather more words than usual, is it held?"
    }
    monkeypatch.setitem(FAMILIES, "solvation", replace(SOLVATION, questions=asked))
    model.writers[0].task = Task.from_dict(model.task.to_dict())
    after = train_batch(model, table, range(6)).packed
    assert after.input_ids.shape != before.input_ids.shape
    assert torch.equal(after.lengths, before.lengths)
    assert torch.equal(after.score_label, before.score_label)


@pytest.mark.parametrize("cot", [ChainOfThought(), REASONED], ids=["interval", "properties"])
def test_loss_is_the_plain_cross_entropy_of_the_target(pairs, cot):
    """Promise: next-token cross-entropy on target tokens only, as a row by row computation gives it."""
    table = pairs("solvation")
    model = build(tiny_config(cot=cot), table)
    batch = train_batch(model, table, range(3))
    encoded = model.lm.encode(batch.inputs).soft_tokens
    lm, expected = model.language_model, []
    for tree in batch.trees:
        (target,) = tree.completions
        ids = torch.from_numpy(np.concatenate([tree.prompt_ids, target]))
        embeddings = lm.embed(ids).clone()
        for run in tree.slots:
            molecule = batch.packed.entities[run.tower].index(run.entity)
            embeddings[run.start : run.start + run.length] = encoded[run.tower][molecule]
        logits = lm.causal_lm(inputs_embeds=embeddings[None]).logits[0]
        at = slice(len(tree.prompt_ids) - 1, len(ids) - 1)
        expected.append(
            torch.nn.functional.cross_entropy(logits[at], ids[len(tree.prompt_ids) :], reduction="sum")
        )
    nll = model.losses(batch)["nll"]
    torch.testing.assert_close(nll, torch.stack(expected).mean())


@pytest.mark.parametrize("name", ["tiny", "llama"])
@pytest.mark.parametrize("cot", [ChainOfThought(), REASONED, GIVEN], ids=["interval", "written", "given"])
@pytest.mark.parametrize("family", ["solvation", "ddi"])
def test_target_ends_in_the_end_token(pairs, llama, family, cot, name):
    """Promise: models learn to stop, whatever stands in the target; the end token occurs once."""
    table = pairs(family)
    model = build(tiny_config(cot=cot) if name == "tiny" else llama_config(llama, "lora", cot=cot), table)
    end = model.language_model.tokenizer.eos_token_id
    for tree in train_batch(model, table, range(6)).trees:
        (target,) = tree.completions
        assert target[-1] == end
        assert (target == end).sum() == 1


@pytest.mark.parametrize("name", ["tiny", "llama"])
def test_target_holds_properties_interval_and_value(pairs, llama, name):
    """Promise: first what each molecule is like, then the interval, then the value, worded exactly."""
    table = pairs("solvation")
    model = build(
        tiny_config(cot=REASONED) if name == "tiny" else llama_config(llama, "lora", cot=REASONED), table
    )
    row = int(np.flatnonzero(table.label == -4.75)[0])
    (target,) = train_batch(model, table, [row]).trees[0].completions
    text = table.text(row)
    assert model.language_model.tokenizer.decode(target, skip_special_tokens=True) == (
        f" Solute: {text.properties_a}\nSolvent: {text.properties_b}\n"
        "The value lies between -5.0 and -4.5, so it is -4.75."
    )


def test_target_of_a_yes_no_task_is_its_answer(pairs):
    table = pairs("ddi")
    model = build(tiny_config(), table)
    batch = train_batch(model, table, range(8))
    texts = [model.language_model.tokenizer.decode(tree.completions[0][:-1]) for tree in batch.trees]
    assert texts == [f" Interaction: {'yes' if label else 'no'}" for label in table.label[:8]]


def test_given_properties_stand_in_the_prompt_and_not_in_the_target(pairs):
    """Promise: teacher_force_properties moves the text before the answer cue."""
    table = pairs("solvation")
    decode = None
    for cot, given in ((GIVEN, True), (REASONED, False)):
        model = build(tiny_config(cot=cot), table)
        decode = model.language_model.tokenizer.decode
        (tree,) = train_batch(model, table, [0]).trees
        for words in (table.text(0).properties_a, table.text(0).properties_b):
            assert (words in decode(tree.prompt_ids)) == given
            assert (words in decode(tree.completions[0])) != given
        assert decode(tree.prompt_ids).endswith("Answer:")


def test_prompt_is_worded_in_the_familys_order(pairs):
    """Promise: role and SMILES of each molecule, soft tokens behind them, question, cue."""
    table = pairs("solvation")
    model = build(tiny_config(), table)
    text = table.text(0)
    pieces = [
        piece if isinstance(piece, str) else f"<{piece.role}>" for piece in model.writers[0].pieces(text)
    ]
    assert "".join(pieces) == (
        f"Solute: [START_I_SMILES]{text.smiles_a}[END_I_SMILES]<solute>\n"
        f"Solvent: [START_I_SMILES]{text.smiles_b}[END_I_SMILES]<solvent>\n"
        "Question: What is the solvation free energy of the solute in the solvent, in kcal/mol?\nAnswer: "
    )


def test_empty_property_text_is_an_error(pairs):
    """Promise: a chain of thought without its text is reported, not trained on silently."""
    table = pairs("solvation")
    model = build(tiny_config(cot=REASONED), table)
    text = replace(table.text(0), properties_b="")
    with pytest.raises(ValueError, match="property text of Solvent is empty"):
        model.writers[0].tree(text, 0, 1, 0, ["The value is +0.00."])


# -- configuration -------------------------------------------------------------------------------------


def test_configuration_survives_json():
    config = tiny_config(
        towers=TowerConfig(sharing="by_task", freeze=("gnn", "adapters"), duplicate=("proj",)),
        cot=GIVEN,
        prompt=PromptStyle(smiles_markers=("<", ">"), max_smiles_length=9),
        head=PairHeadConfig(weight=0.25, pair_tokens=2),
    )
    assert MolTCConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config


def test_models_of_before_score_classes_as_they_did():
    """Promise: a configuration without the choice scores whole sentences, on which it was calibrated."""
    values = asdict(tiny_config())
    del values["decoding"]["class_scores"]
    assert MolTCConfig.from_dict(values).decoding.class_scores == "labels"


def test_same_seed_gives_the_same_model(pairs):
    table = pairs("ddi")
    first, second, other = (build(tiny_config(), table, seed=seed).state_dict() for seed in (4, 4, 5))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
