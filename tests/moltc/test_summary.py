"""``moltc summarise``: worked numbers, missing results."""

from __future__ import annotations

import pytest

from moltc.bootstrap import Metric
from moltc.cli import main
from moltc.report import write_report
from moltc.summary import summary


@pytest.fixture
def runs(tmp_path):
    for seed, (ours, mean) in enumerate(((1.0, 3.0), (2.0, 3.0), (3.0, 6.0))):
        write_report(
            tmp_path / f"run-{seed}" / "test",
            title="t",
            metrics={"rmse": Metric(ours, ours - 0.5, ours + 0.5)},
            baselines={"mean of train": {"rmse": Metric(mean, mean, mean)}},
            model_name="MolTC",
        )
    return [tmp_path / f"run-{seed}" for seed in range(3)]


def test_mean_and_sample_deviation(runs):
    table = summary(runs).splitlines()
    assert table[0] == "| method | RMSE ↓ |"
    assert table[2] == "| MolTC | 2.000 ± 1.000 |"
    assert table[3] == "| mean of train | 4.000 ± 1.732 |"


def test_one_run_shows_its_interval(runs):
    assert "| MolTC | 1.000 [0.500, 1.500] |" in summary(runs[:1])


def test_a_method_that_some_runs_lack_is_named(runs):
    write_report(
        runs[0] / "test", title="t", metrics={"rmse": Metric(1, 1, 1)}, baselines={}, model_name="MolTC"
    )
    assert summary(runs).endswith("Not in every run: mean of train.")


def test_a_run_without_results_is_named(tmp_path, capsys):
    assert main(["summarise", str(tmp_path / "nothing")]) == 2
    assert "nothing holds no test/metrics.json" in capsys.readouterr().err
