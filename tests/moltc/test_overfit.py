"""A tiny model learns 32 pairs by heart, reasoning included, and stops by itself."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_pairs import KINDS, collator, data, module, tiny_config, trainer, write_pairs

from moltc.answering import Answers, answer
from moltc.backbone.decoding import generate
from moltc.chain_of_thought import ChainOfThought, PromptStyle
from moltc.model import DecodingConfig, MolTC
from moltc.optim import OptimConfig
from moltc.pair_table import PairTable

GRAPH_ONLY = PromptStyle(smiles=False)
BY_HEART = OptimConfig(lr_language_model=4e-3, lr_towers=4e-3, weight_decay=0.0)


def learnt(folder, root, epochs: int, **parts) -> tuple[MolTC, PairTable]:
    """A tiny model trained on the 32 training pairs, and their table."""
    learner = module(tiny_config(prompt=GRAPH_ONLY, **parts), optim=BY_HEART)
    pairs = data(folder, batch_size=16)
    runner = trainer(root, max_epochs=epochs, limit_val_batches=0, gradient_clip_val=1.0)
    runner.fit(learner, datamodule=pairs)
    return learner.moltc.eval(), pairs.table


def asked(model: MolTC, table: PairTable) -> tuple[Answers, list[np.ndarray], np.ndarray]:
    """Answers to the training pairs, what the model writes freely, and the labels."""
    rows = table.rows("train")
    batch = collator(model, table, both_orders=False)(rows.tolist())
    encoded = model.lm.encode(batch.inputs)
    written = generate(model.lm, batch.trees, encoded, max_new_tokens=60)
    return answer(model, collator(model, table)(rows.tolist())), written, table.label[rows]


def assert_stops_with_the_right_answer(model: MolTC, written: list[np.ndarray], labels: np.ndarray) -> None:
    """Free text ends with the end token and says the label."""
    tokenizer = model.language_model.tokenizer
    assert all(ids[-1] == tokenizer.eos_token_id for ids in written), "the model does not stop by itself"
    texts = tokenizer.batch_decode(written, skip_special_tokens=True)
    parsed = [model.task.kind.parse(text, (model.task.low, model.task.high)) for text in texts]
    assert all(p.valid for p in parsed)
    wrong = np.abs(np.array([p.value for p in parsed]) - labels) > 0.05
    assert wrong.sum() <= 1


def test_solvation_is_learnt_by_heart(pairs_folder, tmp_path):
    """Promise: 32 pairs reach a mean absolute error below 0.05 kcal/mol, and the model learns to stop."""
    model, table = learnt(pairs_folder("solvation"), tmp_path, 200)
    found, written, labels = asked(model, table)
    assert np.abs(found.value - labels).mean() < 0.05
    assert ((found.interval[:, 0] <= labels) & (labels < found.interval[:, 1])).mean() > 0.9
    assert_stops_with_the_right_answer(model, written, labels)


def test_interactions_are_learnt_by_heart(pairs_folder, tmp_path):
    """Promise: 32 pairs are all answered right, in either order."""
    model, table = learnt(pairs_folder("ddi"), tmp_path, 80)
    found, written, labels = asked(model, table)
    assert ((found.log_odds > 0) == labels).all()
    assert ((found.log_odds_orders > 0) == labels[:, None]).all()
    assert_stops_with_the_right_answer(model, written, labels)


def test_typed_interactions_are_learnt_by_heart(pairs_folder, tmp_path):
    """Promise: 32 pairs of three classes are all answered right, and the sentences are written by heart."""
    model, table = learnt(pairs_folder("typed-ddi"), tmp_path, 80)
    found, written, labels = asked(model, table)
    np.testing.assert_array_equal(found.best, labels)
    assert_stops_with_the_right_answer(model, written, labels)


def test_captions_are_learnt_by_heart(pairs_folder, tmp_path):
    """Promise: free texts are written word by word, and end by themselves."""
    model, table = learnt(pairs_folder("caption"), tmp_path, 120)
    rows = table.rows("train")
    found = answer(model, collator(model, table)(rows.tolist()))
    assert found.text == table.answer[rows].tolist()
    assert not found.reasoning_cut.any()


@pytest.mark.parametrize(("family", "epochs"), [("solvation", 160), ("ddi", 90)], ids=["solvation", "ddi"])
def test_reasoning_is_learnt_by_heart(tmp_path, family, epochs):
    """Promise: what each molecule is like is written first, uncut, and the answer after it is right."""
    folder = write_pairs(tmp_path / family, family, property_text=KINDS)
    decoding = DecodingConfig(width=8, max_reasoning_tokens=40)
    model, table = learnt(folder, tmp_path, epochs, cot=ChainOfThought(properties=True), decoding=decoding)
    found, written, labels = asked(model, table)
    assert not found.reasoning_cut.any()
    rows = table.rows("train")
    expected = [model.writers[0].reasoning(table.text(row)).strip() for row in rows]
    assert np.mean([one == other for one, other in zip(found.reasoning, expected, strict=True)]) > 0.95
    if family == "solvation":
        assert np.abs(found.value - labels).mean() < 0.05
    else:
        assert ((found.log_odds > 0) == labels).all()
    assert_stops_with_the_right_answer(model, written, labels)
