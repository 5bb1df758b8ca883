"""Prices of groups under which the cheapest lists have the shares that are aimed at: the dual of calibration.

Calibration is a linear program over lists with one pair of constraints for each group. Its Lagrangian
dual is concave and piecewise linear in as many prices as there are constraints; it is maximised by cutting
planes within a box around the best prices so far (Marsten, Hogan & Blankenship, Operations Research 1975).
At the end the multipliers of the cuts say how to mix lists made at different prices.

Letters: B rows, N items to choose from in each row, k length of a list, C constraints, J cuts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

Floats = NDArray[np.float64]

GROWTH, SHRINKAGE = 2.0, 0.5


class Cut(NamedTuple):
    """The cheapest lists at some prices; at other prices they cost ``cost + prices @ excess``."""

    prices: Floats
    """``[C]``."""
    cost: float
    """Of the lists, without prices."""
    excess: Floats
    """How far the lists exceed each constraint, ``[C]``."""


@dataclass(frozen=True)
class Prices:
    """The end of the search.

    Attributes:
        cuts: prices whose lists are to be mixed.
        mixture: share of each of them, ``[J]``; they sum to 1.
        bound: no lists within the constraints cost less.
    """

    cuts: tuple[Cut, ...]
    mixture: Floats
    bound: float


class OutOfReachError(ValueError):
    """No lists meet the constraints."""


def best_prices(
    cheapest: Callable[[Floats], Cut],
    num_constraints: int,
    *,
    dearest: float,
    step: float,
    precision: float = 1e-5,
    rounds: int = 400,
) -> Prices:
    """Prices at which the dual is largest.

    Args:
        cheapest: the cheapest lists at given prices ``[C]``, all at least 0.
        num_constraints: C.
        dearest: cost of the dearest lists there are; a dual above it has no lists that meet the constraints.
        step: half width of the first box, in units of cost.
        precision: stop when no prices can be better by more than this, in units of ``step``.
        rounds: give up the search for better prices after so many; the bound stays right.

    Raises:
        OutOfReachError: no lists meet the constraints.
    """
    cuts = [cheapest(np.zeros(num_constraints))]
    best, highest, width = cuts[0].prices, cuts[0].cost, step
    mixture = np.ones(1)
    for _ in range(rounds):
        found = _master(cuts, best, width)
        mixture = found.mixture
        if found.value - highest <= precision * step:
            if not found.at_edge:
                break
            width *= GROWTH
        cut = cheapest(found.prices)
        value = cut.cost + float(found.prices @ cut.excess)
        cuts.append(cut)
        if value > highest:
            width *= GROWTH if found.at_edge else 1.0
            best, highest = found.prices, value
        else:
            width *= SHRINKAGE if found.at_edge else 1.0
        if highest > dearest + precision * step:
            raise OutOfReachError
    mixture = np.concatenate([mixture, np.zeros(len(cuts) - len(mixture))])
    used = mixture > 1e-9
    chosen = tuple(cut for cut, is_used in zip(cuts, used, strict=True) if is_used)
    return Prices(chosen, mixture[used] / mixture[used].sum(), highest)


class _Master(NamedTuple):
    prices: Floats
    value: float
    mixture: Floats
    at_edge: bool


def _master(cuts: list[Cut], centre: Floats, width: float) -> _Master:
    """Prices in the box around ``centre`` at which the lowest cut is highest."""
    excess = np.stack([cut.excess for cut in cuts])
    costs = np.array([cut.cost for cut in cuts])
    constraints = np.hstack([-excess, np.ones((len(cuts), 1))])  # value - prices @ excess <= cost
    objective = np.zeros(constraints.shape[1])
    objective[-1] = -1
    low, high = np.maximum(centre - width, 0), centre + width
    bounds = [*zip(low, high, strict=True), (None, None)]
    solved = linprog(objective, A_ub=constraints, b_ub=costs, bounds=bounds, method="highs")
    if not solved.success:
        raise RuntimeError(f"the linear program of the prices was not solved: {solved.message}")
    prices = solved.x[:-1]
    near = 1e-9 * max(width, 1e-300)
    at_edge = bool(((high - prices <= near) | ((prices - low <= near) & (low > 0))).any())
    return _Master(prices, float(solved.x[-1]), -solved.ineqlin.marginals, at_edge)
