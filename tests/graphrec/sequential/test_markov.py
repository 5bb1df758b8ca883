"""Sequences with a known structure: who must lose to whom, and how near the best possible SASRec comes."""

from __future__ import annotations

from pathlib import Path

import pytest
from markov import MarkovChain, write_markov

from graphrec.data import RecommendationData
from graphrec.evaluation import hit_ratio
from graphrec.neighbours import ItemKNN
from graphrec.ranking import rank_rows
from graphrec.recommender import Recommender
from graphrec.sequential import SASRec
from graphrec.sequential.config import SASRecConfig
from graphrec.simple import Popularity
from graphrec.trainer import TrainerConfig

NUM_ITEMS = 50


@pytest.fixture(scope="module")
def chain() -> MarkovChain:
    return MarkovChain.drawn(NUM_ITEMS)


@pytest.fixture(scope="module")
def data(chain: MarkovChain, tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    folder: Path = tmp_path_factory.mktemp("markov")
    return write_markov(folder, chain, count=1200, length=12)


def hits(model: Recommender, data: RecommendationData, k: int) -> float:
    return float(hit_ratio(rank_rows(model, data.test, filter_seen=False), k).mean())


def test_popularity_loses_to_neighbours(data: RecommendationData) -> None:
    popularity, neighbours = Popularity(), ItemKNN()
    for model in (popularity, neighbours):
        model.fit(data)
    assert hits(neighbours, data, 10) > 1.5 * hits(popularity, data, 10)


def test_sasrec_comes_near_the_best_possible(chain: MarkovChain, data: RecommendationData) -> None:
    model = SASRec(SASRecConfig(width=32, length=12, num_blocks=1, dropout=0.1, lr=5e-3, warmup_steps=10))
    model.fit(data, trainer=TrainerConfig(max_epochs=12, validate_every=0))
    histories = data.test.histories
    last, chosen = histories.items[histories.ends - 1], model.scores(histories).argmax(axis=1)
    assert chain.hit_ratio(last, chosen) >= 0.95 * chain.hit_ratio(last, chain.best(last))
