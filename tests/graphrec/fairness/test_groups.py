"""Groups of items: counting, popularity levels, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrec.catalogue import Catalogue
from graphrec.fairness.groups import ItemGroups, groups_by_name, popularity_groups
from graphrec.histories import Histories

LISTS = [[0], [0, 1], [], [2, 2, 1]]
NAMES = ["x", "y", "z"]


@pytest.mark.parametrize(
    ("counting", "expected"),
    [
        pytest.param("full", [3, 3, 1], id="full"),
        pytest.param("fractional", [2, 1.5, 0.5], id="fractional"),
    ],
)
def test_counts(counting: str, expected: list[float]) -> None:
    groups = ItemGroups.from_lists(LISTS, NAMES, counting)
    assert groups.counts(np.array([0, 1, 1, 2, 3, -1])).tolist() == expected
    assert groups.sizes.tolist() == [2, 2, 1]
    assert groups.without_group == 1
    assert groups.members(1).tolist() == [1, 3]


def test_histories_and_lists_are_counted_alike() -> None:
    groups = ItemGroups.from_lists(LISTS, NAMES)
    rows = [[0, 1, 3], [3, 2, 1]]
    by_history = groups.history_counts(Histories.from_lists(rows))
    by_list = groups.list_counts(np.array(rows), [1, 3])
    assert by_list[:, 1].tolist() == by_history.tolist()
    assert by_list[:, 0].tolist() == [[1, 0, 0], [0, 1, 1]]
    blanks = groups.list_counts(np.array([[0, -1, -1]]), [1, 2, 3])
    assert blanks.tolist() == [[[1, 0, 0]] * 3]


def test_unknown_group_names_the_item() -> None:
    with pytest.raises(ValueError, match="item 1: group 3 is not known; groups are 0 to 2"):
        ItemGroups.from_lists([[0], [3]], NAMES)


@pytest.mark.parametrize(
    "ks",
    [
        pytest.param([], id="none"),
        pytest.param([3, 1], id="falling"),
        pytest.param([0], id="zero"),
        pytest.param([4], id="longer-than-lists"),
    ],
)
def test_list_lengths_that_cannot_be(ks: list[int]) -> None:
    with pytest.raises(ValueError, match="must rise and lie between 1 and 3"):
        ItemGroups.from_lists(LISTS, NAMES).list_counts(np.array([[0, 1, 2]]), ks)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=3, max_size=40), st.integers(1, 3))
def test_popularity_groups_are_equal_and_ordered(counts: list[int], num_groups: int) -> None:
    values = np.array(counts)
    groups = popularity_groups(values, num_groups)
    sizes = np.bincount(groups, minlength=num_groups)
    assert sizes.max() - sizes.min() <= 1
    for group in range(num_groups - 1):
        assert values[groups == group].max() <= values[groups == group + 1].min()


def test_items_of_one_count_may_stay_together() -> None:
    counts = np.array([1, 5, 5, 5, 5, 9])
    assert len(set(popularity_groups(counts, 3)[1:5])) > 1
    together = popularity_groups(counts, 3, ties="together")
    assert len(set(together[1:5])) == 1
    assert together[0] <= together[1] <= together[5]


def test_groups_by_name() -> None:
    catalogue = Catalogue(["a", "b", "c"], groups={"genres": [["war"], [], ["comedy", "war"]]})
    train = Histories.from_lists([[0, 1, 1], [1, 2]])
    genres = groups_by_name("genres", catalogue, train)
    assert genres.names == ("comedy", "war")
    assert genres.sizes.tolist() == [1, 2]
    levels = groups_by_name("popularity:3", catalogue, train)
    assert levels.labels[np.argsort(levels.items)].tolist() == [0, 2, 1]
    assert "most popular" in levels.names[-1]
    with pytest.raises(ValueError, match="no groups 'studio'; it has genres"):
        groups_by_name("studio", catalogue, train)
    with pytest.raises(ValueError, match="give from 1 to 3 groups"):
        groups_by_name("popularity", catalogue, train)
