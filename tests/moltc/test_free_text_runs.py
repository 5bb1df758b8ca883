"""Captions of one molecule and descriptions of two: prompts, targets, test runs and answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tiny_families import TEXTS
from tiny_pairs import POOLED, QFORMER, build, collator, data, fit, module, tiny_config, train_batch, trainer

from moltc.chain_of_thought import ChainOfThought
from moltc.cli import main
from moltc.evaluate import evaluate
from moltc.pair_towers import PairHeadConfig
from moltc.predictor import PairPredictor


def decoded(model, tree) -> tuple[str, str]:
    """The prompt of a tree, and what is to be written behind it."""
    decode = model.language_model.tokenizer.decode
    return decode(tree.prompt_ids), decode(tree.completions[0], skip_special_tokens=True).strip()


# -- prompts and targets -------------------------------------------------------------------------------


@pytest.mark.parametrize("sharing", ["tied", "by_role", "by_slot", "by_task", "adapter"])
@pytest.mark.parametrize("towers", [POOLED, QFORMER], ids=["pooled", "qformer"])
def test_caption_is_asked_about_one_molecule(pairs, sharing, towers):
    """Promise: one slot, one molecule, its own caption."""
    table = pairs("caption")
    model = build(tiny_config(towers=replace(towers, sharing=sharing)), table)
    batch = train_batch(model, table, range(5))
    for row, tree in enumerate(batch.trees):
        (run,) = tree.slots
        assert (run.entity, run.length) == (table.mol_a[row], towers.num_queries)
        prompt, target = decoded(model, tree)
        smiles = table.molecules.smiles[table.mol_a[row]]
        assert f"Molecule: [START_I_SMILES]{smiles}[END_I_SMILES]" in prompt
        assert "Question: What is this molecule like?" in prompt
        assert target == table.answer[row]
    assert np.isfinite(float(model.losses(batch)["loss"].detach()))


def test_description_says_what_each_molecule_is_like(pairs):
    """Promise: a line for each molecule in the order of the prompt, whether the pair is exchanged or not."""
    table = pairs("description")
    model = build(tiny_config(), table)
    collate = collator(model, table, targets=True, both_orders=False)
    told = table.molecules.property_text
    trees = collate([3, 3 + len(table)]).trees
    for tree, order in zip(trees, ((table.mol_a, table.mol_b), (table.mol_b, table.mol_a)), strict=True):
        first, second = (told[molecules[3]] for molecules in order)
        prompt, target = decoded(model, tree)
        assert "Question: What are these two drugs like?" in prompt
        assert target == f"Drug 1: {first}\nDrug 2: {second}"


def test_chain_of_thought_of_other_tasks_does_not_touch_texts(pairs):
    """Promise: what would be reasoning elsewhere is the answer here, and is not given in the prompt."""
    table = pairs("description")
    given = ChainOfThought(properties=True, teacher_force_properties=True)
    model = build(tiny_config(cot=given), table)
    prompt, target = decoded(model, train_batch(model, table, [0]).trees[0])
    assert "It is a kind of" not in prompt
    assert target.count("It is a kind of") == 2


def test_text_alone_has_no_head(pairs):
    with pytest.raises(ValueError, match=r"free texts have no auxiliary head: set head\.weight to 0"):
        build(tiny_config(head=PairHeadConfig(weight=1.0)), pairs("caption"))


# -- runs ----------------------------------------------------------------------------------------------


def test_training_watches_the_loss(pairs_folder, tmp_path):
    """Promise: texts are not compared in validation, their likelihood is what is watched."""
    learner = module(tiny_config())
    runner = trainer(tmp_path, max_epochs=1)
    pairs = data(pairs_folder("caption"))
    runner.fit(learner, datamodule=pairs)
    assert pairs.score == ("val/nll", "min")
    assert np.isfinite(float(runner.callback_metrics["val/nll"]))
    assert set(runner.callback_metrics) == {"train/loss", "train/nll", "val/nll"}


@pytest.mark.parametrize(("name", "count"), [("caption", 1), ("description", 3)], ids=["one", "two"])
def test_some_test_pairs_are_written(pairs_folder, tmp_path, name, count):
    """Promise: a seeded choice of the test split is written; page and predictions hold these pairs alone."""
    learner = module(tiny_config(), free_answers=count)
    trainer(tmp_path).test(learner, datamodule=data(pairs_folder(name)), verbose=False)
    (found,) = evaluate(learner, tmp_path / "test").values()
    frame = pl.read_parquet(tmp_path / "test/predictions.parquet")
    table = learner.data.table
    assert len(frame) == count
    assert set(frame["pair_id"]) <= set(table.pair_id[table.rows("test")])
    assert frame["smiles_b"].is_in([""]).all() == (name == "caption")
    assert "truth" not in frame.columns
    assert any(f"{count} seeded test pairs were written" in note for note in found.notes)
    for reference in learner.references(table.rows("test")):
        lines = [line.removeprefix(f"Drug {n}: ") for n, line in enumerate(reference.split("\n"), start=1)]
        assert len(lines) == len(learner.moltc.task.kind.roles)
        assert set(lines) <= set(TEXTS)


def test_texts_need_pairs_to_write(pairs_folder, tmp_path):
    """Promise: a test that would write nothing is refused before it starts."""
    learner = module(tiny_config(), free_answers=0)
    with pytest.raises(ValueError, match="free_answers"):
        trainer(tmp_path).test(learner, datamodule=data(pairs_folder("caption")), verbose=False)


# -- what a person asks --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(pairs, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("captions") / "export"
    build(tiny_config(), pairs("caption")).save_pretrained(folder)
    return str(folder)


def test_one_molecule_is_enough(exported):
    """Promise: a caption is asked about one SMILES, typed as it is or in a list of one."""
    predictor = PairPredictor.from_pretrained(exported)
    plain, listed, bad = predictor.predict(["CCO", ("CCO",), "C(C"])
    assert plain == listed
    assert (plain.smiles_a, plain.smiles_b, plain.valid) == ("CCO", "", True)
    assert (plain.value, plain.label, plain.probability, plain.unit) == (None, None, None, "")
    assert plain.warnings == ("the answer did not end within its budget of tokens",)
    assert not bad.valid
    assert bad.warnings[0].startswith("Molecule 'C(C'")


@pytest.mark.parametrize("asked", [("CCO", "O"), ()], ids=["two", "none"])
def test_what_is_not_one_molecule_is_an_error(exported, asked):
    with pytest.raises(ValueError, match="pair 0 is .*give one SMILES"):
        PairPredictor.from_pretrained(exported).predict([asked])


def test_one_molecule_on_the_command_line(exported, tmp_path, capsys):
    assert main(["answer", "--model", exported, "CCO"]) == 0
    out = capsys.readouterr().out
    assert "What is this molecule like?" in out
    assert "Molecule: CCO" in out
    assert "probability" not in out
    source = tmp_path / "asked.csv"
    source.write_text("name,smiles\nethanol,CCO\nwater,O\n")
    assert main(["answer", "--model", exported, "--csv", str(source), "--a", "smiles"]) == 0
    assert "2 of 2 pairs answered" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (("CCO", "O"), "tiny-caption.caption is about one molecule, 2 were given"),
        (("--csv", "FILE", "--b", "name"), "is about one molecule: leave --b out"),
        (("CCO", "--query", "nausea"), "leaves nothing open: leave queries out"),
    ],
    ids=["two", "second-column", "query"],
)
def test_wrong_questions_about_one_molecule(exported, tmp_path, capsys, rest, message):
    source = tmp_path / "asked.csv"
    source.write_text("name,smiles\nethanol,CCO\n")
    words = [str(source) if word == "FILE" else word for word in rest]
    assert main(["answer", "--model", exported, *words]) == 2
    assert message in capsys.readouterr().err


def test_training_moves_every_part(pairs_folder, tmp_path):
    snapshots = fit(module(tiny_config()), pairs_folder("caption"), tmp_path)
    assert snapshots.moved(0) == set(snapshots.states[0])
