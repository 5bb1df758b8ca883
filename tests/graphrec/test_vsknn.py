"""VSKNN against its definition, written out with loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_recommenders import walks, write_folder

from graphrec.data import RecommendationData
from graphrec.histories import Histories
from graphrec.vsknn import VSKNN, VSKNNConfig

NUM_ITEMS = 12
TRAIN = walks(NUM_ITEMS, 25, 5)
HISTORIES = [[4, 2, 4, 7], [], [1], [0, 5, 2, 7, 11, 3]]


def by_hand(history: list[int], config: VSKNNConfig) -> np.ndarray:
    """Scores without ties at a border: the test's data have none that matter."""
    recent = history[-config.last_items :]
    weight = {item: 1 / (1 + recent[::-1].index(item)) for item in recent}
    similar = []
    for number, session in enumerate(TRAIN):
        shared = set(session) & set(recent)
        if shared:
            similar.append((sum(weight[i] for i in shared), number, max(weight[i] for i in shared)))
    similar = sorted(similar, key=lambda entry: -entry[1])[: config.sample]
    border = sorted((entry[0] for entry in similar), reverse=True)[: config.neighbours]
    scores = 1e-7 * np.bincount(np.concatenate(TRAIN), minlength=NUM_ITEMS)
    for similarity, number, nearest in similar:
        if similarity >= border[-1] - 1e-9:
            scores[list(set(TRAIN[number]))] += similarity * nearest
    return scores


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(VSKNNConfig(), id="all"),
        pytest.param(VSKNNConfig(neighbours=3), id="few-neighbours"),
        pytest.param(VSKNNConfig(sample=5), id="latest-sessions"),
        pytest.param(VSKNNConfig(last_items=2, neighbours=4, sample=9), id="everything-cut"),
    ],
)
@pytest.mark.parametrize("triples", [4_000_000, 10], ids=["one-piece", "many-pieces"])
def test_votes(config: VSKNNConfig, triples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphrec.vsknn.TRIPLES_AT_ONCE", triples)
    data = RecommendationData.load(write_folder(tmp_path, NUM_ITEMS, TRAIN, [([0], 1)], [([0], 1)]))
    model = VSKNN(config)
    model.fit(data)
    scores = model.scores(Histories.from_lists(HISTORIES))
    for row, history in enumerate(HISTORIES):
        np.testing.assert_allclose(scores[row], by_hand(history, config), rtol=1e-5)
    assert model.scores(Histories.from_lists([])).shape == (0, NUM_ITEMS)


@pytest.mark.parametrize("name", ["neighbours", "sample", "last_items"])
def test_refusals(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        VSKNNConfig(**{name: 0})
