"""Grounding of texts to titles, in parts and with weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from graphrec.bigrec import grounding
from graphrec.bigrec.distances import TitleDistances
from graphrec.bigrec.grounding import choose_gamma, ground, grounded_ranks
from graphrec.bigrec.weights import min_max, popularity_weights, weighted_distances
from graphrec.histories import Histories


@pytest.fixture
def titles() -> torch.Tensor:
    return torch.randn(30, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def texts(titles: torch.Tensor) -> torch.Tensor:
    return titles[:9] + torch.randn(9, 6, generator=torch.Generator().manual_seed(2))


WEIGHTS = popularity_weights(np.arange(30) ** 2)


def test_parts_give_what_the_whole_gives(
    texts: torch.Tensor, titles: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = np.arange(9)
    by_row = np.random.default_rng(0).random((9, 30))
    whole = [ground(texts, titles, 4, weights=w, gamma=2, targets=targets) for w in (WEIGHTS, by_row)]
    monkeypatch.setattr(grounding, "CELLS_AT_ONCE", 60)
    parts = [ground(texts, titles, 4, weights=w, gamma=2, targets=targets) for w in (WEIGHTS, by_row)]
    lazily = ground(texts, titles, 4, weights=lambda part: by_row[part], gamma=2, targets=targets)
    for one, other in zip([*whole, whole[1]], [*parts, lazily], strict=True):
        assert one.items.tolist() == other.items.tolist()
        np.testing.assert_allclose(one.distances, other.distances, rtol=1e-5)
        assert one.ranks is not None
        assert other.ranks is not None
        assert one.ranks.tolist() == other.ranks.tolist()


def test_lists_and_ranks_by_hand(texts: torch.Tensor, titles: torch.Tensor) -> None:
    targets, gamma = np.arange(9), 1.5
    away = weighted_distances(min_max(TitleDistances(titles)(texts).numpy()), WEIGHTS, gamma)
    order = np.argsort(away, axis=1)
    found = ground(texts, titles, 5, weights=WEIGHTS, gamma=gamma, targets=targets)
    assert found.items.tolist() == order[:, :5].tolist()
    places = 1 + (order == targets[:, None]).argmax(axis=1)
    assert found.ranks is not None
    assert found.ranks.tolist() == places.tolist()
    assert found.metric("HR", 5) == (places <= 5).mean()


def test_items_of_one_title_help_each_other() -> None:
    near = np.array([[0.1, 0.1, 0.0, 0.4], [0.3, 0.2, 0.1, 0.0]])
    same, targets = np.array([0, 0, 1, 2]), np.array([1, 0])
    assert grounded_ranks(near, targets).tolist() == [3, 4]
    assert grounded_ranks(near, targets, same_title=same).tolist() == [2, 3]
    seen = Histories.from_lists([[1], [0, 1]])
    assert grounded_ranks(near, targets, same_title=same, seen=seen).tolist() == [2, np.inf]
    assert near.tolist() == [[0.1, 0.1, 0.0, 0.4], [0.3, 0.2, 0.1, 0.0]]


def test_gamma_is_chosen_by_its_metric(texts: torch.Tensor, titles: torch.Tensor) -> None:
    targets = np.arange(21, 30)  # the popular ones
    found = choose_gamma(texts, titles, WEIGHTS, targets, [50.0, 0.0, 1.0])
    assert found.gamma == max(found.values, key=lambda gamma: found.values[gamma])
    assert found.values[50] > found.values[0]
    for gamma, value in found.values.items():
        again = ground(texts, titles, 10, weights=WEIGHTS, gamma=gamma, targets=targets)
        assert again.metric("NDCG", 10) == pytest.approx(value)
    alike = choose_gamma(texts, titles, np.zeros(30), targets, [3.0, 1.0])
    assert alike.gamma == 1


def test_refusals(texts: torch.Tensor, titles: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="no effect without weights"):
        ground(texts, titles, gamma=1)
    with pytest.raises(ValueError, match="needs targets"):
        ground(texts, titles).metric("HR", 1)
    with pytest.raises(ValueError, match="at least one of each"):
        choose_gamma(texts, titles, WEIGHTS, np.arange(9), [])


def test_no_text_no_list(titles: torch.Tensor) -> None:
    assert ground(titles[:0], titles, 3).items.shape == (0, 3)
