"""Samples: every interaction but the first, with the latest items before it."""

from __future__ import annotations

import numpy as np
import pytest

from graphrec.bigrec.samples import Samples
from graphrec.histories import Histories

SEQUENCES = Histories.from_lists([[4, 5, 6, 7], [8], [], [1, 2]])


def test_each_target_follows_its_history() -> None:
    found = Samples.of(SEQUENCES, 2)
    assert found.targets.tolist() == [5, 6, 7, 2]
    assert found.histories.lists() == [[4], [4, 5], [5, 6], [1]]


def test_samples_are_chosen_by_number() -> None:
    found = Samples.of(SEQUENCES, 9).select(np.array([2, 0, 2]))
    assert found.targets.tolist() == [7, 5, 7]
    assert found.histories.lists() == [[4, 5, 6], [4], [4, 5, 6]]


def test_sequences_of_one_item_give_nothing() -> None:
    found = Samples.of(Histories.from_lists([[3], []]), 2)
    assert len(found.targets) == len(found.histories) == 0


def test_a_history_has_a_length() -> None:
    with pytest.raises(ValueError, match="length=0 is no length"):
        Samples.of(SEQUENCES, 0)
