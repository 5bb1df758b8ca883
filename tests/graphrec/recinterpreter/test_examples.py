"""Cuts of sequences: which windows they show, and how tasks are mixed."""

from __future__ import annotations

import numpy as np

from graphrec.histories import Histories
from graphrec.recinterpreter.examples import Cuts

SEQUENCES = Histories.from_lists([[1, 2, 3, 4], [5], [6, 7], []])


def test_every_item_but_the_first_is_a_cut() -> None:
    cuts = Cuts.of(SEQUENCES)
    rows = cuts.rows(np.arange(len(cuts)), 2, np.zeros(len(cuts), dtype=np.int64), 0)
    assert rows.windows.lists() == [[1, 2], [2, 3], [3, 4], [6, 7]]
    assert rows.before.lists() == [[1], [1, 2], [2, 3], [6]]
    assert rows.last_items.tolist() == [2, 3, 4, 7]


def test_batches_hold_every_cut_once_and_tasks_evenly() -> None:
    sequences = Histories.from_lists([list(range(n)) for n in range(2, 12)])
    cuts = Cuts.of(sequences)
    batches = list(cuts.batches(7, 4, [0, 1], epoch=0, seed=3))
    assert sum(map(len, batches)) == len(cuts)
    lasts = sorted(int(item) for batch in batches for item in batch.last_items)
    assert lasts == sorted(int(item) for item in sequences.items[cuts.places])
    tasks = np.concatenate([batch.tasks for batch in batches])
    assert abs(int((tasks == 0).sum()) - int((tasks == 1).sum())) <= 1


def test_batches_depend_on_epoch_and_seed_alone() -> None:
    cuts = Cuts.of(Histories.from_lists([list(range(9)), list(range(5))]))

    def windows(epoch: int, seed: int) -> list:
        return [b.windows.lists() for b in cuts.batches(4, 3, [0, 1], epoch, seed)]

    assert windows(1, 2) == windows(1, 2)
    assert windows(1, 2) != windows(2, 2)
    assert windows(1, 2) != windows(1, 3)
