"""What a prompt writer keeps between pairs never changes what it writes."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_pairs import build, tiny_config

from moltc.chain_of_thought import ChainOfThought, PromptStyle
from moltc.pair_table import PairTable
from moltc.prompt_writer import PAIR_SLOT, PromptWriter

GRAPHS_ONLY = PromptStyle(smiles=False)
CONFIGS = {
    "graphs": {"prompt": GRAPHS_ONLY},
    "smiles": {},
    "given_properties": {
        "prompt": GRAPHS_ONLY,
        "cot": ChainOfThought(properties=True, teacher_force_properties=True),
    },
    "written_properties": {"prompt": GRAPHS_ONLY, "cot": ChainOfThought(properties=True)},
}


def writer_of(config: str, table: PairTable) -> PromptWriter:
    return build(tiny_config(**CONFIGS[config]), table).writers[0]


@pytest.mark.parametrize("family", ["solvation", "typed-ddi", "side-effect"])
@pytest.mark.parametrize("config", CONFIGS)
def test_every_prompt_is_that_of_its_own_pieces(config, family, pairs):
    table = pairs(family)
    writer = writer_of(config, table)
    for row in (0, 5, 1):
        a, b, text = int(table.mol_a[row]), int(table.mol_b[row]), table.text(row)
        tree = writer.tree(text, a, b, 0)
        anew = writer.builder.build(writer.pieces(text), {1: a, 2: b, PAIR_SLOT: 0})
        np.testing.assert_array_equal(tree.prompt_ids, anew.prompt_ids)
        assert tree.slots == anew.slots


def test_prompts_of_graphs_alone_are_one_array(pairs):
    table = pairs("ddi")
    writer = writer_of("graphs", table)
    one, other = (writer.tree(table.text(row), row, row + 1, row, ["Interaction: yes"]) for row in (0, 1))
    assert one.prompt_ids is other.prompt_ids
    assert one.completions[0] is other.completions[0]


def test_a_query_that_has_no_place_is_refused_after_others_were_written(pairs):
    table = pairs("solvation")
    writer = writer_of("graphs", table)
    text = table.text(0)
    writer.tree(text, 0, 1, 0)
    asking = type(text)(text.smiles_a, text.smiles_b, query="a dry mouth")
    with pytest.raises(ValueError, match="has no place for the query"):
        writer.tree(asking, 0, 1, 0)
