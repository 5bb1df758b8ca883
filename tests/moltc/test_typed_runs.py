"""Typed interactions from a user's files to answers: sentences in both directions, scores of all classes."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tiny_families import CLASSES, write_typed_csv
from tiny_pairs import arguments, build, collator, data, module, tiny_config, trainer

from data_prep.cli import main as data_prep
from moltc.answering import answer, calibrated
from moltc.class_calibration import ClassCalibration
from moltc.cli import main
from moltc.ensemble import CLASS_SCORES
from moltc.evaluate import evaluate
from moltc.model import DecodingConfig
from moltc.pair_towers import PairHeadConfig
from moltc.predictor import PairPredictor

SENTENCES = [one.text.format(a="Drug 1", b="Drug 2") for one in CLASSES]
TURNED = [one.text.format(a="Drug 2", b="Drug 1") for one in CLASSES[:2]] + SENTENCES[2:]
HEAD = PairHeadConfig(weight=1.0, hidden=(8,))


def built(folder) -> str:
    """The typed pairs as ``data-prep pairs`` builds them from a user's two files."""
    pairs, classes = write_typed_csv(folder)
    files = ["--input", str(pairs), "--classes", str(classes), "--out", str(folder / "built")]
    columns = ["--a", "a", "--b", "b", "--label", "type", "--split", "part"]
    assert data_prep(["pairs", "--family", "typed-ddi", *files, *columns]) == 0
    return str(folder / "built")


def test_from_a_users_files_to_an_answer(tmp_path, capsys):
    """Promise: two files, one build, one training: the test counts sentences, the export answers in them."""
    options = {"trainer__max_epochs": 2, "data__exchange_typed": "true"}
    root = tmp_path / "run"
    assert main(arguments("fit", built(tmp_path), root, **options)) == 0
    results = json.loads((root / "test/metrics.json").read_text())
    assert {"accuracy", "invalid_rate"} <= results["metrics"].keys()
    frame = pl.read_parquet(root / "test/predictions.parquet")
    assert set(frame["text"]) <= {f"Interaction: {sentence}" for sentence in SENTENCES}
    assert frame["probability"].is_between(1 / 3, 1.0).all()  # of the most probable of three
    each = np.exp(frame[CLASS_SCORES].to_numpy())
    np.testing.assert_allclose(each.sum(axis=1), 1.0, atol=1e-4)
    np.testing.assert_allclose(each.max(axis=1), frame["probability"].to_numpy(), atol=1e-5)
    assert each.argmax(axis=1).tolist() == frame["class"].to_list()
    capsys.readouterr()
    assert main(["answer", "--model", str(root / "export"), "CCO", "c1ccccc1"]) == 0
    out = capsys.readouterr().out
    (answered,) = PairPredictor.from_pretrained(root / "export").predict([("CCO", "c1ccccc1")])
    assert answered.label in SENTENCES
    assert "Which interaction do these two drugs have?" in out
    assert f"Answer: Interaction: {answered.label}\n  probability: {answered.probability:.3f}" in out
    asked = tmp_path / "asked.csv"
    asked.write_text("a,b\nCCO,c1ccccc1\n")
    assert main(["answer", "--model", str(root / "export"), "--csv", str(asked)]) == 0
    (line,) = csv.DictReader((tmp_path / "asked.answers.csv").open())
    assert line["label"] == answered.label


# -- answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("class_scores", ["trie", "labels"])
def test_scores_are_a_distribution_over_the_classes(pairs, class_scores):
    """Promise: the classes' probabilities sum to one, before and after calibration; the answer is the most
    probable class."""
    table = pairs("typed-ddi")
    model = build(replace(tiny_config(), decoding=DecodingConfig(class_scores=class_scores)), table)
    found = answer(model, collator(model, table)(range(12)))
    assert found.scores.shape == (12, 3)
    np.testing.assert_allclose(np.exp(found.scores).sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(found.best, found.scores.argmax(axis=1))
    np.testing.assert_allclose(found.value, np.exp(found.scores).max(axis=1), rtol=1e-5)
    assert found.text == [f"Interaction: {SENTENCES[int(number)]}" for number in found.best]
    model.calibration[model.task.name] = {"temperature": ClassCalibration(temperature=3.0).to_dict()}
    cooled = calibrated(model, 0, found)
    np.testing.assert_allclose(np.exp(cooled.scores).sum(axis=1), 1.0, rtol=1e-5)
    assert cooled.text == found.text
    assert (cooled.value < found.value).all()


def test_predictor_says_the_sentence_and_its_probability(pairs):
    table = pairs("typed-ddi")
    model = build(tiny_config(), table)
    smiles, rows = table.molecules.smiles, table.rows("test")
    expected = answer(model, collator(model, table)(rows))
    asked = [(smiles[table.mol_a[row]], smiles[table.mol_b[row]]) for row in rows]
    found = PairPredictor(model).predict(asked)
    assert [one.label for one in found] == [SENTENCES[int(number)] for number in expected.best]
    assert [one.probability for one in found] == pytest.approx(expected.value.tolist(), rel=1e-4)
    assert [(one.value, one.interval, one.margin, one.unit) for one in found] == [(None, None, None, "")] * 8


def test_test_run_says_what_it_found(pairs_folder, tmp_path):
    """Promise: probabilities are calibrated on valid, the head stands beside the text, free answers count."""
    learner = module(tiny_config(head=HEAD), free_answers=3)
    trainer(tmp_path).test(learner, datamodule=data(pairs_folder("typed-ddi")), verbose=False)
    (found,) = evaluate(learner, tmp_path / "test", fingerprint_baselines=False).values()
    rows = {"MolTC, uncalibrated", "MolTC, written freely (3 pairs)", "auxiliary head (control)"}
    assert rows <= found.rows.keys()
    assert any("prediction sets" in note for note in found.notes)
    (answers,) = learner.test_answers
    labels = learner.labels(answers["test"][0])
    assert found.metrics["accuracy"].value == np.mean(answers["test"][1].best == labels)
    assert (tmp_path / "test/classes.png").is_file()
    frame = pl.read_parquet(tmp_path / "test/predictions.parquet")
    assert frame["class"].to_list() == answers["test"][1].best.astype(int).tolist()


# -- both orders ---------------------------------------------------------------------------------------


def targets(model, table, rows) -> list[str]:
    """What is written after the prompts of rows."""
    batch = collator(model, table, targets=True, both_orders=False)(rows)
    return [model.language_model.tokenizer.decode(tree.completions[0][:-1]) for tree in batch.trees]


def test_exchanged_molecules_turn_the_sentence(pairs):
    """Promise: asked in the other order a directed sentence names the drugs the other way round, a symmetric
    one stays; the label is the same class."""
    table = pairs("typed-ddi")
    model = build(tiny_config(), table)
    rows = [int(np.flatnonzero(table.label == label)[0]) for label in range(3)]
    exchanged = [row + len(table) for row in rows]
    assert targets(model, table, rows) == [f" Interaction: {sentence}" for sentence in SENTENCES]
    assert targets(model, table, exchanged) == [f" Interaction: {sentence}" for sentence in TURNED]
    assert len(set(SENTENCES) & set(TURNED)) == 1
    batch = collator(model, table, both_orders=False)(exchanged)
    assert [[run.entity for run in tree.slots] for tree in batch.trees] == [
        [table.mol_b[row], table.mol_a[row]] for row in rows
    ]


@pytest.mark.parametrize("exchange", [True, False], ids=["both-orders", "as-given"])
def test_exchange_is_a_choice_of_training(pairs, pairs_folder, exchange):
    """Promise: half of the pairs of an epoch are asked in the other order if that is wished, else none; they
    are answered in their own order alone."""
    table = pairs("typed-ddi")
    model = build(tiny_config(), table)
    loaders = data(pairs_folder("typed-ddi"), exchange_typed=exchange)
    loaders.setup("fit")
    loaders.make_collator = lambda table, **options: collator(model, table, **options)
    given = np.concatenate(list(loaders.train_dataloader().batch_sampler))
    assert bool((given >= len(table)).any()) == exchange
    (valid,) = loaders.val_dataloader()
    assert all(len(batch.trees) == batch.num_pairs for batch in valid)


def test_exchange_goes_without_a_head(pairs_folder, tmp_path, capsys):
    """Promise: the head's classes know no direction; the mend is named, in one sentence."""
    options = {"data__exchange_typed": "true", "model__head__weight": 1.0}
    assert main(arguments("fit", pairs_folder("typed-ddi"), tmp_path, **options)) == 2
    said = capsys.readouterr().err
    assert "exchange_typed goes without an auxiliary head: set model.head.weight to 0" in said


def test_exchange_without_typed_pairs_is_refused(pairs_folder, tmp_path, capsys):
    """Promise: an option is honoured or it is an error."""
    options = {"data__exchange_typed": "true"}
    assert main(arguments("fit", pairs_folder("solvation"), tmp_path, **options)) == 2
    assert "exchange_typed is for typed interactions" in capsys.readouterr().err


def test_table_without_sentences_is_refused(pairs):
    """Promise: classes without wording cannot be answered; the build is named."""
    table = pairs("typed-ddi")
    bare = replace(table, asked=(replace(table.asked[0], classes=()),))
    with pytest.raises(ValueError, match="tiny-typed-ddi holds no sentences of its classes"):
        bare.tasks(bare.rows("train"))
