"""The best of each row: against a full sort, under filters, with ties, in tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from graphrec import topk
from graphrec.histories import Histories
from graphrec.topk import Factors, best_by_factors, best_by_scores


@pytest.fixture
def factors() -> Factors:
    generator = torch.Generator().manual_seed(0)
    return Factors(
        torch.randn(7, 5, generator=generator),
        torch.randn(90, 5, generator=generator),
        torch.randn(90, generator=generator),
    )


@pytest.fixture
def seen() -> Histories:
    rng = np.random.default_rng(0)
    return Histories.from_lists([rng.integers(0, 90, length).tolist() for length in (0, 3, 40, 5, 85, 1, 9)])


def sorted_best(scores: np.ndarray, k: int, offered: np.ndarray) -> list[list[int]]:
    hidden = np.where(offered, scores, -np.inf)
    return [row[:k].tolist() for row in (-hidden).argsort(axis=1)]


@pytest.mark.parametrize("tiles", ["whole", "small-tiles"])
@pytest.mark.parametrize("filtered", ["all", "seen", "seen-and-allowed"])
def test_agrees_with_a_full_sort(
    factors: Factors, seen: Histories, filtered: str, tiles: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tiles == "small-tiles":
        monkeypatch.setattr(topk, "CELLS_AT_ONCE", 40)
        monkeypatch.setattr(topk, "ROWS_AT_ONCE", 3)
    scores = factors.scores()
    allowed = np.arange(0, 90, 2) if filtered == "seen-and-allowed" else None
    hidden = seen.seen_mask(90) if filtered != "all" else np.zeros((7, 90), dtype=bool)
    if allowed is not None:
        hidden[:, 1::2] = True
    given = {"seen": None if filtered == "all" else seen, "allowed": allowed}
    for numbers, found in (best_by_factors(factors, 4, **given), best_by_scores(scores, 4, **given)):
        assert numbers.tolist() == sorted_best(scores, 4, ~hidden)
        np.testing.assert_allclose(found, np.take_along_axis(scores, numbers, 1), rtol=1e-5)


def test_lists_end_where_nothing_is_on_offer() -> None:
    scores = np.array([[3.0, 2.0, 1.0], [3.0, -np.inf, 1.0]])
    numbers, found = best_by_scores(scores, 5, seen=Histories.from_lists([[0, 0, 1], []]))
    assert numbers.tolist() == [[2, -1, -1, -1, -1], [0, 2, -1, -1, -1]]
    assert np.isneginf(found[0, 1:]).all()
    assert scores[0, 0] == 3.0  # what was given is not changed


def test_ties_do_not_follow_the_numbering() -> None:
    numbers, _ = best_by_scores(np.zeros((1, 1000)), 200)
    assert len(set(numbers[0].tolist())) == 200
    assert 350 < numbers.mean() < 650
    assert abs(np.corrcoef(numbers[0], np.arange(200))[0, 1]) < 0.3


def test_a_tied_border_is_the_same_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    items = torch.ones(300, 1)
    items[7] = 2
    factors = Factors(torch.ones(2, 1), items)
    whole, _ = best_by_factors(factors, 20)
    monkeypatch.setattr(topk, "CELLS_AT_ONCE", 60)
    tiled, _ = best_by_factors(factors, 20)
    assert tiled.tolist() == whole.tolist()
    assert (whole[:, 0] == 7).all()


def test_double_precision_is_kept() -> None:
    scores = 1 + np.arange(50.0)[None] * 1e-12
    numbers, _ = best_by_scores(scores, 3)
    assert numbers.tolist() == [[49, 48, 47]]


def test_candidates_and_no_rows(factors: Factors) -> None:
    wanted = np.array([[3, 80], [0, 0], *[[1, 2]] * 5])
    expected = np.take_along_axis(factors.scores(), wanted, 1)
    np.testing.assert_allclose(factors.candidate_scores(wanted), expected, rtol=1e-5)
    numbers, scores = best_by_factors(factors.rows(slice(0, 0)), 3)
    assert numbers.shape == scores.shape == (0, 3)
