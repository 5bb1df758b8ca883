"""Probes, reports and checks on small runs; the two commands."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tiny_sessions import write_sessions

from data_prep.errors import DataError
from graphrec.data import RecommendationData
from graphrec.offline_rl import OfflineRL, OfflineRLConfig
from graphrec.offline_rl.checks import (
    check,
    falls,
    lists_are_no_worse,
    losses_fall,
    random_items_are_worth_less,
    transitions_are_told_apart,
)
from graphrec.offline_rl.commands import main
from graphrec.offline_rl.estimates import EstimateOptions
from graphrec.offline_rl.probes import Probes, probe
from graphrec.offline_rl.report import report
from graphrec.results import evaluate
from graphrec.trainer import TrainerConfig

QUICK = EstimateOptions(resamples=20, refits=5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return write_sessions(tmp_path_factory.mktemp("sessions") / "data")


def run(folder: Path, data: RecommendationData, *, seed: int = 0, epochs: int = 1, **options: Any) -> Path:
    """A run's folder with log, model and test results."""
    learner = OfflineRL(OfflineRLConfig(width=8, num_negatives=4, batch_size=16, **options))
    trainer = TrainerConfig(max_epochs=epochs, validate_every=0, log_every=1)
    learner.fit(data, trainer=trainer, seed=seed, folder=folder)
    learner.save_pretrained(folder / "export")
    evaluate(learner, data, "test").save(folder / "test")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, data: RecommendationData) -> dict[str, list[Path]]:
    """Three seeds of each role."""
    root = tmp_path_factory.mktemp("runs")
    roles: dict[str, dict[str, Any]] = {
        "full": {"method": "mcrl", "conservative_weight": 0.3},
        "bare": {"method": "mcrl", "conservative_weight": 0.0},
        "sqn": {"method": "sqn"},
    }
    return {
        name: [
            run(root / f"{name}-{seed}", data, seed=seed, epochs=15, learning_rate=0.02, **options)
            for seed in range(3)
        ]
        for name, options in roles.items()
    }


class TestChecks:
    def test_a_small_learner_passes_all_four(
        self, runs: dict[str, list[Path]], data: RecommendationData, capsys: pytest.CaptureFixture[str]
    ) -> None:
        found = check(data, runs["full"], runs["bare"], runs["sqn"])
        assert [one.holds for one in found] == [True] * 4, found
        options = [
            f"--{name}" if part == 0 else str(runs[name][part - 1]) for name in runs for part in range(4)
        ]
        assert main(["offline-checks", "--data", str(data.folder), *options]) == 0
        assert capsys.readouterr().out.count("holds") == 4

    def test_without_its_term_the_learner_fails(
        self, runs: dict[str, list[Path]], data: RecommendationData
    ) -> None:
        with pytest.raises(ValueError, match="lacks the conservative term"):
            check(data, runs["bare"], runs["bare"], runs["sqn"])
        with pytest.raises(ValueError, match="bare has a conservative term"):
            check(data, runs["full"], runs["full"], runs["sqn"])
        with pytest.raises(ValueError, match="2 runs of sqn"):
            check(data, runs["full"], runs["bare"], runs["sqn"][:2])
        with pytest.raises(ValueError, match="3 runs of full and 4 of bare"):
            check(data, runs["full"], [*runs["bare"], runs["bare"][0]], runs["sqn"])

    def test_runs_on_other_data_are_refused(self, runs: dict[str, list[Path]], tmp_path: Path) -> None:
        other = write_sessions(tmp_path / "other", seed=5)
        with pytest.raises(DataError, match="ranks another task"):
            check(other, runs["full"], runs["bare"], runs["sqn"])

    def test_each_check_can_fail(self) -> None:
        assert losses_fall([{"td": (2.0, 1.0)}]).holds
        assert not losses_fall([{"td": (2.0, 1.0)}, {"td": (1.0, 1.0)}]).holds
        low, high = Probes(0.5, 0.1, 0.9, 0.2), Probes(0.5, 0.3, 0.3, 0.2)
        assert random_items_are_worth_less([low, low], [high, high]).holds
        assert not random_items_are_worth_less([low, high], [high, high]).holds  # seed by seed
        assert transitions_are_told_apart([low, low]).holds
        assert not transitions_are_told_apart([low, high]).holds
        assert lists_are_no_worse([0.30, 0.32, 0.34], [0.31, 0.33, 0.35], "HR@10").holds
        assert not lists_are_no_worse([0.30, 0.31, 0.32], [0.35, 0.36, 0.37], "HR@10").holds

    def test_a_log_that_says_too_little(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="finished run"):
            falls(tmp_path)
        folder = tmp_path / "logs" / "version_0"
        folder.mkdir(parents=True)
        pl.DataFrame({"step": [0], "train/td": [1.0]}).write_csv(folder / "metrics.csv")
        with pytest.raises(DataError, match="logged 1 steps of td"):
            falls(tmp_path)


class TestReport:
    def test_every_model_gets_every_figure(
        self, runs: dict[str, list[Path]], data: RecommendationData
    ) -> None:
        models = {"full": OfflineRL.from_pretrained(runs["full"][0] / "export")}
        judge = OfflineRL.from_pretrained(runs["sqn"][0] / "export")
        found = report(models, data, judge, QUICK)["full"]
        assert {"click_HR@5", "purchase_NDCG@20", "reward@10", "corrected_NDCG@10", "SNIPS", "FQE"} <= set(
            found.metrics
        )
        for metric in found.metrics.values():
            assert metric.low <= metric.value + 1e-9 and metric.value <= metric.high + 1e-9
        assert 1 < found.effective <= len(data.test)

    def test_the_judge_itself_earns_what_was_logged(
        self, runs: dict[str, list[Path]], data: RecommendationData
    ) -> None:
        judge = OfflineRL.from_pretrained(runs["sqn"][0] / "export")
        found = report({"same": judge}, data, judge, QUICK)["same"]
        column = data.test.columns["event"]
        bought: Any = column
        mean = (bought.is_word("purchase") * 0.8 + 0.2).mean()
        assert found.metrics["SNIPS"].value == pytest.approx(mean)
        assert found.effective == pytest.approx(len(data.test))

    def test_data_without_kinds_of_events(self, runs: dict[str, list[Path]], tmp_path: Path) -> None:
        judge = OfflineRL.from_pretrained(runs["sqn"][0] / "export")
        with pytest.raises(ValueError, match="no column event"):
            report({"same": judge}, write_sessions(tmp_path / "plain", events=False), judge, QUICK)

    def test_command(
        self,
        runs: dict[str, list[Path]],
        data: RecommendationData,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        models = [str(runs[name][0] / "export") for name in ("full", "bare")]
        command = ["off-policy", *models, "--data", str(data.folder), "--judge", models[0]]
        options = ["--resamples", "5", "--refits", "2", "--out", str(tmp_path / "found.json")]
        assert main([*command, *options]) == 0
        assert "purchase_NDCG@10" in capsys.readouterr().out
        written = json.loads((tmp_path / "found.json").read_text())
        assert written["task"] == data.manifest.hash
        assert set(written["models"]) == {"full-0", "bare-0"}
        assert math.isfinite(written["models"]["bare-0"]["metrics"]["FQE"]["value"])
        assert main([*command[:1], models[0], models[0], *command[3:]]) == 2
        assert "of one name" in capsys.readouterr().err


def test_probes_of_a_learner_without_values(data: RecommendationData) -> None:
    learner = OfflineRL(OfflineRLConfig(width=8, method="supervised"))
    learner.start(data.catalogue, seed=0)
    found = probe(learner, data.test, num_rows=10)
    assert found == Probes(None, None, None, 1 / 11)
