"""Exact calibration: the lists of least cost whose groups have the shares that are aimed at.

The additive punishment of IFairLRS (arXiv 2402.15215) is one step towards prices of groups; here they are
iterated until the shares are met (see :mod:`graphrec.fairness.dual`). At the right prices nearly every row
has one cheapest list; the few rows that waver between lists are settled one after the other, so that the
shares land within the tolerance. The dual bounds the cost of any lists within it, so how far the result can
be from the best is known.

Letters: B rows, N items to choose from in each row, k length of a list, G groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphrec.fairness.dual import Cut, OutOfReachError, best_prices
from graphrec.fairness.groups import ItemGroups
from graphrec.fairness.unfairness import shares
from graphrec.histories import Integers

Floats = NDArray[np.floating]

MOVABLE = 1_000
"""Rows that may change their list at the end: they are many more than it takes."""


@dataclass(frozen=True)
class Calibration:
    """Calibrated lists.

    Attributes:
        lists: item numbers, cheapest first, ``[B, k]``.
        shares: of each group in all lists, ``[G]``.
        target: what was aimed at, ``[G]``.
        tolerance: largest gap allowed.
        cost: mean cost of a place of the lists.
        cost_before: the same of the cheapest lists of all.
        bound: no lists within the tolerance cost less, among the items that were given.
    """

    lists: Integers
    shares: NDArray[np.float64]
    target: NDArray[np.float64]
    tolerance: float
    cost: float
    cost_before: float
    bound: float

    @property
    def largest_gap(self) -> float:
        """Of any group."""
        return float(np.abs(self.shares - self.target).max())

    @property
    def reached(self) -> bool:
        """Whether all shares are within the tolerance; a few lists may be too coarse for it."""
        return self.largest_gap <= self.tolerance * (1 + 1e-9)


def calibrate(
    costs: Floats,
    groups: ItemGroups,
    target: NDArray[np.float64],
    k: int,
    *,
    items: Integers | None = None,
    tolerance: float = 0.005,
) -> Calibration:
    """Lists of k items in each row whose groups have the target shares, at least total cost.

    Args:
        costs: such as min-max distances, lower is better, infinite for what is not on offer, ``[B, N]``.
        groups: of items; shares are counted as it counts.
        target: share of each group, ``[G]``.
        k: length of a list.
        items: what ``costs`` are of, no item twice in a row, ``[B, N]``, see :func:`pool`; None: every row
            chooses from all items, and N is I.
        tolerance: largest gap between share and target.

    Raises:
        ValueError: a row has fewer than k items on offer, or no lists reach the target.
    """
    if tolerance <= 0:
        raise ValueError(f"tolerance={tolerance} cannot be met by whole items; give a small number above 0")
    if len(target) != len(groups):
        raise ValueError(f"{len(target)} shares for {len(groups)} groups: give one each")
    _check_offer(costs, k)
    _check_target(groups, target, tolerance)
    task = _Task(costs, items, groups, target, k, tolerance)
    free = task.cheapest(np.zeros(2 * len(groups)))
    try:
        found = best_prices(
            task.cheapest, 2 * len(groups), dearest=task.dearest(), step=task.step(), precision=1e-4
        )
    except OutOfReachError:
        raise ValueError(
            f"no lists of {k} items have shares within {tolerance:g} of the target: too few items of some "
            "group are on offer. Widen the tolerance, offer more items, or choose another target."
        ) from None
    columns = task.settled(found.cuts, found.mixture)
    lists = task.numbers(columns)
    return Calibration(
        lists=lists,
        shares=shares(groups.counts(lists)),
        target=target,
        tolerance=tolerance,
        cost=task.cost(columns),
        cost_before=free.cost,
        bound=found.bound,
    )


def pool(costs: Floats, groups: ItemGroups, k: int, *, width: int = 200) -> tuple[Integers, Floats]:
    """A part of all items that calibration needs: the cheapest of each row and the cheapest of each group.

    With groups that share no item nothing else can be in a best list; with others ``width`` decides how
    close it comes.

    Args:
        costs: of all items, infinite for what is not on offer, ``[B, I]``.
        groups: of items.
        k: length of a list.
        width: cheapest items that are kept of each row.

    Returns:
        items and their costs, ``[B, N]`` each; blanks are item 0 at infinite cost.
    """
    num_rows, num_items = costs.shape
    kept = np.zeros(costs.shape, dtype=bool)
    members = [np.flatnonzero(groups.groups_of_item == 0), *map(groups.members, range(len(groups)))]
    for columns, most in [(np.arange(num_items), max(width, k)), *((one, k) for one in members)]:
        most = min(most, len(columns))
        if most:
            cheapest = np.argpartition(costs[:, columns], most - 1, axis=1)[:, :most]
            np.put_along_axis(kept, columns[cheapest], True, axis=1)
    rows, found = np.nonzero(kept)
    lengths = kept.sum(axis=1)
    places = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    size = min(num_items, max(width, k) + k * len(members))
    items = np.zeros((num_rows, size), dtype=np.int64)
    pooled = np.full((num_rows, size), np.inf, dtype=costs.dtype)
    items[rows, places], pooled[rows, places] = found, costs[rows, found]
    return items, pooled


def _check_offer(costs: Floats, k: int) -> None:
    offered = np.isfinite(costs).sum(axis=1)
    if k < 1 or not len(costs):
        raise ValueError(f"{len(costs)} rows and lists of k={k}: give at least one row and one place")
    if (offered < k).any():
        row = int(np.argmax(offered < k))
        raise ValueError(f"row {row} has {offered[row]} items on offer for a list of {k}; give a smaller k")


def _check_target(groups: ItemGroups, target: NDArray[np.float64], tolerance: float) -> None:
    for group in np.flatnonzero((groups.sizes == 0) & (target > tolerance)):
        raise ValueError(
            f"group {groups.names[group]!r} should have a share of {target[group]:.4f} and has no item; "
            "choose another target"
        )


class _Task:
    """Costs of B rows, and what each item adds to the two constraints of each group.

    A share is at most its target plus the tolerance when ``sum(m - (target + tolerance) * n)`` over all
    places is at most 0, where m is what the item adds to the group and n what it adds to all; the lower side
    is alike.
    """

    def __init__(
        self,
        costs: Floats,
        items: Integers | None,
        groups: ItemGroups,
        target: NDArray[np.float64],
        k: int,
        tolerance: float,
    ) -> None:
        self.costs, self.items, self.k = costs.astype(np.float64), items, k
        self.groups, self.target, self.tolerance = groups, target, tolerance
        added = groups.membership.toarray()
        total = added.sum(axis=1, keepdims=True)
        above = added - (target + tolerance) * total
        below = (target - tolerance) * total - added
        self.excess = np.hstack([above, below])  # [I, 2G]
        self.places = len(costs) * k

    def numbers(self, columns: Integers) -> Integers:
        """Item numbers of columns, ``[B, k]``."""
        return columns if self.items is None else np.take_along_axis(self.items, columns, axis=1)

    def cost(self, columns: Integers) -> float:
        """Mean cost of a place."""
        return float(np.take_along_axis(self.costs, columns, axis=1).mean())

    def columns(self, prices: NDArray[np.float64]) -> Integers:
        """The k cheapest columns of each row at some prices, cheapest by its own cost first, ``[B, k]``."""
        price = self.excess @ prices
        priced = self.costs + (price if self.items is None else price[self.items])
        found = np.argpartition(priced, self.k - 1, axis=1)[:, : self.k]
        order = np.argsort(np.take_along_axis(self.costs, found, axis=1), axis=1, kind="stable")
        return np.take_along_axis(found, order, axis=1)

    def cheapest(self, prices: NDArray[np.float64]) -> Cut:
        """Of the cheapest lists, everything as a mean over places."""
        columns = self.columns(prices)
        counts = np.bincount(self.numbers(columns).ravel(), minlength=len(self.excess))
        return Cut(prices, self.cost(columns), counts @ self.excess / self.places)

    def dearest(self) -> float:
        """Mean cost of a place of the dearest lists."""
        finite = np.where(np.isfinite(self.costs), self.costs, -np.inf)
        return float(-np.partition(-finite, self.k - 1, axis=1)[:, : self.k].mean())

    def step(self) -> float:
        """A first guess of how much prices move: what the cheapest lists and the next ones differ by."""
        deep = min(2 * self.k, self.costs.shape[1])
        cheap = np.partition(self.costs, deep - 1, axis=1)[:, :deep]
        spread = np.where(np.isfinite(cheap), cheap, np.nan)
        difference = float(np.nanmean(np.nanmax(spread, axis=1) - np.nanmin(spread, axis=1)))
        return difference or 1.0

    def settled(self, cuts: tuple[Cut, ...], mixture: NDArray[np.float64]) -> Integers:
        """One list for each row, of those that the cuts give, within the tolerance where that is possible.

        Rows are dealt to the cuts as the mixture says. Then, as long as it brings the shares closer, the one
        row whose change helps most takes the list of another cut.

        Args:
            cuts: prices whose lists are mixed.
            mixture: share of each.
        """
        lists = np.stack([self.columns(cut.prices) for cut in cuts], axis=1)  # [B, J, k]
        rng, rows = np.random.default_rng(0), np.arange(len(self.costs))
        ends = np.cumsum(mixture)[:-1]
        chosen = np.searchsorted(ends, (rng.permutation(len(rows)) + 0.5) / len(rows))
        wavering = np.flatnonzero((lists != lists[:, :1]).any(axis=(1, 2)))
        wavering = rng.permutation(wavering)[:MOVABLE]
        some = wavering[:, None, None]
        costs = self.costs[some, lists[wavering]].sum(axis=2)  # [W, J]
        numbers = lists[wavering] if self.items is None else self.items[some, lists[wavering]]
        added = self.groups.list_counts(numbers.reshape(-1, self.k), [self.k]).reshape(
            *costs.shape, len(self.groups)
        )
        counts = self.groups.counts(self.numbers(lists[rows, chosen]))
        for _ in range(10 * len(wavering)):
            excess = self._excess(counts)
            if not excess:
                break
            here = np.arange(len(wavering)), chosen[wavering]
            possible = self._excess(counts + added - added[here][:, None])
            dearer = costs - costs[here][:, None]
            best = np.lexsort([dearer.ravel(), possible.ravel()])[0]
            row, cut = np.unravel_index(best, possible.shape)
            if possible[row, cut] >= excess:
                break
            counts = counts + added[row, cut] - added[row, chosen[wavering[row]]]
            chosen[wavering[row]] = cut
        return lists[rows, chosen]

    def _excess(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far the shares of counts ``[..., G]`` are beyond the tolerance, over all groups, ``[...]``."""
        gaps = np.abs(shares(counts) - self.target)
        beyond: NDArray[np.float64] = np.maximum(gaps - self.tolerance, 0).sum(axis=-1)
        return beyond
