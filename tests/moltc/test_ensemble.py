"""``moltc ensemble``: worked averages of each kind of answer, and runs that do not go together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from data_prep.tables import write_parquet
from moltc.bootstrap import Metric
from moltc.cli import main
from moltc.ensemble import CLASS_SCORES, ensemble
from moltc.report import write_report

IDS = ["p0", "p1", "p2", "p3"]


def run_of(folder: Path, order: list[int] | None = None, ids: list[str] = IDS, **columns: Any) -> Path:
    """A run with test answers, in some order."""
    count = len(ids)
    frame = pl.DataFrame(
        {"pair_id": ids, "smiles_a": ["C"] * count, "smiles_b": ["O"] * count}
        | {name: pl.Series(np.asarray(values)) for name, values in columns.items()}
    )
    frame = frame if order is None else frame[order]
    write_report(
        folder / "test",
        title="set: asked, test split",
        metrics={"rmse": Metric(1.0, 0.5, 1.5)},
        baselines={},
        unit="nm",
        model_name="MolTC (text answers)",
    )
    write_parquet(frame, folder / "test" / "predictions.parquet")
    return folder


def test_numbers_are_averaged_pair_by_pair(tmp_path: Path) -> None:
    """Promise: rows are matched by their ids, whatever their order."""
    truth = [0.0, 1.0, 2.0, 3.0]
    one = run_of(tmp_path / "one", truth=truth, value=[1.0, 1.0, 2.0, 4.0])
    two = run_of(tmp_path / "two", order=[3, 1, 0, 2], truth=truth, value=[-1.0, 1.0, 3.0, 4.0])
    found = ensemble([one, two])
    assert found.answers["value"].to_list() == [0.0, 1.0, 2.5, 4.0]
    np.testing.assert_allclose(found.answers["spread"], np.array([2.0, 0.0, 1.0, 0.0]) / np.sqrt(2))
    assert found.metrics["mae"].value == pytest.approx(1.5 / 4)
    assert (found.title, found.unit) == ("set: asked, test split", "nm")
    assert list(found.members) == [str(one), str(two)]


def test_probabilities_of_yes_are_averaged(tmp_path: Path) -> None:
    truth = [0.0, 1.0, 0.0, 1.0]
    odds = {name: np.log(np.array(p) / (1 - np.array(p))) for name, p in PROBABILITIES.items()}
    runs = [run_of(tmp_path / name, truth=truth, log_odds=values) for name, values in odds.items()]
    found = ensemble(runs)
    np.testing.assert_allclose(found.answers["probability"], [0.4, 0.7, 0.3, 0.55])
    assert found.metrics["accuracy"].value == 1.0
    assert found.metrics["brier"].value == pytest.approx((0.16 + 0.09 + 0.09 + 0.2025) / 4)


PROBABILITIES = {"one": [0.6, 0.9, 0.1, 0.3], "two": [0.2, 0.5, 0.5, 0.8]}


def test_probabilities_of_classes_are_averaged(tmp_path: Path) -> None:
    """Promise: neither run is right on the last pair, both together are."""
    scores = np.array(
        [
            [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.5, 0.1, 0.4]],
            [[0.6, 0.3, 0.1], [0.3, 0.4, 0.3], [0.2, 0.1, 0.7], [0.1, 0.5, 0.4]],
        ]
    )
    runs = [
        run_of(tmp_path / str(n), truth=[0, 1, 2, 2], **{CLASS_SCORES: np.log(one).astype(np.float32)})
        for n, one in enumerate(scores)
    ]
    found = ensemble(runs)
    assert found.answers["class"].to_list() == [0, 1, 2, 2]
    np.testing.assert_allclose(found.answers["probability"], [0.7, 0.6, 0.65, 0.4], atol=1e-6)
    assert found.metrics["accuracy"].value == 1.0


def test_the_command_leaves_a_run_that_can_be_summarised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        run_of(tmp_path / name, truth=[0.0, 1.0, 2.0, 3.0], value=[0.0, 1.0, 2.0, 5.0])
    names = [str(tmp_path / name) for name in ("one", "two")]
    out = str(tmp_path / "both")
    assert main(["ensemble", *names, "--out", out]) == 0
    assert "report:" in capsys.readouterr().out
    record = json.loads((tmp_path / "both" / "test" / "metrics.json").read_text())
    assert record["metrics"]["rmse"]["value"] == pytest.approx(1.0)
    assert main(["summarise", out]) == 0
    assert "| MolTC, ensemble of 2 (text answers) | 0.500" in capsys.readouterr().out
    assert pl.read_parquet(tmp_path / "both" / "test" / "predictions.parquet")["pair_id"].to_list() == IDS


REFUSED = {
    "other pairs": ({"ids": ["p0", "p1", "p2", "q"]}, "tested on different pairs"),
    "other labels": ({"truth": [0.0, 1.0, 2.0, 9.0]}, "against different labels"),
    "other kind": ({"log_odds": [0.1, 0.2, 0.3, 0.4]}, "answered different questions: only one has log_odds"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_runs_that_do_not_go_together(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes, message = REFUSED[case]
    plain: dict[str, Any] = {"truth": [0.0, 1.0, 2.0, 3.0], "value": [0.0, 1.0, 2.0, 5.0]}
    one = run_of(tmp_path / "one", **plain)
    two = run_of(tmp_path / "two", **(plain | changes))
    assert main(["ensemble", str(one), str(two), "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_member_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [
        str(run_of(tmp_path / name, truth=[0.0, 1.0, 2.0, 3.0], value=[0.0, 1.0, 2.0, 5.0]))
        for name in ("one", "two")
    ]
    before = (tmp_path / "two" / "test" / "metrics.json").read_bytes()
    assert main(["ensemble", *names, "--out", names[1]]) == 2
    assert "two is one of the runs" in capsys.readouterr().err
    assert (tmp_path / "two" / "test" / "metrics.json").read_bytes() == before


def test_one_run_is_no_ensemble(tmp_path: Path) -> None:
    run = run_of(tmp_path / "one", truth=[0.0] * 4, value=[0.0] * 4)
    with pytest.raises(ValueError, match="two runs at least"):
        ensemble([run])
    with pytest.raises(ValueError, match="named twice"):
        ensemble([run, tmp_path / "." / "one"])
    with pytest.raises(ValueError, match="holds no test/metrics.json"):
        ensemble([run, tmp_path / "nothing"])


def test_classes_without_their_scores_are_refused(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / name, truth=[0, 1, 0, 1], **{"class": [0, 1, 0, 1]}) for name in ("one", "two")]
    with pytest.raises(ValueError, match="before classes kept their log_probabilities"):
        ensemble(runs)
