"""The search for prices, on programs whose answer is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import linprog

from graphrec.fairness.dual import Cut, OutOfReachError, best_prices


def choosing(costs: np.ndarray, excess: np.ndarray) -> Callable[[np.ndarray], Cut]:
    """One choice among a few, each with its cost and what it exceeds the constraints by."""

    def cheapest(prices: np.ndarray) -> Cut:
        best = int(np.argmin(costs + excess @ prices))
        return Cut(prices, float(costs[best]), excess[best])

    return cheapest


@pytest.mark.parametrize("step", [0.01, 1.0, 100.0], ids=["short-steps", "right-steps", "long-steps"])
def test_the_best_mixture_is_found(step: float) -> None:
    """Half of each choice meets the constraint exactly, at a price of 2 and a mean cost of 2."""
    found = best_prices(choosing(np.array([1.0, 3.0]), np.array([[0.5], [-0.5]])), 1, dearest=3.0, step=step)
    assert found.bound == pytest.approx(2, abs=1e-3)
    excess = sum(share * cut.excess for share, cut in zip(found.mixture, found.cuts, strict=True))
    cost = sum(share * cut.cost for share, cut in zip(found.mixture, found.cuts, strict=True))
    assert excess == pytest.approx([0], abs=1e-6)
    assert cost == pytest.approx(2, abs=1e-6)


def test_constraints_that_bind_nothing_cost_nothing() -> None:
    found = best_prices(choosing(np.array([1.0, 3.0]), np.array([[-0.5], [0.5]])), 1, dearest=3.0, step=1)
    assert found.bound == 1
    assert found.mixture.tolist() == [1]


def test_the_bound_is_that_of_the_linear_program() -> None:
    rng = np.random.default_rng(0)
    costs, excess = rng.random(30), rng.normal(size=(30, 4))
    found = best_prices(choosing(costs, excess), 4, dearest=float(costs.max()), step=0.1)
    solved = linprog(costs, A_ub=excess.T, b_ub=np.zeros(4), A_eq=np.ones((1, 30)), b_eq=[1])
    assert found.bound == pytest.approx(solved.fun, abs=1e-4)
    assert found.bound <= solved.fun + 1e-9


def test_what_cannot_be_met_is_out_of_reach() -> None:
    with pytest.raises(OutOfReachError):
        best_prices(choosing(np.array([1.0, 3.0]), np.array([[0.5], [0.1]])), 1, dearest=3.0, step=1)
