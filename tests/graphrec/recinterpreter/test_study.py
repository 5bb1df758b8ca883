"""The study and its report: arms, controls, files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tiny_recommenders import tiny_data

from graphrec.data import RecommendationData
from graphrec.dreamrec.config import DreamRecConfig
from graphrec.dreamrec.recommender import DreamRec
from graphrec.recinterpreter.command import add_interpret_command, run
from graphrec.recinterpreter.config import RecInterpreterConfig
from graphrec.recinterpreter.oracle_study import NEAREST, oracle_study
from graphrec.recinterpreter.recommender import RecInterpreter
from graphrec.recinterpreter.study import (
    POPULAR,
    SHUFFLED,
    STATES,
    TITLES,
    StudyOptions,
    expected_hit,
    other_rows,
    study,
)
from graphrec.registry import MODELS
from graphrec.trainer import TrainerConfig
from moltc.backbone.bootstrap import Bootstrap

OPTIONS = StudyOptions(num_candidates=5, bootstrap=Bootstrap(resamples=20))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "recinterpreter", "graphrec.recinterpreter.recommender:RecInterpreter")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return tiny_data(tmp_path_factory.mktemp("walks"), count=25, length=7)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, data: RecommendationData) -> RecInterpreter:
    folder = tmp_path_factory.mktemp("dreamrec") / "export"
    short = TrainerConfig(max_epochs=1, validate_every=0)
    source = DreamRec(DreamRecConfig(width=8, length=5, num_steps=10))
    source.fit(data, trainer=short)
    source.save_pretrained(folder)
    config = RecInterpreterConfig(
        source=str(folder),
        tasks=("recovery", "residual", "item"),
        length=4,
        width=16,
        heads=2,
        layers=1,
        language_steps=2,
        max_new_tokens=8,
    )
    found = RecInterpreter(config)
    found.fit(data, trainer=replace(short, max_steps=4))
    return found


def test_every_row_gets_another(model: RecInterpreter) -> None:
    others = other_rows(9, seed=4)
    assert sorted(others.tolist()) == list(range(9))
    assert not (others == np.arange(9)).any()


@pytest.mark.parametrize(
    ("scores", "hit"),
    [
        pytest.param([1, 3, 2], 1.0, id="best"),
        pytest.param([3, 3, 3], 1 / 3, id="level"),
        pytest.param([4, 3, 2], 0.0, id="beaten"),
    ],
)
def test_expected_hits(scores: list[int], hit: float) -> None:
    assert expected_hit(np.array(scores), 1) == pytest.approx(hit)


def test_arms_and_metrics(model: RecInterpreter, data: RecommendationData) -> None:
    found = study(model, data, OPTIONS)
    assert found.left_out == 10
    assert set(found.tasks) == {"recovery", "residual"}
    for task in found.tasks.values():
        assert set(task.arms) == {STATES, SHUFFLED, TITLES, POPULAR}
        assert {f"{STATES} - {arm}" for arm in (SHUFFLED, TITLES, POPULAR)} <= task.metrics.keys()
        assert all(len(arm.texts) == len(found.rows) == 15 for arm in task.arms.values())
    popular = found.tasks["recovery"].metrics[POPULAR]
    assert popular["in_catalogue"].value == 1  # its titles are all of the catalogue
    assert sum(found.tasks["recovery"].arms[STATES].histogram) == 15
    assert set(found.tasks["residual"].metrics[STATES]) == {"exact", "in_catalogue", "among_candidates"}


def test_the_shuffled_arm_is_given_another_users_states(
    model: RecInterpreter, data: RecommendationData
) -> None:
    found = study(model, data, OPTIONS).tasks["recovery"].arms
    others = other_rows(15, OPTIONS.seed)
    assert found[SHUFFLED].texts == [found[STATES].texts[other] for other in others]


def test_fewer_rows_are_drawn(model: RecInterpreter, data: RecommendationData) -> None:
    assert len(study(model, data, replace(OPTIONS, rows=6)).rows) == 6


def test_oracle_items(model: RecInterpreter, data: RecommendationData) -> None:
    found = oracle_study(model, data, OPTIONS)
    assert list(found.texts) == ["A, item reader", "B, residual reader", NEAREST]
    nearest = found.metrics[NEAREST]
    assert (nearest["nearest"].value, nearest["among 20"].value, nearest["novel"].value) == (1, 1, 0)
    assert -1 <= found.metrics["A, item reader"]["similarity"].value <= 1


def test_the_command_writes_its_report(
    model: RecInterpreter, data: RecommendationData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import argparse

    model.save_pretrained(tmp_path / "export")
    parser = argparse.ArgumentParser()
    add_interpret_command(parser.add_subparsers())
    given = ["interpret", "--model", str(tmp_path / "export"), "--data", str(data.folder)]
    assert run(parser.parse_args([*given, "--rows", "5", "--candidates", "4"])) == 0
    report = json.loads((tmp_path / "interpret" / "report.json").read_text())
    assert report["rows"] == 5
    assert report["reads"] == "dreamrec"
    assert report["tasks"]["recovery"]["metrics"][STATES]["recall"].keys() == {"value", "low", "high"}
    assert set(report["oracle"]) >= {"A, item reader", NEAREST}
    answers = pl.read_parquet(tmp_path / "interpret" / "answers.parquet")
    assert len(answers) == 5
    assert f"residual, {SHUFFLED}" in answers.columns
    assert "## Recovery" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--rows 1 is too few"):
        run(parser.parse_args([*given, "--rows", "1"]))
