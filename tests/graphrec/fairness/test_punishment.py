"""The punishment of groups and items."""

from __future__ import annotations

import numpy as np

from graphrec.fairness.groups import ItemGroups
from graphrec.fairness.punishment import cutoff_weights, group_punishment, item_punishment


def test_longer_lists_count_more() -> None:
    np.testing.assert_allclose(cutoff_weights([1, 3]), [0.25, 0.75])
    np.testing.assert_allclose(group_punishment(np.array([[0.4, -0.4], [0.0, 0.0]]), [1, 3]), [1, -1])


def test_sign_and_scale_by_hand() -> None:
    of_groups = group_punishment(np.array([[0.2, -0.1, -0.1]]), [10])
    np.testing.assert_allclose(of_groups, [1, -0.5, -0.5])
    groups = ItemGroups.from_lists([[0], [0, 1], []], ["a", "b", "c"])
    np.testing.assert_allclose(item_punishment(groups, of_groups), [1, 0.25, 0])


def test_no_unfairness_no_punishment() -> None:
    assert group_punishment(np.zeros((2, 3)), [1, 5]).tolist() == [0, 0, 0]
