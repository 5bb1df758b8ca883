"""Answers by every evaluator, their report, and the command that writes it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tiny_language import fitted, listed_data

from graphrec.data import RecommendationData
from graphrec.llara import command
from graphrec.llara.answers import EVALUATORS, TitleTrie, answers, judge
from graphrec.llara.recommender import Llara
from graphrec.llara.report import answer_report
from moltc.backbone.bootstrap import Bootstrap


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return listed_data(tmp_path_factory.mktemp("lists"))


@pytest.fixture(scope="module")
def model(data: RecommendationData) -> Llara:
    return fitted(data, epochs=2)


def test_the_command_offers_every_evaluator() -> None:
    assert command.NAMES == EVALUATORS


def test_the_likeliest_candidate_is_the_one_ranked_first(model: Llara, data: RecommendationData) -> None:
    rows = data.test
    assert rows.candidates is not None
    for draw in (0, 1):
        scores = model.draw_scores(rows.histories, rows.candidates)[:, draw]
        best = rows.candidates[np.arange(len(rows)), draw, scores.argmax(axis=1)]
        assert answers(model, rows, "loglik", draw=draw) == [model.catalogue.title(item) for item in best]


def test_constrained_answers_are_always_candidates(model: Llara, data: RecommendationData) -> None:
    rows = data.test
    assert rows.candidates is not None
    said = answers(model, rows, "constrained", draw=1)
    for text, shown in zip(said, rows.candidates[:, 1].tolist(), strict=True):
        assert text in [model.catalogue.title(item) for item in shown]


def test_answers_under_the_whole_catalogue_are_titles(model: Llara, data: RecommendationData) -> None:
    assert set(answers(model, data.test, "full-catalogue")) <= set(model.catalogue.titles)


def test_unknown_evaluators_are_refused(model: Llara, data: RecommendationData) -> None:
    with pytest.raises(ValueError, match="evaluator='beam' is not known; choose from greedy"):
        answers(model, data.test, "beam")  # type: ignore[arg-type]


def test_a_trie_names_the_first_of_items_that_share_a_title(model: Llara) -> None:
    trie = TitleTrie.of(model.network, [7, 3, 7])
    assert trie.items.tolist() == [7, 3]
    assert trie.items[trie.trie.accepts(model.network.title(3).tolist())] == 3


def test_judging_by_item_and_by_matcher() -> None:
    titles = {0: "Heat", 1: "Heat 2", 2: "Fargo", 3: "Heat"}
    shown = np.array([[0, 1], [1, 2], [0, 3], [0, 2]])
    texts = ["Heat 2", "nothing", "heat", "Fargo or Heat"]
    strict = judge(texts, shown, np.array([1, 2, 3, 0]), titles.__getitem__)
    assert strict.valid.tolist() == [True, False, True, False]
    assert strict.hit.tolist() == [True, False, True, False]
    reference = judge(texts, shown, np.array([1, 2, 3, 0]), titles.__getitem__, "reference")
    assert reference.valid.tolist() == [False, False, False, False]


@pytest.mark.parametrize("layout", ["windows", "candidates"])
def test_the_report(data: RecommendationData, tmp_path: Path, layout: str) -> None:
    model = fitted(data, layout=layout, num_candidates=4)
    report = answer_report(
        model, data, reads_lists=model.reads_lists, bootstrap=Bootstrap(resamples=20), label="mine"
    )
    report.save(tmp_path)
    assert report.figures["constrained, strict"]["ValidRatio"].value == 1.0
    assert report.figures["loglik, strict"]["ValidRatio"].value == 1.0
    rules = {"always the first shown", "always the last shown", "without history", "chance"}
    orders = {"permuted", "answer kept", "target first", "target last"}
    assert report.controls.keys() == (rules | orders if layout == "candidates" else rules)
    assert report.controls["chance"].value == pytest.approx(0.2)
    table = pl.read_parquet(tmp_path / "answers.parquet")
    assert table.columns == ["row", "history", "candidates", "target", *EVALUATORS]
    assert len(table) == len(data.test)
    said = json.loads((tmp_path / "report.json").read_text())
    assert (said["label"], said["draw"], said["rows"]) == ("mine", 0, len(data.test))
    hits = (table["loglik"] == table["target"]).mean()
    assert said["answers"]["loglik, strict"]["HitRatio@1"]["value"] == pytest.approx(hits)
    assert "| loglik, strict | 1.0000" in (tmp_path / "report.md").read_text()
    columns, rows = report.rows()
    assert len(columns) == len(rows[0])
    assert all(isinstance(cell, (str, int)) for row in rows for cell in row)


def test_the_command(model: Llara, data: RecommendationData, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "run" / "export")
    parser = argparse.ArgumentParser()
    command.add_answers_command(parser.add_subparsers(dest="command"))
    given = ["answers", f"--model={tmp_path}/run/export", f"--data={data.folder}", "--split=valid"]
    assert command.run(parser.parse_args([*given, "--evaluators", "loglik"])) == 0
    table = pl.read_parquet(tmp_path / "run" / "answers_valid" / "answers.parquet")
    assert table.columns[-1] == "loglik"


def test_fit_reports_answers_where_there_are_candidates(model: Llara, data: RecommendationData) -> None:
    assert model.further_reports(data, "test").keys() == {"answers"}
