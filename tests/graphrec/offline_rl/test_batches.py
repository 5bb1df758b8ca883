"""Sessions cut into pieces and packed into batches: every event learnt once, in its own context."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrec.histories import Histories
from graphrec.offline_rl.batches import Pieces, SessionBatch, session_batches

WALKS = st.lists(st.lists(st.integers(0, 9), max_size=30), min_size=1, max_size=5).filter(any)


def batches_of(
    walks: list[list[int]], length: int, *, batch_size: int = 2, seed: int = 0
) -> list[SessionBatch]:
    sessions = Histories.from_lists(walks)
    return list(
        session_batches(
            Pieces.of(sessions, length),
            np.arange(len(sessions.items), dtype=np.float32),  # rewards that name their event
            20,
            batch_size=batch_size,
            num_negatives=3,
            outside_session=False,
            rng=np.random.default_rng(seed),
        )
    )


@settings(max_examples=60, deadline=None)
@given(WALKS, st.integers(1, 8))
def test_every_event_is_learnt_once_with_half_the_length_before_it(
    walks: list[list[int]], length: int
) -> None:
    sessions = Histories.from_lists(walks)
    pieces = Pieces.of(sessions, length)
    assert pieces.events.lengths.max() <= length
    learnt = pieces.events.items[pieces.learnt]
    assert sorted(learnt.tolist()) == list(range(len(sessions.items)))
    held = pieces.events.positions[pieces.learnt]
    assert (held >= np.minimum(sessions.positions[learnt], length // 2)).all()


@settings(max_examples=40, deadline=None)
@given(WALKS, st.integers(2, 8))
def test_batches_hold_the_transitions_of_the_sessions(walks: list[list[int]], length: int) -> None:
    sessions = Histories.from_lists(walks)
    expected = Counter(
        (float(event), item, ended, following)
        for event, (item, ended, following) in enumerate(
            (walk[place], place == len(walk) - 1, walk[min(place + 1, len(walk) - 1)])
            for walk in walks
            for place in range(len(walk))
        )
    )
    found: Counter[tuple[float, int, bool, int]] = Counter()
    for batch in batches_of(walks, length):
        learnt = batch.learnt
        found.update(
            zip(
                batch.rewards[learnt].tolist(),
                batch.items[learnt].tolist(),
                batch.done[learnt].tolist(),
                batch.next_items[learnt].tolist(),
                strict=True,
            )
        )
        assert not (batch.negatives == batch.items[:, None]).any()
    assert found == expected
    assert len(sessions.items) == sum(found.values())


def test_the_state_before_an_event_is_that_after_the_one_before_it() -> None:
    (batch,) = batches_of([[1, 2, 3], [4, 5]], 10)
    assert batch.items.tolist() == [1, 2, 3, 4, 5]
    assert batch.before.tolist() == [0, 1, 2, 0, 4]


@pytest.mark.parametrize("other", [{"seed": 1}, {"batch_size": 1}], ids=["seed", "size"])
def test_order_and_negatives_are_those_of_the_seed(other: dict[str, int]) -> None:
    walks = [[1, 2, 3], [4, 5], [6], [7, 8, 9, 1]]
    first, again, different = batches_of(walks, 4), batches_of(walks, 4), batches_of(walks, 4, **other)
    for one, two in zip(first, again, strict=True):
        assert one.items.tolist() == two.items.tolist()
        assert one.negatives.tolist() == two.negatives.tolist()
    assert [batch.negatives.tolist() for batch in first] != [batch.negatives.tolist() for batch in different]
