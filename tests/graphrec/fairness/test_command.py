"""``graphrec fairness`` on a folder of a few rows."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import pytest
from offline_runs import offline_runs

from graphrec.data import RecommendationData
from graphrec.fairness.command import add_fairness_command, run
from graphrec.recommender import Recommender


def fairness(*given: str) -> int:
    parser = argparse.ArgumentParser()
    add_fairness_command(parser.add_subparsers())
    return run(parser.parse_args(["fairness", *given]))


@pytest.fixture
def asked(data: RecommendationData, model: Recommender, tmp_path: Path) -> list[str]:
    model.save_pretrained(tmp_path / "run" / "export")
    return ["--model", str(tmp_path / "run" / "export"), "--data", str(data.folder), "--ks", "1", "5"]


def test_report_is_written_beside_the_model(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fairness(*asked, "--groups", "genres", "--alphas", "0", "0.2", "--tolerance", "0.02") == 0
    shown = capsys.readouterr().out
    assert "MGU@5" in shown
    content = json.loads((tmp_path / "run" / "fairness" / "report.json").read_text())
    assert content["options"]["alphas"] == [0.0, 0.2]
    assert content["groups"]["genres"]["names"] == ["all", "even", "odd"]
    assert list(content["groups"]["genres"]["arms"]) == ["model", "reranked", "calibrated"]


def test_a_report_of_other_data_is_not_overwritten(asked: list[str], tmp_path: Path) -> None:
    given = [*asked, "--groups", "genres", "--no-calibration", "--no-decoding"]
    assert fairness(*given) == 0
    assert fairness(*given) == 0
    path = tmp_path / "run" / "fairness" / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hash": "another"}))
    with pytest.raises(ValueError, match="has the report of other data .* give --out"):
        fairness(*given)
    assert fairness(*given, "--out", str(tmp_path / "other")) == 0


def test_shares_of_a_file(asked: list[str], tmp_path: Path) -> None:
    wanted = {"all": 0.2, "even": 0.5, "odd": 0.3}
    path = tmp_path / "shares.json"
    path.write_text(json.dumps(wanted))
    out = tmp_path / "out"
    given = [*asked, "--groups", "genres", "--target", str(path), "--out", str(out), "--no-calibration"]
    assert fairness(*given, "--counting", "fractional") == 0
    content = json.loads((out / "report.json").read_text())
    assert content["groups"]["genres"]["arms"]["model"]["target"] == pytest.approx(list(wanted.values()))
    assert content["options"]["counting"] == "fractional"
    path.write_text('{"all": "half"}')
    with pytest.raises(ValueError, match="no JSON object of numbers by group"):
        fairness(*given)


def test_options_that_exclude_each_other(asked: list[str]) -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        fairness(*asked, "--no-calibration", "--calibrated-k", "5")


def test_figures_and_curves_are_tracked(asked: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = [*asked, "--groups", "genres", "--alphas", "0", "0.2", "--no-calibration", "--out", str(out)]
    assert fairness(*given, "--tracking", "wandb", "--wandb-mode", "offline") == 0
    (found,) = offline_runs(out)
    content = json.loads((out / "report.json").read_text())["groups"]["genres"]
    ours = content["arms"]["reranked"]
    assert found.summary["fairness/genres/reranked/MGU@5"] == ours["metrics"]["MGU@5"]["value"]
    assert found.summary["fairness/genres/reranked - model/MGU@5"] == ours["changes"]["MGU@5"]["value"]
    logged = {name for row in found.history for name in row}
    assert {"fairness/genres/curve", "fairness/plots/genres_trade_off"} <= logged
    table = list(csv.DictReader((out / "genres_curve.csv").open(encoding="utf-8")))
    assert [float(row["alpha"]) for row in table] == [0, 0.2]
    assert float(table[1]["MGU@5"]) == content["validation_curve"][1]["mgu"]["5"]
    with pytest.raises(ValueError, match="needs --tracking wandb"):
        fairness(*given, "--wandb-mode", "offline")
