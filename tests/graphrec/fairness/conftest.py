"""A small folder with groups, and a model that was fitted on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_recommenders import tiny_data

from graphrec.data import RecommendationData
from graphrec.neighbours import ItemKNN
from graphrec.recommender import Recommender


@pytest.fixture
def data(tmp_path: Path) -> RecommendationData:
    return tiny_data(tmp_path / "walks")


@pytest.fixture
def model(data: RecommendationData) -> Recommender:
    knn = ItemKNN()
    knn.fit(data)
    return knn
