"""Item-to-item models against their formulas, written out with loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_recommenders import walks, write_folder

from graphrec.counting import ItemToItem, decayed_items
from graphrec.data import RecommendationData
from graphrec.histories import Histories
from graphrec.neighbours import (
    EASE,
    Cooccurrence,
    CooccurrenceConfig,
    EASEConfig,
    ItemKNN,
    ItemKNNConfig,
    inverse,
    strongest,
)

NUM_ITEMS = 9
TRAIN = [*walks(NUM_ITEMS, 12, 6), [0, 1, 0, 2, 0], [3]]
HISTORIES = [[4, 2, 4], [], [1], [0, 5, 2, 7]]


@pytest.fixture
def data(tmp_path: Path) -> RecommendationData:
    return RecommendationData.load(write_folder(tmp_path, NUM_ITEMS, TRAIN, [([0], 4)], [([0], 1)]))


def dense(model: ItemToItem) -> np.ndarray:
    return model.weights if isinstance(model.weights, np.ndarray) else model.weights.toarray()


def test_cosine(data: RecommendationData) -> None:
    model = ItemKNN(ItemKNNConfig(shrink=2.0))
    model.fit(data)
    held = [{item for item in sequence} for sequence in TRAIN]
    counts = [sum(item in one for one in held) for item in range(NUM_ITEMS)]
    for i in range(NUM_ITEMS):
        for j in range(NUM_ITEMS):
            both = sum(i in one and j in one for one in held)
            expected = 0 if i == j else both / (np.sqrt(counts[i] * counts[j]) + 2.0)
            assert dense(model)[i, j] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("power", [0.0, 0.5], ids=["plain", "without-popularity"])
def test_ordered_cooccurrence(data: RecommendationData, power: float) -> None:
    model = Cooccurrence(CooccurrenceConfig(gap=3, power=power))
    model.fit(data)
    counts = np.bincount(np.concatenate(TRAIN), minlength=NUM_ITEMS)
    expected = np.zeros((NUM_ITEMS, NUM_ITEMS))
    for sequence in TRAIN:
        for place, before in enumerate(sequence):
            for g, after in enumerate(sequence[place + 1 : place + 4], 1):
                expected[before, after] += 1 / g
    expected *= counts[:, None] ** -0.5 / counts[None] ** power
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(dense(model), expected, rtol=1e-5)


def test_ease(data: RecommendationData) -> None:
    model = EASE(EASEConfig(l2=3.0))
    model.fit(data)
    held = Histories.from_lists(TRAIN).seen_mask(NUM_ITEMS).astype(float)
    precision = np.linalg.inv(held.T @ held + 3.0 * np.eye(NUM_ITEMS))
    expected = -precision / np.diag(precision)[None]
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(dense(model), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("decay", [1.0, 0.7, 0.0], ids=["even", "falling", "last-item"])
def test_how_a_history_is_read(data: RecommendationData, decay: float) -> None:
    model = Cooccurrence(CooccurrenceConfig(decay=decay))
    model.fit(data)
    scores = model.scores(Histories.from_lists(HISTORIES))
    counts = np.bincount(np.concatenate(TRAIN), minlength=NUM_ITEMS)
    for row, history in enumerate(HISTORIES):
        expected = 1e-7 * counts
        for item in set(history):
            places = history[::-1].index(item)  # the latest one counts
            expected = expected + (decay**places) * dense(model)[item]
        np.testing.assert_allclose(scores[row], expected, rtol=1e-5)


def test_an_empty_history_is_served_by_popularity(data: RecommendationData) -> None:
    counts = np.bincount(np.concatenate(TRAIN), minlength=NUM_ITEMS)
    for popularity in ("count", "share"):
        model = ItemKNN(ItemKNNConfig(popularity=popularity))
        model.fit(data)
        scores = model.scores(Histories.from_lists([[]]))[0]
        assert (np.argsort(-scores, kind="stable") == np.argsort(-counts, kind="stable")).all()


def test_the_last_place_alone_has_weight_one_without_decay() -> None:
    weights = decayed_items(Histories.from_lists([[3, 1, 3]]), 4, 0.0).toarray()
    assert weights.tolist() == [[0, 0, 0, 1]]


def test_inverse_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphrec.neighbours.BLOCK", 7)
    half = np.random.default_rng(0).normal(size=(30, 30)).astype(np.float32)
    matrix = half @ half.T + 5 * np.eye(30, dtype=np.float32)
    found = inverse(np.asfortranarray(matrix))
    np.testing.assert_allclose(found @ matrix, np.eye(30), atol=1e-3)
    assert (found == found.T).all()
    with pytest.raises(ValueError, match="give a larger l2"):
        inverse(np.asfortranarray(-np.eye(3, dtype=np.float32)))


def test_nearest_neighbours_only(data: RecommendationData) -> None:
    model, all_of_them = ItemKNN(ItemKNNConfig(neighbours=2)), ItemKNN()
    model.fit(data)
    all_of_them.fit(data)
    for kept, whole in zip(dense(model), dense(all_of_them), strict=True):
        border = np.sort(whole)[-2]
        np.testing.assert_array_equal(kept, np.where((whole >= border) & (whole > 0), whole, 0))


def test_equal_neighbours_at_the_border_are_all_kept() -> None:
    from scipy import sparse

    matrix = sparse.csr_array(np.array([[3.0, 1.0, 2.0, 2.0], [0.0, 0.0, 1.0, 0.0]]))
    assert strongest(matrix, 2).toarray().tolist() == [[3, 0, 2, 2], [0, 0, 1, 0]]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        pytest.param(lambda: ItemKNNConfig(decay=1.1), "decay must lie", id="decay"),
        pytest.param(lambda: ItemKNNConfig(popularity="rank"), "'count' or 'share'", id="popularity"),
        pytest.param(lambda: ItemKNNConfig(shrink=-1), "shrink must not", id="shrink"),
        pytest.param(lambda: ItemKNNConfig(neighbours=0), "neighbours must be", id="neighbours"),
        pytest.param(lambda: CooccurrenceConfig(gap=0), "gap must be", id="gap"),
        pytest.param(lambda: EASEConfig(l2=0), "l2 must be above 0", id="l2"),
    ],
)
def test_refusals(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
