"""Groups of items, such as genres or levels of popularity, as one sparse matrix of memberships.

An item may be in several groups, or in none. Under *full* counting it adds 1 to each of its groups, as in
IFairLRS (Jiang et al., WWW 2024, arXiv 2402.15215); under *fractional* counting it shares 1 among them.

Letters: I items, G groups, B rows, K length of a list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from graphrec.catalogue import Catalogue
from graphrec.histories import Histories, Integers

Floats = NDArray[np.float64]
Counting = Literal["full", "fractional"]
Ties = Literal["split", "together"]

POPULARITY = "popularity"
_POPULARITY = re.compile(rf"{POPULARITY}(?::([1-9]\d*))?")


@dataclass(frozen=True)
class ItemGroups:
    """Which items are in which groups, and what a membership counts.

    Attributes:
        names: of the groups, G of them.
        counting: how an item of several groups is counted.
        items, labels: item and group of each membership, ``[M]`` each, no pair twice.
        num_items: I.
    """

    names: tuple[str, ...]
    items: Integers
    labels: Integers
    num_items: int
    counting: Counting = "full"

    def __post_init__(self) -> None:
        if self.counting not in ("full", "fractional"):
            raise ValueError(f"counting={self.counting!r} is not known; choose 'full' or 'fractional'")
        if not self.names:
            raise ValueError("there is no group: name at least one")

    @classmethod
    def from_lists(
        cls, lists: Sequence[Sequence[int]], names: Sequence[str], counting: Counting = "full"
    ) -> ItemGroups:
        """Groups from the group numbers of each item; a number that is repeated counts once.

        Raises:
            ValueError: an item names a group that there is not.
        """
        lengths = np.array([len(groups) for groups in lists], dtype=np.int64)
        items = np.repeat(np.arange(len(lists)), lengths)
        labels = np.fromiter((g for groups in lists for g in groups), dtype=np.int64, count=lengths.sum())
        outside = np.flatnonzero((labels < 0) | (labels >= len(names)))
        if outside.size:
            at = outside[0]
            raise ValueError(
                f"item {items[at]}: group {labels[at]} is not known; groups are 0 to {len(names) - 1}"
            )
        pairs = np.unique(items * len(names) + labels)
        return cls(tuple(names), pairs // len(names), pairs % len(names), len(lists), counting)

    @classmethod
    def from_catalogue(cls, catalogue: Catalogue, kind: str, counting: Counting = "full") -> ItemGroups:
        """Groups that the data name, such as genres, in the order of their names.

        Raises:
            ValueError: the catalogue has no such groups, or no item is in any.
        """
        if kind not in catalogue.groups:
            known = ", ".join(catalogue.groups) or "none"
            raise ValueError(
                f"the catalogue has no groups {kind!r}; it has {known}; popularity can be had of any data"
            )
        words = catalogue.groups[kind]
        names = sorted({word for row in words for word in row})
        numbers = {name: number for number, name in enumerate(names)}
        return cls.from_lists([[numbers[word] for word in row] for row in words], names, counting)

    @classmethod
    def by_popularity(cls, counts: Integers, num_groups: int = 5, *, ties: Ties = "split") -> ItemGroups:
        """Groups of items that occur about as often, least popular first; see :func:`popularity_groups`."""
        labels = popularity_groups(counts, num_groups, ties=ties)
        names = [f"{number} of {num_groups}" for number in range(1, num_groups + 1)]
        names[0], names[-1] = f"{names[0]} (least popular)", f"{names[-1]} (most popular)"
        return cls(tuple(names), np.arange(len(labels)), labels, len(labels))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def sizes(self) -> Integers:
        """Items of each group, ``[G]``."""
        return np.bincount(self.labels, minlength=len(self))

    @cached_property
    def groups_of_item(self) -> Integers:
        """Groups of each item, ``[I]``."""
        return np.bincount(self.items, minlength=self.num_items)

    @property
    def without_group(self) -> int:
        """Items that are in no group; they count nowhere."""
        return int((self.groups_of_item == 0).sum())

    @cached_property
    def share_of_item(self) -> csr_array:
        """1 / (groups of the item) for each membership, ``[I, G]``: rows average over an item's groups."""
        return self._matrix(1 / self.groups_of_item[self.items])

    @cached_property
    def membership(self) -> csr_array:
        """What an item adds to each group, ``[I, G]``."""
        return self._matrix(np.ones(len(self.items))) if self.counting == "full" else self.share_of_item

    def _matrix(self, values: Floats) -> csr_array:
        shape = (self.num_items, len(self))
        return csr_array((values, (self.items, self.labels)), shape=shape)

    def members(self, group: int) -> Integers:
        """Items of a group, ascending."""
        return self.items[self.labels == group]

    def counts(self, items: Integers) -> Floats:
        """What items add to each group together, ``[G]`` for items of any shape; negative ones are blanks."""
        real = items[items >= 0]
        counted: Floats = np.bincount(real, minlength=self.num_items) @ self.membership
        return counted

    def history_counts(self, histories: Histories) -> Floats:
        """The same for each of B histories, ``[B, G]``."""
        ends = np.concatenate([[0], histories.ends])
        ones = np.ones(len(histories.items))
        shown = csr_array((ones, histories.items, ends), shape=(len(histories), self.num_items))
        counted: Floats = (shown @ self.membership).toarray()
        return counted

    def list_counts(self, lists: Integers, ks: Sequence[int]) -> Floats:
        """The same for the first k items of each list, all k at once, ``[B, len(ks), G]``.

        Args:
            lists: item numbers, best first, ``[B, K]``; negative ones are blanks.
            ks: rising list lengths, none above K.
        """
        check_cutoffs(ks, lists.shape[1])
        parts = [
            self._row_counts(lists[:, first:last]) for first, last in zip([0, *ks], ks, strict=False)
        ]  # what each step from one k to the next adds
        return np.cumsum(np.stack(parts, axis=1), axis=1)

    def _row_counts(self, block: Integers) -> Floats:
        rows, columns = np.nonzero(block >= 0)
        at = (rows, block[rows, columns])
        shown = csr_array((np.ones(len(rows)), at), shape=(len(block), self.num_items))
        counted: Floats = (shown @ self.membership).toarray()
        return counted


def check_cutoffs(ks: Sequence[int], longest: int) -> None:
    """Raise unless list lengths rise from at least 1 to at most ``longest``."""
    values = list(ks)
    if not values or values != sorted(set(values)) or values[0] < 1 or values[-1] > longest:
        raise ValueError(f"list lengths {values} must rise and lie between 1 and {longest}")


def popularity_groups(counts: Integers, num_groups: int = 5, *, ties: Ties = "split") -> Integers:
    """Group of each item by how often it occurs, ``[I]``; 0 is the least popular.

    Args:
        counts: occurrences of each item in the training part, ``[I]``; counting the test too would leak.
        num_groups: how many groups of about equal size.
        ties: "split": groups are as equal as can be, ``floor(rank * groups / items)``, and items of one count
            are divided in the order of the catalogue; "together": items of one count share a group, cut at
            the quantiles of the counts.

    Raises:
        ValueError: there are fewer items than groups, or ``ties`` is not known.
    """
    if not 1 <= num_groups <= len(counts):
        raise ValueError(f"{num_groups} groups of {len(counts)} items: give from 1 to {len(counts)} groups")
    if ties == "together":
        inner = np.quantile(counts, np.arange(1, num_groups) / num_groups)
        return np.searchsorted(inner, counts, side="left").astype(np.int64)
    if ties != "split":
        raise ValueError(f"ties={ties!r} is not known; choose 'split' or 'together'")
    groups = np.empty(len(counts), dtype=np.int64)
    groups[np.argsort(counts, kind="stable")] = np.arange(len(counts)) * num_groups // len(counts)
    return groups


def groups_by_name(
    name: str, catalogue: Catalogue, train: Histories, counting: Counting = "full"
) -> ItemGroups:
    """Groups as a user names them: ``popularity``, ``popularity:10`` for ten, or a column of the catalogue.

    Popularity is counted on the training part.
    """
    found = _POPULARITY.fullmatch(name)
    if not found:
        return ItemGroups.from_catalogue(catalogue, name, counting)
    counts = np.bincount(train.items, minlength=len(catalogue))
    return ItemGroups.by_popularity(counts, int(found[1] or 5))
