"""Answers: independent of the batch around them, always valid under the automaton, fair to both orders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_pairs import POOLED, QFORMER, build, collator, llama_config, tiny_config

from moltc.answering import Answers, _nearest, answer, write_freely
from moltc.backbone.decoding import decode_trie
from moltc.chain_of_thought import ChainOfThought, PromptStyle
from moltc.model import DecodingConfig, MolTC, MolTCConfig
from moltc.pair_towers import PairHeadConfig

REASONED = ChainOfThought(properties=True)
HEAD = PairHeadConfig(weight=1.0, pair_tokens=1, hidden=(8,))


def sharpened(config: MolTCConfig, table, seed: int = 0) -> MolTC:
    """An untrained model whose answers differ between pairs: its output layer is scaled up."""
    model = build(config, table, seed)
    with torch.no_grad():
        model.language_model.causal_lm.get_output_embeddings().weight.mul_(8.0)
    return model


def asked(model: MolTC, table, rows) -> Answers:
    """Answers to rows of the table, in one batch."""
    return answer(model, collator(model, table)(list(rows)))


def assert_close(first: Answers, second: Answers, tolerance: float = 1e-5) -> None:
    """Equal text, and numbers within ``tolerance``; printed values exactly."""
    for name in Answers.__dataclass_fields__:
        one, other = getattr(first, name), getattr(second, name)
        if isinstance(one, list) or one.dtype == bool:
            assert list(one) == list(other), name
        else:
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance, err_msg=name)


CASES = {
    "smiles": {},
    "graph-only": {"prompt": PromptStyle(smiles=False)},
    "written-properties": {"cot": REASONED},
    "given-properties": {"cot": replace(REASONED, teacher_force_properties=True)},
    "head-and-pair-tokens": {"head": HEAD},
    "qformer": {"towers": QFORMER},
    "by-slot": {"towers": replace(POOLED, sharing="by_slot")},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", ["solvation", "ddi"])
def test_answer_is_the_same_alone_and_in_any_batch(pairs, family, case):
    """Promise: batch size, order and padding change no answer score (1e-5), trie and log-odds alike."""
    table = pairs(family)
    model = sharpened(tiny_config(**CASES[case]), table)
    rows = [0, 9, 17, 3, 30, 3]
    together = asked(model, table, rows)
    assert len(set(np.round(together.value, 6))) > 1, "the model answers everything alike: nothing is tested"
    assert_close(Answers.concat([asked(model, table, [row]) for row in rows]), together)
    order = [4, 0, 5, 2, 1, 3]
    shuffled = asked(model, table, [rows[i] for i in order])
    assert_close(shuffled, Answers.concat([asked(model, table, [rows[i]]) for i in order]))


@pytest.mark.parametrize("family", ["solvation", "ddi"])
def test_answer_is_the_same_for_a_language_model_with_rows_of_its_own(pairs, llama, family):
    """Promise: one row per completion (architectures without masks) answers as the shared prompt does."""
    table = pairs(family)
    config = llama_config(llama, "frozen")
    shared = sharpened(config, table)
    rows = replace(config.language_model, sharing="expanded")
    expanded = sharpened(replace(config, language_model=rows), table)
    assert (shared.language_model.sharing, expanded.language_model.sharing) == ("shared", "expanded")
    expanded.load_state_dict(shared.state_dict())
    assert_close(asked(shared, table, [1, 2, 3]), asked(expanded, table, [1, 2, 3]), 1e-4)


# -- numbers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["expectation", "best", "median"])
@pytest.mark.parametrize("seed", range(3))
def test_untrained_model_never_answers_outside_its_interval(pairs, point, seed):
    """Promise: invalid-answer rate 0 under the automaton and L <= V < U, for a model that knows nothing."""
    table = pairs("solvation")
    decoding = DecodingConfig(width=8, point=point)
    model = sharpened(tiny_config(decoding=decoding), table, seed)
    found = asked(model, table, range(48))
    for value, text, (low, high) in zip(found.value, found.text, found.interval, strict=True):
        parsed = model.task.kind.parse(text, (model.task.low, model.task.high))
        assert parsed.valid
        assert parsed.flags == ()
        assert parsed.value == value
        assert parsed.interval == (low, high)
        assert low <= value < high
    assert set(found.text) <= set(model.space().texts)


def test_values_near_a_bound_stay_on_their_side(pairs):
    """Promise: an expectation between two printed numbers is reported as printed, inside its interval."""
    table = pairs("solvation")
    model = build(tiny_config(), table)
    values = model.space().values
    bounds = np.flatnonzero(np.diff(model.space().bins[:, 0])) + 1
    between = values[bounds] - 0.004  # rounds up, to the first number of the next interval
    nearest = _nearest(values, between)
    np.testing.assert_array_equal(nearest, bounds)
    low, high = model.space().bins[nearest].T
    assert ((low <= values[nearest]) & (values[nearest] < high)).all()
    assert (between < low).all()


def test_points_are_those_of_the_decoded_distribution(pairs):
    """Promise: expectation, most probable and median are what they are called; the printed number nearest."""
    table = pairs("solvation")
    config = tiny_config(decoding=DecodingConfig(width=1000))  # nothing is pruned
    model = sharpened(config, table)
    batch, values = collator(model, table)(range(4)), model.space().values
    found = decode_trie(model.lm, batch.trees, model.trie(), model.lm.encode(batch.inputs), width=1000)
    probability = np.zeros((4, len(values)))
    probability[found.prompt, found.leaf] = found.probability
    mean = probability @ values
    expected = {
        "expectation": mean.round(2),
        "best": values[probability.argmax(axis=1)],
        "median": values[(probability.cumsum(axis=1) >= 0.5 - 1e-9).argmax(axis=1)],
    }
    for point, numbers in expected.items():
        model.config = replace(config, decoding=replace(config.decoding, point=point))
        answers = answer(model, batch)
        np.testing.assert_allclose(answers.value, numbers, atol=1e-9, err_msg=point)
        np.testing.assert_allclose(answers.best, expected["best"])
        np.testing.assert_allclose(answers.spread, np.sqrt(probability @ values**2 - mean**2), rtol=1e-6)
        np.testing.assert_allclose(answers.coverage, 1.0)


def test_answers_without_interval_name_none(pairs):
    table = pairs("solvation")
    found = asked(build(tiny_config(cot=ChainOfThought(interval=False)), table), table, range(3))
    assert np.isnan(found.interval).all()
    assert all(text.startswith("The value is ") for text in found.text)


# -- yes and no ----------------------------------------------------------------------------------------


def test_log_odds_are_those_of_the_whole_answers(pairs):
    """Promise: log p(yes + end) - log p(no + end), averaged over both orders."""
    table = pairs("ddi")
    model = sharpened(tiny_config(), table)
    found = asked(model, table, [5])
    expected = []
    for row in (5, 5 + len(table)):
        batch = collator(model, table, both_orders=False)([row])
        scores = []
        for answer_text in ("Interaction: yes", "Interaction: no"):
            trees = [batch.trees[0].with_completions([model.writers[0].answer_ids(answer_text)])]
            with torch.no_grad():
                scored = model.lm.score(model.lm.pack(trees), model.lm.encode(batch.inputs))
            scores.append(float(scored.logps))
        expected.append(scores[0] - scores[1])
    np.testing.assert_allclose(found.log_odds_orders[0], expected, atol=1e-4)
    np.testing.assert_allclose(found.log_odds[0], np.mean(expected), atol=1e-4)
    np.testing.assert_allclose(found.value, 1 / (1 + np.exp(-found.log_odds)))
    assert found.text == ["Interaction: yes" if found.log_odds[0] > 0 else "Interaction: no"]


def test_order_of_a_symmetric_pair_is_irrelevant(pairs):
    """Promise: asking (b, a) gives the answer of (a, b), though the language model reads an order."""
    table = pairs("ddi")
    model = sharpened(tiny_config(head=HEAD), table)
    swapped = replace(table, mol_a=table.mol_b, mol_b=table.mol_a)
    one, other = asked(model, table, range(6)), asked(model, swapped, range(6))
    np.testing.assert_allclose(one.log_odds, other.log_odds, atol=1e-5)
    np.testing.assert_allclose(one.log_odds_orders, other.log_odds_orders[:, ::-1], atol=1e-5)
    np.testing.assert_allclose(one.head, other.head, atol=1e-5)
    assert np.abs(np.diff(one.log_odds_orders, axis=1)).max() > 1e-3, "the two orders never differ"


# -- reasoning and free answers ------------------------------------------------------------------------


def test_unfinished_reasoning_is_reported(pairs):
    """Promise: a property step cut by its budget is counted with the answer, which is valid all the same."""
    table = pairs("solvation")
    decoding = DecodingConfig(width=8, max_reasoning_tokens=1)  # two lines need two tokens
    model = sharpened(tiny_config(cot=REASONED, decoding=decoding), table)
    found = asked(model, table, range(4))
    assert found.reasoning_cut.all()
    assert set(found.text) <= set(model.space().texts)


def test_line_breaks_are_found_in_every_token(pairs, llama):
    for config in (tiny_config(cot=REASONED), llama_config(llama, "frozen", cot=REASONED)):
        model = build(config, pairs("solvation"))
        tokenizer = model.language_model.tokenizer
        ids = tokenizer.encode("one\ntwo\nSolvent: three\n", add_special_tokens=False)
        assert np.isin(ids, model.line_breaks).sum() == 3


def test_answers_without_reasoning_have_none(pairs):
    found = asked(build(tiny_config(), pairs("ddi")), pairs("ddi"), [0, 1])
    assert found.reasoning == ["", ""]
    assert not found.reasoning_cut.any()


@pytest.mark.parametrize("sharing", ["tied", "by_role", "by_slot", "by_task", "adapter"])
def test_free_answers_read_the_soft_tokens_of_their_own_pair(pairs, sharing):
    """Promise: a batch made in both orders writes what the same pairs in one order write."""
    table = pairs("ddi")
    model = sharpened(tiny_config(towers=replace(POOLED, sharing=sharing), head=HEAD), table)
    with torch.no_grad():  # let the soft tokens speak louder than the text
        for key in model.writers[0].keys:
            model.pair_towers.towers.tower(key).parts["proj"].output.weight.mul_(30)
    both = write_freely(model, collator(model, table, both_orders=True)(range(12)))
    one = write_freely(model, collator(model, table, both_orders=False)(range(12)))
    assert both == one
    assert len(set(one)) > 1, "all pairs get the same text: nothing is tested"
