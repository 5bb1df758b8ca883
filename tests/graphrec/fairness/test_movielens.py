"""A model on MovieLens-100k: reranking and calibration keep what they promise on published data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_prep.interactions.card_files import CardFiles
from data_prep.interactions.cards import RECOMMENDATION_CARDS
from data_prep.interactions.protocols import build_task
from data_prep.interactions.write import write_task
from graphrec.data import RecommendationData
from graphrec.fairness.groups import ItemGroups
from graphrec.fairness.reweighting import reweight
from graphrec.fairness.study import FairnessOptions, study
from graphrec.neighbours import ItemKNN
from moltc.backbone.bootstrap import Bootstrap

OPTIONS = FairnessOptions(alphas=(0.0, 0.03, 0.05, 0.08), bootstrap=Bootstrap(resamples=200))


@pytest.fixture(scope="module")
def films(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    folder = tmp_path_factory.mktemp("built") / "films"
    files = CardFiles(RECOMMENDATION_CARDS["movielens_100k"], real_data)
    write_task(build_task(files, "leave-one-out"), folder)
    return RecommendationData.load(folder)


@pytest.mark.real_data
def test_fairer_lists_at_a_stated_loss(films: RecommendationData) -> None:
    model = ItemKNN()
    model.fit(films)
    for name, found in study(model, films, ("genres", "popularity"), OPTIONS).items():
        own, reranked, calibrated = (found.arms[arm] for arm in ("model", "reranked", "calibrated"))
        change = reranked.changes["MGU@10"]
        assert change.high < 0, name
        assert reranked.unfairness.mgu_at(10) < 0.5 * own.unfairness.mgu_at(10)
        assert reranked.metrics["NDCG@10"].value > 0.93 * own.metrics["NDCG@10"].value
        assert found.calibration is not None
        assert found.calibration.reached
        assert np.abs(calibrated.unfairness.gaps[-1]).max() <= OPTIONS.tolerance * (1 + 1e-9)
        assert found.calibration.cost < 1.02 * found.calibration.bound
        assert calibrated.metrics["NDCG@10"].value > 0.95 * own.metrics["NDCG@10"].value


@pytest.mark.real_data
def test_weights_of_training_samples(films: RecommendationData) -> None:
    counts = np.bincount(films.train.items, minlength=films.num_items)
    valid = films.valid
    groups = ItemGroups.by_popularity(counts)
    found = reweight(groups, valid.histories, valid.targets)
    assert 0.5 < found.effective_share < 1
    assert not found.unseen
    assert found.weights.mean() == pytest.approx(1)
