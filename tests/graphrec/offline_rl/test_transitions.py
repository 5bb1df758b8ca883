"""Sessions as transitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrec.data import Words
from graphrec.histories import Histories
from graphrec.offline_rl.transitions import done, purchases, read_lengths, rewards, windows

PAD = 99


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), max_size=8), max_size=6), st.integers(1, 5), st.booleans())
def test_windows_are_the_latest_items_of_each_prefix(
    walks: list[list[int]], length: int, after: bool
) -> None:
    sessions = Histories.from_lists(walks)
    found = windows(sessions, length, PAD, after=after)
    prefixes = [walk[: place + after][-length:] for walk in walks for place in range(len(walk))]
    expected = [prefix + [PAD] * (length - len(prefix)) for prefix in prefixes]
    assert found.tolist() == expected
    assert read_lengths(sessions, length, after=after).tolist() == [max(1, len(row)) for row in prefixes]
    assert done(sessions).sum() == sum(bool(walk) for walk in walks)


def test_the_kind_of_an_event_decides_its_reward() -> None:
    events = Words(np.array([1, 0, 1], dtype=np.uint32), ("purchase", "click"))
    assert rewards(events, 3, click=0.2, purchase=1.0).tolist() == pytest.approx([0.2, 1.0, 0.2])
    assert purchases(events, 3).tolist() == [False, True, False]


def test_equal_rewards_do_not_merge_the_kinds() -> None:
    events = Words(np.array([0, 1], dtype=np.uint32), ("purchase", "click"))
    assert rewards(events, 2, click=1.0, purchase=1.0).tolist() == [1.0, 1.0]
    assert purchases(events, 2).tolist() == [True, False]


def test_without_kinds_all_are_clicks() -> None:
    assert rewards(None, 2, click=0.5, purchase=1.0).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("names", "codes", "message"),
    [
        pytest.param(("click", "wish"), [0, 1], "event 1 is 'wish'", id="unknown-kind"),
        pytest.param(("click",), [0], "1 kinds of events for 2", id="number"),
    ],
)
def test_refusals(names: tuple[str, ...], codes: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        purchases(Words(np.array(codes, dtype=np.uint32), names), 2)


def test_a_window_has_a_length() -> None:
    with pytest.raises(ValueError, match="length=0"):
        windows(Histories.from_lists([[1]]), 0, PAD, after=True)
