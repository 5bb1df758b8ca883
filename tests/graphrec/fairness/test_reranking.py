"""Reranking by a punishment, and the choice of its coefficient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphrec.fairness.reranking import TradeOff, as_distances, choose_alpha, punished
from graphrec.histories import Histories


def test_both_scaled_forms_give_the_same_rankings() -> None:
    rng = np.random.default_rng(0)
    away, punishment = rng.random((6, 9)) * 40, rng.uniform(-1, 1, 9)
    alpha = 0.3
    convex = punished(away, punishment, alpha)
    added = punished(away, punishment, alpha / (1 - alpha), "additive_minmax")
    assert np.argsort(convex).tolist() == np.argsort(added).tolist()
    np.testing.assert_allclose(punished(away, punishment, 2, "additive_raw"), away + 2 * punishment)


def test_what_is_seen_stays_out_of_reach() -> None:
    away = as_distances(np.array([[3.0, 2.0, 1.0]], dtype=np.float32), Histories.from_lists([[0]]))
    moved = punished(away, np.array([-1.0, 0.5, 0.0]), 0.5)
    assert moved[0].tolist() == [np.inf, 0.25, 0.5]
    assert moved.dtype == np.float32
    assert punished(away, np.array([-1.0, 0.5, 0.0]), 1.0)[0].tolist() == [np.inf, 0.5, 0.0]


@pytest.mark.parametrize(
    ("alpha", "form", "message"),
    [
        pytest.param(-0.1, "additive_raw", "alpha=-0.1", id="negative"),
        pytest.param(1.1, "convex_minmax", "at most 1 for convex_minmax", id="beyond-convex"),
        pytest.param(0.1, "convex", "form='convex' is not known", id="form"),
    ],
)
def test_refusals(alpha: float, form: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        punished(np.zeros((1, 2)), np.zeros(2), alpha, form)


def point(alpha: float, mgu: float, ndcg: float) -> TradeOff:
    return TradeOff(alpha, {5: mgu}, {5: mgu}, {5: ndcg}, {5: ndcg})


def test_the_fairest_of_the_accurate_is_chosen() -> None:
    curve = [point(0, 0.5, 1.0), point(0.1, 0.3, 0.98), point(0.2, 0.1, 0.9)]
    assert choose_alpha(curve, fairness=[5], accuracy=5).alpha == 0.1
    assert choose_alpha(curve, fairness=[5], accuracy=5, keep=0.9).alpha == 0.2
    assert choose_alpha(curve, fairness=[5], accuracy=5, keep=1.0).alpha == 0
    with pytest.raises(ValueError, match="add 0 to alphas"):
        choose_alpha(curve[1:], fairness=[5], accuracy=5)
