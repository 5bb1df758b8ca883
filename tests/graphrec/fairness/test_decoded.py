"""The study of a model that writes its answers: decoding held to groups is an arm of its own."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_bigrec import fitted
from tiny_recommenders import tiny_data

from graphrec.data import RecommendationData
from graphrec.fairness.decoding import WritesAnswers
from graphrec.fairness.lists import answer_lists
from graphrec.fairness.report import FairnessReport
from graphrec.fairness.study import FairnessOptions, GroupStudy, study
from moltc.backbone.bootstrap import Bootstrap

OPTIONS = FairnessOptions(
    ks=(1, 5),
    target="uniform",
    alphas=(0.0, 0.2),
    fairness_ks=(5,),
    calibrated_k=5,
    tolerance=0.03,
    bootstrap=Bootstrap(resamples=50),
)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return tiny_data(tmp_path_factory.mktemp("decoded") / "walks", filter_seen=True)


@pytest.fixture(scope="module")
def model(walked: RecommendationData) -> WritesAnswers:
    return fitted(walked)


@pytest.fixture(scope="module")
def found(walked: RecommendationData, model: WritesAnswers) -> GroupStudy:
    return study(model, walked, ("popularity:3",), OPTIONS)["popularity:3"]


def test_answers_meet_the_target(found: GroupStudy) -> None:
    assert list(found.arms) == ["model", "reranked", "calibrated", "decoded"]
    assert found.decoding is not None
    assert found.decoding.reached
    gaps = found.arms["decoded"].unfairness.gaps[0]  # of lists of one
    assert np.abs(gaps).max() <= OPTIONS.tolerance + 1e-9
    assert found.arms["decoded"].unfairness.mgu_at(1) < found.arms["model"].unfairness.mgu_at(1)


def test_lists_begin_with_their_answers(
    found: GroupStudy, model: WritesAnswers, walked: RecommendationData
) -> None:
    assert found.decoding is not None
    answers = found.decoding.lists[:, 0]
    lists = answer_lists(model, walked.test, walked.manifest, answers, 5)
    assert lists.items[:, 0].tolist() == answers.tolist()
    seen = walked.test.histories.seen_mask(24)
    assert not np.take_along_axis(seen, lists.items, axis=1).any()
    assert ((lists.ranks == 1) == (answers == walked.test.targets)).all()


def test_the_report_says_how_close_it_came(
    found: GroupStudy, walked: RecommendationData, tmp_path_factory: pytest.TempPathFactory
) -> None:
    report = FairnessReport("BIGRec", walked.manifest, OPTIONS, {"popularity:3": found})
    folder = tmp_path_factory.mktemp("report")
    report.write(folder)
    page = (folder / "report.md").read_text()
    assert "Answers held to groups while they are written (decoded): the tolerance of 0.03 is reached" in page
    assert report.content()["groups"]["popularity:3"]["decoding"]["reached"] is True
    assert (folder / "popularity_3_gaps_1.png").is_file()


def test_decoding_can_be_left_out(walked: RecommendationData, model: WritesAnswers) -> None:
    options = FairnessOptions(
        ks=(1, 5), fairness_ks=(5,), calibrated_k=None, decoding=False, bootstrap=Bootstrap(resamples=0)
    )
    one = study(model, walked, ("genres",), options)["genres"]
    assert one.decoding is None
    assert list(one.arms) == ["model", "reranked"]
