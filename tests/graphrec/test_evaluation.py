"""Ranking metrics worked out by hand, the protocol on small logs, the baseline on a published one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrec.evaluation import (
    hit_ratio,
    leave_one_out,
    ndcg,
    popularity_ranks,
    ranking_metrics,
    reciprocal_rank,
    target_ranks,
)
from moltc.bootstrap import Bootstrap


class TestRanks:
    def test_ties_share_their_mean_rank_or_count_against_the_target(self) -> None:
        scores = np.array([[9.0, 5.0, 5.0, 5.0, 1.0]])
        assert target_ranks(scores, np.array([2])).tolist() == [3.0]  # mean of 2, 3, 4
        assert target_ranks(scores, np.array([2]), ties="against").tolist() == [4.0]

    def test_seen_items_are_not_offered(self) -> None:
        scores = np.array([[9.0, 8.0, 7.0], [9.0, 8.0, 7.0]])
        seen = np.array([[True, False, False], [False, False, True]])
        assert target_ranks(scores, np.array([2, 2]), seen=seen).tolist() == [2.0, math.inf]

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

    def test_report_holds_every_metric_with_its_interval(self) -> None:
        ranks = np.random.default_rng(3).integers(1, 40, size=400).astype(float)
        report = ranking_metrics(ranks, (1, 10), bootstrap=Bootstrap(seed=1))
        assert list(report) == ["HR@1", "NDCG@1", "HR@10", "NDCG@10", "MRR"]
        hits = report["HR@10"]
        assert hits.value == pytest.approx((ranks <= 10).mean())
        spread = 1.96 * math.sqrt(hits.value * (1 - hits.value) / 400)
        assert hits.high - hits.low == pytest.approx(2 * spread, rel=0.15)

    def test_no_rows_and_no_list_are_refused(self) -> None:
        with pytest.raises(ValueError, match="no row was evaluated"):
            ranking_metrics(np.array([]))
        with pytest.raises(ValueError, match="k=0"):
            hit_ratio(np.array([1.0]), 0)


class TestLeaveOneOut:
    def test_last_is_tested_the_one_before_is_left_to_validation(self) -> None:
        users = np.array([0, 1, 0, 0, 2, 0, 2, 2])  # user 0: a b c d, user 1: e, user 2: a e f
        items = np.array([0, 4, 1, 2, 0, 3, 4, 5])
        split = leave_one_out(users, items)
        assert split.test_users.tolist() == [0, 2]
        assert split.targets.tolist() == [3, 5]
        assert split.history_items.tolist() == [0, 1, 2, 0, 4]
        assert split.history_ends.tolist() == [3, 5]
        assert sorted(split.train_items.tolist()) == [0, 0, 1, 4]
        assert split.untested_users == 1

    def test_popularity_by_hand(self) -> None:
        # counts of the fitted part: a 2, b 1, e 1, others 0
        users = np.array([0, 1, 0, 0, 2, 0, 2, 2])
        items = np.array([0, 4, 1, 2, 0, 3, 4, 5])
        split = leave_one_out(users, items)
        # user 0 is offered d e f: e above, d and f tied. User 2 is offered b c d f: b above, c d f tied.
        assert popularity_ranks(split, 6).tolist() == [2.5, 3.0]
        assert popularity_ranks(split, 6, ties="against").tolist() == [3.0, 4.0]
        assert popularity_ranks(split, 6, exclude_seen=False).tolist() == [5.0, 5.0]

    def test_a_repeated_target_is_not_offered(self) -> None:
        split = leave_one_out(np.zeros(4, dtype=int), np.array([1, 0, 2, 1]))
        assert popularity_ranks(split, 3).tolist() == [math.inf]
        assert popularity_ranks(split, 3, exclude_seen=False).tolist() == [1.5]

    def test_pieces_do_not_change_the_ranks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        generator = np.random.default_rng(0)
        users, items = np.sort(generator.integers(0, 40, 600)), generator.integers(0, 30, 600)
        split = leave_one_out(users, items)
        whole = popularity_ranks(split, 30)
        monkeypatch.setattr("graphrec.evaluation.CHUNK_CELLS", 30 * 7)
        np.testing.assert_array_equal(popularity_ranks(split, 30), whole)


def test_reference_metrics(vectors: Path) -> None:
    """HR@k and NDCG@k as the DreamRec release computes them."""
    cases = json.loads((vectors / "graphrec.json").read_text())["ranking_metrics"]
    assert cases
    for case in cases:
        ranks = target_ranks(np.array(case["scores"]), np.array(case["targets"]))
        for k, hits, gain in zip(case["ks"], case["hit_ratio"], case["ndcg"], strict=True):
            assert hit_ratio(ranks, k).mean() == pytest.approx(hits, rel=1e-6)
            assert ndcg(ranks, k).mean() == pytest.approx(gain, rel=1e-6)


@pytest.mark.real_data
def test_popularity_on_amazon_beauty_as_measured_elsewhere(real_data: Path) -> None:
    lines = (real_data / "amazon_s3rec" / "Beauty.txt").read_text().splitlines()
    sequences = [np.array(line.split()[1:], dtype=np.int64) for line in lines]
    users = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
    split = leave_one_out(users, np.concatenate(sequences) - 1)
    assert len(split.train_items) == 153_776
    ranks = popularity_ranks(split, 12_101, ties="against")
    assert hit_ratio(ranks, 10).mean() == pytest.approx(0.0110, abs=5e-5)
    assert ndcg(ranks, 10).mean() == pytest.approx(0.0053, abs=5e-5)
