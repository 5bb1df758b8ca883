"""Batches: each distinct molecule once, in the order that was asked for, with the right label and target."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from tiny_pairs import QFORMER, build, collator, tiny_config, train_batch, write_pairs

from data_prep.errors import DataError
from data_prep.tables import write_parquet
from moltc.backbone.graphs import GraphBatch
from moltc.backbone.towers import TowerInputs
from moltc.chain_of_thought import ChainOfThought
from moltc.pair_table import Asked, PairTable
from moltc.pair_towers import PairInputs


@pytest.mark.parametrize("family", ["solvation", "ddi"])
def test_each_distinct_molecule_is_encoded_once(pairs, family):
    """Promise: a batch costs as many encodings as it has distinct molecules."""
    table = pairs(family)
    model = build(tiny_config(), table)
    rows = np.arange(24)
    batch = train_batch(model, table, rows)
    distinct = np.unique(np.concatenate([table.mol_a[rows], table.mol_b[rows]]))
    assert batch.inputs.towers.graphs.num_graphs == len(distinct) < 2 * len(rows)
    for key, members in batch.inputs.towers.members.items():
        assert len(members) == len(members.unique()), key


@pytest.mark.parametrize("towers", ["pooled", "qformer"])
def test_unique_molecules_give_the_gradients_of_naive_encoding(pairs, towers):
    """Promise: encoding each molecule once changes neither soft tokens nor gradients (statistics frozen)."""
    table = pairs("solvation")
    config = tiny_config(towers=QFORMER) if towers == "qformer" else tiny_config()
    model = build(config, table)  # in evaluation mode
    rows = np.arange(12)
    batch = train_batch(model, table, rows)

    def gradients(inputs: PairInputs, packed) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        model.zero_grad()
        nll = model.losses(replace(batch, packed=packed, inputs=inputs))["nll"]
        nll.backward()
        return nll, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    once, shared = gradients(batch.inputs, batch.packed)
    molecules = np.concatenate([table.mol_a[rows], table.mol_b[rows]])
    everyone = GraphBatch.from_arrays(table.molecules.graphs.batch(molecules))
    members = {"solute": torch.arange(12), "solvent": torch.arange(12, 24)}
    naive_inputs = PairInputs(TowerInputs(everyone, members), (), torch.tensor([], dtype=torch.long))
    trees = [
        replace(tree, slots=tuple(run._replace(entity=n) for run in tree.slots))
        for n, tree in enumerate(batch.trees)
    ]
    naive, separate = gradients(naive_inputs, model.lm.pack(trees))
    torch.testing.assert_close(once, naive)
    assert shared.keys() == separate.keys()
    for name, gradient in shared.items():
        torch.testing.assert_close(gradient, separate[name], rtol=1e-4, atol=1e-5, msg=name)


def test_exchanged_rows_swap_molecules_and_text(pairs):
    table = pairs("ddi")
    model = build(tiny_config(), table)
    count = len(table)
    batch = collator(model, table, both_orders=False)([4, 4 + count])
    (a, b), (c, d) = ([run.entity for run in tree.slots] for tree in batch.trees)
    assert (a, b) == (d, c) == (table.mol_a[4], table.mol_b[4])
    texts = model.language_model.tokenizer.batch_decode([tree.prompt_ids for tree in batch.trees])
    first, second = (table.molecules.smiles[m] for m in (a, b))
    assert f"Drug 1: [START_I_SMILES]{first}[" in texts[0]
    assert f"Drug 1: [START_I_SMILES]{second}[" in texts[1]
    assert batch.rows.tolist() == [4, 4]


@pytest.mark.parametrize(("family", "prompts"), [("ddi", 6), ("solvation", 3)], ids=["ddi", "solvation"])
def test_only_symmetric_pairs_are_asked_in_both_orders(pairs, family, prompts):
    """Promise: both orders for symmetric families, the family's fixed order for the others."""
    table = pairs(family)
    model = build(tiny_config(), table)
    batch = collator(model, table, both_orders=True)([2, 0, 1])
    assert (len(batch.trees), batch.num_pairs) == (prompts, 3)
    assert batch.rows.tolist() == [2, 0, 1]
    orders = [[run.entity for run in tree.slots] for tree in batch.trees]
    if family == "ddi":
        assert [pair[::-1] for pair in orders[3:]] == orders[:3]


def test_labels_stand_beside_their_prompts(pairs):
    table = pairs("solvation")
    batch = train_batch(build(tiny_config(), table), table, [7, 3])
    np.testing.assert_allclose(batch.labels, table.label[[7, 3]], rtol=1e-6)


def test_pairs_without_label_can_be_asked_but_not_trained_on(pairs):
    table = pairs("solvation")
    model = build(tiny_config(), table)
    unknown = replace(table, label=np.full(len(table), np.nan))
    assert torch.isnan(collator(model, unknown)([0]).labels).all()
    with pytest.raises(ValueError, match="value nan at position 0"):
        train_batch(model, unknown, [0])


def test_table_is_read_as_written(pairs):
    table = pairs("solvation")
    assert Counter(table.split.tolist()) == {"train": 32, "valid": 8, "test": 8}
    assert table.asked == (Asked("solvation", "solvation free energy", "tiny-solvation"),)
    assert set(table.task.tolist()) == {0}
    text = table.text(0)
    assert text.smiles_a == table.molecules.smiles[table.mol_a[0]]
    assert text.properties_b == table.molecules.property_text[table.mol_b[0]]


def test_folder_without_pairs_is_an_error_that_says_how_to_make_them(tmp_path):
    with pytest.raises(ValueError, match=r"no pairs\.parquet.*data-prep"):
        PairTable.load(tmp_path)


@pytest.mark.parametrize("column", ["family", "property", "dataset"])
def test_mixed_tables_ask_several_tasks(tmp_path, column):
    """Promise: a mixture is never read as one of its parts; each row belongs to the task that it names."""
    folder = write_pairs(tmp_path / "mixed", "solvation")
    frame = pl.read_parquet(folder / "pairs.parquet")
    mixed = frame.with_columns(
        pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("other")).otherwise(column).alias(column)
    )
    write_parquet(
        mixed, folder / "pairs.parquet", metadata=pl.read_parquet_metadata(folder / "pairs.parquet")
    )
    table = PairTable.load(folder)
    assert [getattr(asked, column) for asked in table.asked] == ["other", frame[column][1]]
    np.testing.assert_array_equal(table.task, [0] + [1] * 47)


def test_truncated_table_is_an_error(tmp_path):
    """Promise: a half-written file is never taken for a whole one."""
    folder = write_pairs(tmp_path / "cut", "solvation")
    file = folder / "graphs.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match="damaged or cut short"):
        PairTable.load(folder)


# -- the language model's window -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "cot", [ChainOfThought(), ChainOfThought(properties=True)], ids=["plain", "reasoned"]
)
def test_training_pair_beyond_the_window_is_named(pairs, cot):
    """Promise: nothing is cut in training: a pair that the language model cannot read whole is an error with
    its id, and one that just fits is none."""
    table = pairs("solvation")
    model = build(tiny_config(cot=cot), table)
    rows = range(8)
    trees = train_batch(model, table, rows).trees
    lengths = [len(tree.prompt_ids) + len(tree.completions[0]) - 1 for tree in trees]
    longest = int(np.argmax(lengths))
    collate = collator(model, table, targets=True, both_orders=False)
    collate.max_positions = max(lengths)
    assert collate(rows).packed.position_ids.max() == max(lengths) - 1
    collate.max_positions -= 1
    message = f"pair {table.pair_id[longest]} needs {max(lengths)} tokens, the language model reads"
    with pytest.raises(ValueError, match=f"{message} {max(lengths) - 1}; set prompt.smiles: false"):
        collate(rows)


def test_answering_keeps_room_for_what_is_written(pairs):
    """Promise: a pair whose answer would not fit is named before it is asked."""
    table = pairs("solvation")
    model = build(tiny_config(), table)
    collate = collator(model, table)
    length = len(collate([0]).trees[0].prompt_ids)
    collate.rooms, collate.max_positions = [model.room()], length + model.room() - 1
    assert collate([0]).num_pairs == 1
    collate.max_positions -= 1
    with pytest.raises(ValueError, match=f"pair {table.pair_id[0]} needs {length + model.room() - 1} tokens"):
        collate([0])
