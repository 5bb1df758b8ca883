"""Ranks and ranking metrics worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrec.evaluation import (
    hit_ratio,
    ndcg,
    reciprocal_rank,
    target_ranks,
)
from graphrec.histories import Histories


class TestRanks:
    def test_ties_share_their_mean_rank_or_count_against_the_target(self) -> None:
        scores = np.array([[9.0, 5.0, 5.0, 5.0, 1.0]])
        assert target_ranks(scores, np.array([2])).tolist() == [3.0]  # mean of 2, 3, 4
        assert target_ranks(scores, np.array([2]), ties="against").tolist() == [4.0]

    def test_seen_items_are_not_offered(self) -> None:
        scores = np.array([[9.0, 8.0, 7.0], [9.0, 8.0, 7.0]])
        seen = np.array([[True, False, False], [False, False, True]])
        assert target_ranks(scores, np.array([2, 2]), seen=seen).tolist() == [2.0, math.inf]

    def test_histories_hide_what_a_mask_hides(self) -> None:
        rng = np.random.default_rng(0)
        scores = rng.integers(0, 5, (20, 12)).astype(np.float32)
        targets = rng.integers(0, 12, 20)
        seen = Histories.from_lists([rng.integers(0, 12, length).tolist() for length in range(20)])
        for ties in ("average", "against"):
            by_mask = target_ranks(scores, targets, seen=seen.seen_mask(12), ties=ties)
            np.testing.assert_array_equal(target_ranks(scores, targets, seen=seen, ties=ties), by_mask)

    def test_counting_agrees_with_sorting(self) -> None:
        scores = np.random.default_rng(1).permuted(np.tile(np.arange(1000.0), (30, 1)), axis=1)
        targets = np.arange(30)
        order = (-scores).argsort(axis=1).argsort(axis=1)
        assert target_ranks(scores, targets).tolist() == (order[np.arange(30), targets] + 1).tolist()

    def test_minus_infinity_is_a_score_like_any_other(self) -> None:
        scores = np.array([[-np.inf, 0.0, -np.inf]])
        assert target_ranks(scores, np.array([0])).tolist() == [2.5]

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.integers(0, 4), min_size=2, max_size=12), st.integers(0, 2**32))
    def test_item_numbers_do_not_matter(self, values: list[int], seed: int) -> None:
        scores = np.array(values, dtype=float)
        order = np.random.default_rng(seed).permutation(len(scores))
        ranks = target_ranks(np.tile(scores, (len(scores), 1)), np.arange(len(scores)))
        shuffled = target_ranks(np.tile(scores[order], (len(scores), 1)), np.arange(len(scores)))
        np.testing.assert_array_equal(shuffled, ranks[order])
        assert ranks.sum() == len(scores) * (len(scores) + 1) / 2

    @pytest.mark.parametrize(
        ("scores", "target", "message"),
        [
            pytest.param([[0.0, math.nan]], 0, "row 0 has NaN", id="nan-score"),
            pytest.param([[0.0, 1.0]], 2, "target 2 is not an item from 0 to 1", id="target-outside"),
            pytest.param([0.0, 1.0], 0, r"scores must be \[B, I\]", id="one-dimension"),
        ],
    )
    def test_refusals(self, scores: list[list[float]], target: int, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            target_ranks(np.array(scores), np.array([target]))

    def test_unknown_ties(self) -> None:
        with pytest.raises(ValueError, match="'average' or 'against'"):
            target_ranks(np.zeros((1, 2)), np.array([0]), ties="first")


class TestMetrics:
    def test_by_hand(self) -> None:
        ranks = np.array([1.0, 3.0, 20.0, math.inf])
        assert hit_ratio(ranks, 3).tolist() == [1.0, 1.0, 0.0, 0.0]
        np.testing.assert_allclose(ndcg(ranks, 20), [1.0, 0.5, 1 / math.log2(21), 0.0])
        np.testing.assert_allclose(reciprocal_rank(ranks), [1.0, 1 / 3, 0.05, 0.0])

    def test_no_list_is_refused(self) -> None:
        with pytest.raises(ValueError, match="k=0"):
            hit_ratio(np.array([1.0]), 0)
