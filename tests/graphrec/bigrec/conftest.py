"""Walks over a ring of items, titled ``Item 0``, ``Item 1``, ..., and models that were fitted on them."""

from __future__ import annotations

import pytest
from tiny_bigrec import INSTRUCTIONS, fitted
from tiny_recommenders import tiny_data

from graphrec.bigrec.recommender import BigRec
from graphrec.data import RecommendationData


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return tiny_data(tmp_path_factory.mktemp("bigrec") / "walks")


@pytest.fixture(scope="session")
def model(walked: RecommendationData) -> BigRec:
    return fitted(walked)


@pytest.fixture(scope="session")
def instructed(walked: RecommendationData) -> BigRec:
    return fitted(walked, **INSTRUCTIONS)
