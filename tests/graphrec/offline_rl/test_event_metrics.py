"""Metrics apart for clicks and purchases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphrec.offline_rl.event_metrics import event_metrics
from moltc.bootstrap import Bootstrap

RANKS = np.array([1.0, 7.0, 2.0, 50.0])
PURCHASES = np.array([True, False, False, True])
VALUE_ONLY = Bootstrap(resamples=0)


def test_by_hand() -> None:
    found = event_metrics(RANKS, PURCHASES, (5, 10), bootstrap=VALUE_ONLY)
    values = {name: metric.value for name, metric in found.items()}
    assert values == pytest.approx(
        {
            "click_HR@5": 0.5,
            "click_NDCG@5": 0.5 / math.log2(3),
            "purchase_HR@5": 0.5,
            "purchase_NDCG@5": 0.5,
            "reward@5": 1.2,
            "click_HR@10": 1.0,
            "click_NDCG@10": 0.5 / math.log2(3) + 0.5 / math.log2(8),
            "purchase_HR@10": 0.5,
            "purchase_NDCG@10": 0.5,
            "reward@10": 1.4,
        }
    )


def test_kinds_stay_apart_when_they_are_worth_the_same() -> None:
    equal = event_metrics(RANKS, PURCHASES, (5,), click=1.0, purchase=1.0, bootstrap=VALUE_ONLY)
    assert equal["purchase_HR@5"].value == 0.5
    assert equal["reward@5"].value == 2.0


def test_a_kind_without_events_is_undefined() -> None:
    found = event_metrics(RANKS, np.zeros(4, dtype=bool), (5,), bootstrap=VALUE_ONLY)
    assert math.isnan(found["purchase_HR@5"].value)
    assert found["click_HR@5"].value == 0.5


def test_popular_items_count_less_in_the_corrected_metric() -> None:
    found = event_metrics(
        np.array([1.0, 100.0]),
        np.array([False, False]),
        (10,),
        popularity=np.array([0.8, 0.2]),
        bootstrap=VALUE_ONLY,
    )
    assert found["click_NDCG@10"].value == 0.5
    assert found["corrected_NDCG@10"].value == pytest.approx((1 / 0.8) / (1 / 0.8 + 1 / 0.2))


def test_events_of_a_session_are_drawn_together() -> None:
    ranks, clicks = np.repeat([1.0, 90.0], 200), np.zeros(400, dtype=bool)
    apart = event_metrics(ranks, clicks, (5,))["click_HR@5"]
    together = event_metrics(ranks, clicks, (5,), sessions=np.arange(400) // 100)["click_HR@5"]
    assert together.value == apart.value == 0.5
    assert together.high - together.low > 3 * (apart.high - apart.low)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="no event was ranked"):
        event_metrics(np.empty(0), np.empty(0, dtype=bool))
    with pytest.raises(ValueError, match="event 1 has popularity 0"):
        event_metrics(RANKS, PURCHASES, popularity=np.array([0.1, 0.0, 0.1, 0.1]))
