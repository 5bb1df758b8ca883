"""Fair lists for users, against the parts they are made of."""

from __future__ import annotations

import numpy as np
import pytest

from graphrec.data import RecommendationData
from graphrec.fairness.groups import ItemGroups
from graphrec.fairness.serving import calibrated_recommendations, reranked_recommendations
from graphrec.recommender import Recommender


@pytest.fixture
def asked(data: RecommendationData) -> list[list[str]]:
    ids = data.catalogue.item_ids
    return [[ids[number] for number in row] for row in data.test.histories.lists()]


@pytest.fixture
def genres(data: RecommendationData) -> ItemGroups:
    return ItemGroups.from_catalogue(data.catalogue, "genres", "fractional")


def test_no_punishment_leaves_the_lists(model: Recommender, asked: list[list[str]]) -> None:
    plain = model.recommend(asked, 5)
    same = reranked_recommendations(model, asked, 5, punishment=np.zeros(24), alpha=0.5)
    for ours, theirs in zip(same, plain, strict=True):
        assert [entry.score for entry in ours] == pytest.approx([entry.score for entry in theirs])
        assert not {entry.item_id for entry in ours} & set(asked[same.index(ours)])


def test_punished_items_sink(model: Recommender, asked: list[list[str]]) -> None:
    punishment = np.where(np.arange(24) % 2 == 0, 1.0, -1.0)
    found = reranked_recommendations(model, asked, 5, punishment=punishment, alpha=1.0)
    assert {int(entry.item_id[1:]) % 2 for row in found for entry in row} == {1}
    with pytest.raises(ValueError, match="give one of 24 items"):
        reranked_recommendations(model, asked, 5, punishment=punishment[:3], alpha=1.0)


def test_shares_are_met(model: Recommender, asked: list[list[str]], genres: ItemGroups) -> None:
    shares = np.array([0.2, 0.6, 0.2])  # all, even, odd
    found = calibrated_recommendations(model, asked, 5, groups=genres, shares=shares, tolerance=0.02)
    assert found.calibration.reached
    numbers = np.array([[int(entry.item_id[1:]) for entry in row] for row in found.lists])
    assert numbers.tolist() == found.calibration.lists.tolist()
    assert (numbers % 2 == 0).mean() == pytest.approx(0.6, abs=0.02 + 1e-9)
    everything = model.scores(model.catalogue.histories(asked))
    for row, entries in enumerate(found.lists):
        assert [entry.score for entry in entries] == everything[row, numbers[row]].tolist()
        assert not {entry.item_id for entry in entries} & set(asked[row])


def test_shares_of_the_histories_by_default(
    model: Recommender, asked: list[list[str]], genres: ItemGroups
) -> None:
    found = calibrated_recommendations(model, asked, 5, groups=genres, tolerance=0.02).calibration
    counts = genres.counts(model.catalogue.histories(asked).items)
    assert found.target.tolist() == pytest.approx((counts / counts.sum()).tolist())
    with pytest.raises(ValueError, match="there is no history"):
        calibrated_recommendations(model, [], 5, groups=genres, shares=found.target)
