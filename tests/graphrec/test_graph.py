"""LightGCN: propagation as the paper has it, and histories answered without a user's number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_recommenders import tiny_data

from graphrec.data import Interactions, RecommendationData
from graphrec.graph import LightGCN, LightGCNConfig, distinct, normalised_edges
from graphrec.histories import Histories
from graphrec.recommender import Recommender
from graphrec.trainer import TrainerConfig

SMALL = LightGCNConfig(width=16, batch_size=64, lr=0.02)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return tiny_data(tmp_path_factory.mktemp("walks"))


def started(data: RecommendationData) -> LightGCN:
    model = LightGCN(SMALL)
    model.start(data.catalogue, seed=0)
    model.prepare(data.train_interactions)
    return model


def test_edges_weigh_by_both_degrees() -> None:
    met = Histories.from_lists([[0, 1], [1]])
    dense = normalised_edges(met, 3).to_dense()
    expected = torch.zeros(5, 5)
    expected[0, 2], expected[0, 3], expected[1, 3] = 1 / 2**0.5, 1 / 2, 1 / 2**0.5
    torch.testing.assert_close(dense, expected + expected.T)


def test_propagation_is_the_mean_of_the_layers(data: RecommendationData) -> None:
    model = started(data)
    assert model.edges is not None
    dense = model.edges.to_dense()
    states = torch.cat([torch.zeros(len(data.train), 16), model.network.table])
    layers = [states, *(torch.linalg.matrix_power(dense, n) @ states for n in (1, 2, 3))]
    expected = torch.stack(layers).mean(0)
    torch.testing.assert_close(torch.cat(model.network.propagate(model.edges)), expected)


def test_a_fitted_sequence_is_answered_as_in_training(data: RecommendationData) -> None:
    model = started(data)
    assert model.edges is not None
    with torch.no_grad():
        sequences, items = model.network.propagate(model.edges)
    factors = model.factors(data.train)
    torch.testing.assert_close(factors.queries, sequences, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(factors.items, items, atol=1e-6, rtol=1e-4)


def test_repeats_and_order_do_not_matter(data: RecommendationData) -> None:
    model = started(data)
    scores = model.scores(Histories.from_lists([[1, 2, 3], [3, 1, 2, 2, 1]]))
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5)


def test_an_empty_history_is_answered_by_popularity(data: RecommendationData) -> None:
    scores = started(data).scores(Histories.from_lists([[]]))[0]
    counts = np.bincount(distinct(data.train).items, minlength=24)
    np.testing.assert_allclose(scores, counts * 1e-7, rtol=1e-5)


def test_it_learns_neighbours_and_is_saved_whole(data: RecommendationData, tmp_path: Path) -> None:
    model = LightGCN(SMALL)
    report = model.fit(data, trainer=TrainerConfig(max_epochs=6, validate_every=3))
    assert report.score is not None
    vectors = model.item_vectors()
    similar = vectors @ vectors.T
    near, far = (np.mean([similar[n, (n + step) % 24] for n in range(24)]) for step in (1, 12))
    assert near > far
    model.save_pretrained(tmp_path / "model")
    loaded = Recommender.from_pretrained(tmp_path / "model")
    histories = Histories.from_lists([[1, 2], [], [5]])
    np.testing.assert_array_equal(loaded.scores(histories), model.scores(histories))
    np.testing.assert_array_equal(loaded.item_vectors(), vectors)


def test_vectors_follow_the_weights(data: RecommendationData) -> None:
    model = started(data)
    before = model.item_vectors()
    (batch, *_) = model.batches(data.train, 0, 0)
    optimiser = model.optimiser()
    model.loss(batch, 0)["loss"].backward()
    optimiser.step()
    model.after_step(0)
    assert not np.array_equal(model.item_vectors(), before)


def test_each_meeting_is_in_one_batch(data: RecommendationData) -> None:
    model = started(data)
    batches = list(model.batches(data.train, 0, 0))
    assert len(batches) == model.num_batches(data.train)
    pairs = sorted(
        (int(s), int(i)) for batch in batches for s, i in zip(batch.sequences, batch.items, strict=True)
    )
    assert pairs == sorted({(int(r), int(i)) for r, i in zip(data.train.rows, data.train.items, strict=True)})


def test_the_graph_is_that_of_the_fitted_part(data: RecommendationData) -> None:
    model = LightGCN(SMALL)
    model.start(data.catalogue, seed=0)
    model.prepare(Interactions(Histories.from_lists([[0, 1]])))
    table, vectors = model.network.table.detach().numpy(), model.item_vectors()
    np.testing.assert_allclose(vectors[2], table[2] / 4)  # never met: its own vector at the first layer alone
    assert not np.allclose(vectors[1], table[1] / 4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"num_layers": 0}, "num_layers"), ({"lr": 0.0}, "lr"), ({"regularisation": -1.0}, "regularisation")],
    ids=["layers", "rate", "regularisation"],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LightGCNConfig(**changes)
