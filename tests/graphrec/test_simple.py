"""Popularity, the last item and the repeated history, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_recommenders import write_folder

from graphrec.data import RecommendationData
from graphrec.recommender import Recommender
from graphrec.simple import LastItem, Popularity, PopularityConfig, RepeatHistory
from graphrec.trainer import TrainerConfig

TRAIN = [[0, 0, 1], [0, 2], [1, 2, 3, 3]]


@pytest.fixture
def data(tmp_path: Path) -> RecommendationData:
    return RecommendationData.load(write_folder(tmp_path, 5, TRAIN, [([0], 4)], [([0], 1)]))


def ranking(model: Recommender, *history: str) -> list[str]:
    found = model.recommend([history], k=5, exclude_seen=False)[0]
    return [entry.item_id for entry in found]


@pytest.mark.parametrize(
    ("config", "counts"),
    [
        pytest.param(PopularityConfig(), [3, 2, 2, 2, 0], id="all-time"),
        pytest.param(PopularityConfig(last_items=1), [0, 1, 1, 1, 0], id="last-item"),
        pytest.param(PopularityConfig(last_items=2), [2, 1, 1, 2, 0], id="last-two"),
        pytest.param(PopularityConfig(latest_share=0.4), [0, 1, 1, 2, 0], id="latest-sequence"),
        pytest.param(PopularityConfig(last_items=1, latest_share=0.67), [0, 0, 1, 1, 0], id="both"),
    ],
)
def test_what_is_counted(data: RecommendationData, config: PopularityConfig, counts: list[int]) -> None:
    model = Popularity(config)
    model.fit(data)
    assert model.scores(data.test.histories).tolist() == [counts]


def test_refitting_counts_validation_too(data: RecommendationData) -> None:
    model = Popularity()
    model.fit(data, refit_on_trainval=True)
    assert model.counts.tolist() == [4, 2, 2, 2, 1]


def test_the_last_item_then_popularity(data: RecommendationData) -> None:
    model = LastItem()
    model.fit(data)
    order = ranking(model, "i0", "i3", "i4")
    assert order[:2] == ["i4", "i0"]
    assert set(order[2:]) == {"i1", "i2", "i3"}
    assert ranking(model)[0] == "i0"


def test_the_history_latest_first(data: RecommendationData) -> None:
    model = RepeatHistory()
    model.fit(data)
    assert ranking(model, "i3", "i2", "i3", "i4")[:4] == ["i4", "i3", "i2", "i0"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"last_items": 0}, "last_items must be at least 1", id="items"),
        pytest.param({"latest_share": 0.0}, "latest_share must lie above 0", id="share"),
        pytest.param({"latest_share": 1.5}, "latest_share must lie above 0", id="more-than-all"),
    ],
)
def test_refusals(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PopularityConfig(**options)


def test_counting_takes_no_trainer(data: RecommendationData) -> None:
    with pytest.raises(ValueError, match="is counted, not trained"):
        Popularity().fit(data, trainer=TrainerConfig())


def test_a_constant_recommender_hits_at_the_rate_of_chance(tmp_path: Path) -> None:
    """Ties fall neither to the target nor to the order of numbers."""
    rows = [([], target) for target in range(200)]
    data = RecommendationData.load(write_folder(tmp_path, 200, [list(range(200))], rows, rows))
    model = Popularity()
    model.fit(data)
    lists = model.recommend([[]] * 1, k=20)[0]
    assert len({entry.score for entry in lists}) == 1
    numbers = np.array([int(entry.item_id[1:]) for entry in lists])
    assert 60 < numbers.mean() < 140
