"""Numbers and yes/no answers about one molecule: no head, no second slot, all the rest as for pairs."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from tiny_pairs import arguments, build, collator, data, module, tiny_config, train_batch, trainer

from moltc.answering import answer
from moltc.chain_of_thought import ChainOfThought
from moltc.cli import main
from moltc.evaluate import evaluate
from moltc.optim import OptimConfig
from moltc.pair_towers import PAIR, PairHeadConfig
from moltc.predictor import PairPredictor

HEAD = PairHeadConfig(weight=0.5, hidden=(8,), pair_tokens=1)
NAMES = ["solubility", "barrier"]
QUESTIONS = ["logarithm of the solubility of this molecule", "pass the blood-brain barrier?"]


# -- prompts and heads ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "question", "opening"),
    [
        ("solubility", QUESTIONS[0], "The value lies between "),
        ("barrier", QUESTIONS[1], "Verdict: "),
    ],
    ids=NAMES,
)
def test_one_molecule_is_asked_about(pairs, name, question, opening):
    table = pairs(name)
    model = build(tiny_config(), table)
    decode = model.language_model.tokenizer.decode
    for row, tree in enumerate(train_batch(model, table, range(4)).trees):
        (run,) = tree.slots
        assert run.entity == table.mol_a[row]
        prompt = decode(tree.prompt_ids)
        assert question in prompt
        assert prompt.count("_SMILES]") == 2  # around one SMILES
        assert decode(tree.completions[0], skip_special_tokens=True).strip().startswith(opening)


@pytest.mark.parametrize("name", NAMES)
def test_head_alone_is_refused(pairs, name):
    """Promise: what has no auxiliary head says so, in place of training none."""
    with pytest.raises(ValueError, match=r"single molecules have no auxiliary head: set head\.weight to 0"):
        build(tiny_config(head=HEAD), pairs(name))


def test_beside_pairs_only_these_have_a_head(pairs):
    """Promise: in joint training heads and pair tokens are those of pairs; no molecule gets any."""
    table = pairs("solvation", *NAMES)
    model = build(tiny_config(head=HEAD), table)
    assert list(model.pair_towers.heads) == ["solvation/solvation free energy"]
    rows = [int(table.rows("train", number)[0]) for number in (1, 0, 2)]
    batch = train_batch(model, table, rows)
    assert batch.packed.entities[PAIR] == [1]
    (group,) = batch.inputs.groups
    assert group.prompts.tolist() == [1]
    assert np.isfinite(float(model.losses(batch)["head"].detach()))
    for number in (1, 2):
        found = answer(model, collator(model, table)(table.rows("test", number).tolist()))
        assert np.isnan(found.head).all()


def test_numbers_that_no_head_shows_are_not_shifted(pairs):
    """Promise: targets are drawn anew only where pair tokens show the number."""
    table = pairs("solvation", "solubility")
    model = build(tiny_config(head=HEAD), table)
    collate = collator(model, table, targets=True, both_orders=False)
    collate.shift = 1.0
    rows = [*table.rows("train", 0)[:4], *table.rows("train", 1)[:4]]
    decode = model.language_model.tokenizer.decode
    written = [decode(tree.completions[0], skip_special_tokens=True) for tree in collate(rows).trees]
    numbers = np.array([model.tasks[0].kind.parse(text).value for text in written])
    same = np.isclose(numbers, table.label[rows], atol=0.006)
    assert not same[:4].all()
    assert same[4:].all()


# -- runs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "score", "metric", "constant"),
    [
        ("solubility", "val/rmse", "rmse", "mean of train"),
        ("barrier", "val/auc", "auc_roc", "share of yes in train"),
    ],
    ids=NAMES,
)
def test_run_on_the_command_line(pairs_folder, tmp_path, capsys, name, score, metric, constant):
    """Promise: fit, test beside baselines, export, answer; the same commands as for pairs."""
    options = {"fingerprint_baselines": "true", "trainer__max_epochs": 1}
    assert main(arguments("fit", pairs_folder(name), tmp_path, **options)) == 0
    log = pl.read_csv(next(tmp_path.glob("logs/version_*/metrics.csv")), infer_schema_length=None)
    assert np.isfinite(log[score].drop_nulls().to_list()).all()
    figures = json.loads((tmp_path / "test/metrics.json").read_text())
    assert np.isfinite(figures["metrics"][metric]["value"])
    rows = {title for title in figures["baselines"] if not title.startswith("MolTC")}
    assert rows == {constant, "Morgan + HGB", "Morgan + MLP"}
    predictions = pl.read_parquet(tmp_path / "test/predictions.parquet")
    assert predictions["smiles_b"].unique().to_list() == [""]
    assert "head" not in predictions.columns
    capsys.readouterr()
    assert main(["answer", "--model", str(tmp_path / "export"), "CCO"]) == 0
    out = capsys.readouterr().out
    assert QUESTIONS[NAMES.index(name)] in out
    assert "Molecule: CCO" in out
    assert main(["answer", "--model", str(tmp_path / "export"), "CCO", "O"]) == 2
    assert "is about one molecule, 2 were given" in capsys.readouterr().err


def test_verdicts_are_answered_with_a_probability(pairs):
    predictor = PairPredictor(build(tiny_config(), pairs("barrier")))
    (found,) = predictor.predict(["CCO"])
    assert found.text == f"Verdict: {found.label}"
    assert found.label == ("yes" if found.probability > 0.5 else "no")
    assert (found.smiles_b, found.value, found.unit) == ("", None, "")


def test_numbers_are_answered_in_their_unit(pairs):
    (found,) = PairPredictor(build(tiny_config(), pairs("solubility"))).predict(["CCO"])
    assert (found.unit, found.label, found.probability) == ("log10(mol/L)", None, None)
    low, high = found.interval
    assert low <= found.value < high


@pytest.mark.parametrize("name", NAMES)
def test_reasoning_about_one_molecule_is_one_line(pairs_folder, tmp_path, name):
    """Promise: the broad step works for one molecule, and what is written freely is read after it."""
    learner = module(tiny_config(cot=ChainOfThought(properties=True)), free_answers=3)
    trainer(tmp_path).test(learner, datamodule=data(pairs_folder(name)), verbose=False)
    (found,) = evaluate(learner, tmp_path / "test", fingerprint_baselines=False).values()
    assert any(len(rows) for rows in learner.free_texts)
    writer = learner.moltc.writers[0]
    assert writer.reasoning(learner.data.table.text(0)).count("\n") == 1
    assert found.metrics["invalid_rate"].value == 0.0


def test_verdicts_are_learnt_by_heart(pairs_folder, tmp_path):
    """Promise: training on single molecules trains: all of twelve molecules are answered right."""
    learner = module(
        tiny_config(), optim=OptimConfig(lr_language_model=4e-3, lr_towers=4e-3, weight_decay=0.0)
    )
    pairs = data(pairs_folder("barrier"), batch_size=16)
    trainer(tmp_path, max_epochs=40, limit_val_batches=0, gradient_clip_val=1.0).fit(
        learner, datamodule=pairs
    )
    model, table = learner.moltc.eval(), pairs.table
    rows = table.rows("train")
    found = answer(model, collator(model, table)(rows.tolist()))
    assert ((found.log_odds > 0) == table.label[rows]).all()
