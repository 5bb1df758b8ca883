"""The study of a model: arms, the choice on validation, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_recommenders import tiny_data

from graphrec.data import RecommendationData
from graphrec.fairness.report import PAGE, REPORT, FairnessReport
from graphrec.fairness.study import FairnessOptions, study
from graphrec.recommender import Recommender
from moltc.backbone.bootstrap import Bootstrap

OPTIONS = FairnessOptions(
    ks=(1, 3, 5),
    alphas=(0.0, 0.1, 0.3),
    fairness_ks=(3, 5),
    accuracy_k=5,
    keep=0.5,
    calibrated_k=5,
    tolerance=0.02,
    bootstrap=Bootstrap(resamples=100),
)


@pytest.fixture
def found(data: RecommendationData, model: Recommender) -> dict:
    return study(model, data, ("genres", "popularity:4"), OPTIONS)


def test_arms(found: dict, data: RecommendationData) -> None:
    assert list(found) == ["genres", "popularity:4"]
    for one in found.values():
        assert list(one.arms) == ["model", "reranked", "calibrated"]
        own, calibrated = one.arms["model"], one.arms["calibrated"]
        assert not own.changes
        assert own.metrics["MGU@5"].value == pytest.approx(own.unfairness.mgu_at(5))
        change = calibrated.changes["MGU@5"]
        assert change.value == pytest.approx(calibrated.unfairness.mgu_at(5) - own.unfairness.mgu_at(5))
        assert one.calibration.reached
        assert np.abs(calibrated.unfairness.gaps[-1]).max() <= OPTIONS.tolerance + 1e-9
        assert calibrated.unfairness.mgu_at(5) <= own.unfairness.mgu_at(5)
        assert one.chosen in one.curve
        base = one.curve[0]
        fairness = [np.mean([point.mgu[k] for k in (3, 5)]) for point in one.curve]
        assert np.mean([one.chosen.mgu[k] for k in (3, 5)]) <= fairness[0]
        assert one.chosen.ndcg[5] >= 0.5 * base.ndcg[5]


def test_mending_lowers_the_unfairness_that_it_is_for(found: dict) -> None:
    one = found["popularity:4"]
    assert one.arms["calibrated"].unfairness.mgu_at(5) < one.arms["model"].unfairness.mgu_at(5)
    assert one.chosen.alpha > 0
    assert np.mean(one.arms["reranked"].unfairness.mgu[1:]) < np.mean(one.arms["model"].unfairness.mgu[1:])


def test_report(found: dict, data: RecommendationData, tmp_path: Path) -> None:
    report = FairnessReport("knn", data.manifest, OPTIONS, found)
    written = report.write(tmp_path / "report")
    assert all(path.is_file() for path in written)
    names = {path.name for path in written}
    assert {REPORT, PAGE, "genres_gaps_5.png", "popularity_4_trade_off.png"} <= names
    page = (tmp_path / "report" / PAGE).read_text()
    own = found["genres"].arms["model"].metrics["MGU@5"]
    assert f"| MGU@5 | {own.value:.4f} ({own.low:.4f} to {own.high:.4f}) |" in page
    assert "the tolerance of 0.02 is reached" in page
    assert "an item counts 1 in each of its groups" in page
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert all(line.count("|") == lines[0].count("|") for line in lines[:14])


def test_without_calibration(data: RecommendationData, model: Recommender) -> None:
    options = FairnessOptions(
        ks=(1, 5), fairness_ks=(5,), calibrated_k=None, bootstrap=Bootstrap(resamples=0), target="uniform"
    )
    one = study(model, data, ("genres",), options)["genres"]
    assert one.calibration is None
    assert list(one.arms) == ["model", "reranked"]
    assert one.arms["model"].unfairness.target.tolist() == [1 / 3] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"alphas": (0.1,)}, "lack 0", id="alphas"),
        pytest.param({"ks": (1, 3)}, r"\[5, 10, 20\] that are not among", id="fairness"),
        pytest.param({"calibrated_k": 7}, "calibrated_k=7 is not among", id="calibrated"),
        pytest.param({"keep": 0.0}, "keep=0.0 is no share", id="keep"),
    ],
)
def test_options_that_cannot_be(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FairnessOptions(**options)


def test_refusals(data: RecommendationData, model: Recommender, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no groups 'studio'; it has genres"):
        study(model, data, ("studio",), OPTIONS)
    other = tiny_data(tmp_path / "other", num_items=20)
    with pytest.raises(ValueError, match="the model knows another catalogue"):
        study(model, other, ("genres",), OPTIONS)
    with pytest.raises(ValueError, match="must rise and lie between 1 and 24"):
        study(model, data, ("genres",), FairnessOptions(ks=(5, 10, 20, 30)))
