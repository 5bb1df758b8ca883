"""Side effects: every row asks about its own effect, in the prompt, in files and in what a person asks."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from tiny_pairs import build, collator, data, module, tiny_config, trainer

from moltc.answering import answer
from moltc.cli import main
from moltc.evaluate import evaluate
from moltc.predictor import PairPredictor

QUESTION = "Does taking both drugs together cause {query}?"


@pytest.fixture(scope="module")
def model(pairs):
    """An untrained model whose answers differ: its output layer is scaled up."""
    made = build(tiny_config(), pairs("side-effect"))
    with torch.no_grad():
        made.language_model.causal_lm.get_output_embeddings().weight.mul_(8.0)
    return made


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("side-effects") / "export"
    model.save_pretrained(folder)
    return str(folder)


def test_each_prompt_asks_about_its_own_effect(pairs, model):
    """Promise: the query of a row stands in its question, in both orders, and in no other row's."""
    table = pairs("side-effect")
    rows = list(range(6))
    batch = collator(model, table)(rows)
    texts = model.language_model.tokenizer.batch_decode([tree.prompt_ids for tree in batch.trees])
    assert len(texts) == 12
    for text, query in zip(texts, [*table.query[rows]] * 2, strict=True):
        assert QUESTION.replace("{query}", query) in text
    assert len(set(table.query[rows])) == 2


def test_row_without_a_query_is_an_error(pairs, model):
    table = pairs("side-effect")
    empty = replace(table, query=np.full(len(table), None))
    with pytest.raises(ValueError, match="give the row's query"):
        collator(model, empty)([0])


def test_predictor_asks_what_it_is_told(pairs, model):
    """Promise: queries given by hand get the answers that the table's rows get, and they matter."""
    table = pairs("side-effect")
    rows, smiles = table.rows("test"), table.molecules.smiles
    expected = answer(model, collator(model, table)(rows))
    asked = [(smiles[table.mol_a[row]], smiles[table.mol_b[row]]) for row in rows]
    predictor = PairPredictor(model)
    found = predictor.predict(asked, queries=table.query[rows].tolist())
    assert [one.probability for one in found] == pytest.approx(expected.value.tolist(), abs=1e-5)
    both = predictor.predict([("CCO", "O")] * 2, queries=["nausea", "a dry mouth"])
    assert both[0].probability != both[1].probability


def test_bad_pair_takes_its_query_along(model):
    """Promise: a pair that cannot be read does not shift the queries of the others."""
    predictor = PairPredictor(model)
    asked = [("CCO", "O"), ("C(C", "O"), ("CCO", "O")]
    found = predictor.predict(asked, queries=["nausea", "fever", "a dry mouth"])
    assert [one.valid for one in found] == [True, False, True]
    for place, query in ((0, "nausea"), (2, "a dry mouth")):
        (alone,) = predictor.predict([("CCO", "O")], queries=[query])
        assert found[place].probability == pytest.approx(alone.probability, abs=1e-6)


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (None, "needs a query for each of 2 pairs, got none"),
        (["nausea"], "needs a query for each of 2 pairs, got 1"),
        (["nausea", " "], "the query of pair 1 is empty"),
    ],
    ids=["none", "too-few", "blank"],
)
def test_missing_queries_are_refused(model, queries, message):
    with pytest.raises(ValueError, match=message):
        PairPredictor(model).predict([("CCO", "O"), ("CCN", "O")], queries=queries)


def test_superfluous_queries_are_refused(pairs):
    predictor = PairPredictor(build(tiny_config(), pairs("ddi")))
    with pytest.raises(ValueError, match=r"tiny-ddi\.interaction leaves nothing open: leave queries out"):
        predictor.predict([("CCO", "O")], queries=["nausea"])


def test_report_names_what_was_asked(pairs_folder, tmp_path):
    learner = module(tiny_config(), free_answers=2)
    trainer(tmp_path).test(learner, datamodule=data(pairs_folder("side-effect")), verbose=False)
    evaluate(learner, tmp_path / "test", fingerprint_baselines=False)
    table = learner.data.table
    frame = pl.read_parquet(tmp_path / "test/predictions.parquet")
    assert frame["query"].to_list() == table.query[table.rows("test")].tolist()
    assert "nausea" in (tmp_path / "test/report.html").read_text()


# -- the command ---------------------------------------------------------------------------------------


def test_query_on_the_command_line(exported, model, capsys):
    """Promise: the whole question is printed with its answer."""
    assert main(["answer", "--model", exported, "CCO", "O", "--query", "a dry mouth"]) == 0
    out = capsys.readouterr().out
    (found,) = PairPredictor(model).predict([("CCO", "O")], queries=["a dry mouth"])
    assert QUESTION.replace("{query}", "a dry mouth") in out
    assert f"probability of yes: {found.probability:.3f}" in out


@pytest.mark.parametrize("way", ["column", "one-for-all"])
def test_queries_of_a_file(exported, model, tmp_path, way):
    """Promise: a column of queries, or one for every row; the answers say what was asked."""
    source = tmp_path / "asked.csv"
    source.write_text("first,second,effect\nCCO,O,nausea\nC(C,O,fever\nCCN,CO,a dry mouth\n")
    options = ["--query-column", "effect"] if way == "column" else ["--query", "nausea"]
    assert main(["answer", "--model", exported, "--csv", str(source), *options]) == 1
    lines = list(csv.DictReader((tmp_path / "asked.answers.csv").open()))
    queries = ["nausea", "fever", "a dry mouth"] if way == "column" else ["nausea"] * 3
    assert [line["query"] for line in lines] == queries
    asked = [("CCO", "O"), ("C(C", "O"), ("CCN", "CO")]
    expected = PairPredictor(model).predict(asked, queries=queries)
    for line, one in zip(lines, expected, strict=True):
        assert line["valid"] == str(one.valid)
        assert line["probability"] == ("" if one.probability is None else str(one.probability))


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (("CCO", "O"), "needs a query for each of 1 pairs, got none"),
        (("CCO", "O", "--query", ""), "the query of pair 0 is empty"),
        (("CCO", "O", "--query-column", "effect"), "go with --csv"),
        (("--csv", "FILE", "--query-column", "fever"), "no column 'fever'"),
        (("--csv", "FILE", "--query-column", "effect"), "the query of pair 1 is empty"),
        (("--csv", "FILE", "--query", "x", "--query-column", "effect"), "give one"),
        (("CCO", "O", "--query", "x", "--task", "other"), "has no task 'other'"),
    ],
    ids=["none", "empty", "no-file", "no-column", "empty-cell", "both", "other-task"],
)
def test_wrong_queries_end_in_one_sentence(exported, tmp_path, capsys, rest, message):
    source = tmp_path / "asked.csv"
    source.write_text("first,second,effect\nCCO,O,nausea\nCCN,O,\n")
    words = [str(source) if word == "FILE" else word for word in rest]
    assert main(["answer", "--model", exported, *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("moltc answer: ")
    assert said.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["asked.csv"]
