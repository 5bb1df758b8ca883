"""What RecInterpreter is trained on: every sequence cut at every place, as one of the tasks that are mixed.

A row is the history up to a cut. Recovery lists its window, the latest L items; residual compares the windows
before and after its last item; item names that last item. Batches are a pure function of (sequences, epoch,
seed).

Letters: B rows of a batch, L longest window, N items of all sequences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from graphrec.histories import Histories, Integers
from graphrec.recinterpreter.prompts import drawn_wording
from graphrec.sequential.examples import spans


@dataclass(frozen=True)
class TaskRows:
    """B rows, each of one task.

    Attributes:
        windows: the latest items up to each cut, oldest first, one item at least.
        before: the latest items without the last one.
        tasks: number of the task of each row, ``[B]``.
        wording: of all prompts.
    """

    windows: Histories
    before: Histories
    tasks: Integers
    wording: int

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def last_items(self) -> Integers:
        """The item at each cut, ``[B]``."""
        return self.windows.items[self.windows.ends - 1]


@dataclass(frozen=True)
class Cuts:
    """All cuts of some sequences.

    Attributes:
        sequences: what is cut.
        places: flat place of the last item of each row; one item at least stands before it.
        begins: flat place where its sequence begins.
    """

    sequences: Histories
    places: Integers
    begins: Integers

    @classmethod
    def of(cls, sequences: Histories) -> Cuts:
        """A cut after every item but the first of each sequence."""
        positions = sequences.positions
        places = np.flatnonzero(positions >= 1)
        return cls(sequences, places, places - positions[places])

    def __len__(self) -> int:
        return len(self.places)

    def rows(self, chosen: Integers, length: int, tasks: Integers, wording: int) -> TaskRows:
        """Some cuts by number ``[B]``, with windows of at most ``length`` items."""
        ends, begins = self.places[chosen] + 1, self.begins[chosen]
        return TaskRows(
            spans(self.sequences, np.maximum(begins, ends - length), ends),
            spans(self.sequences, np.maximum(begins, ends - 1 - length), ends - 1),
            tasks,
            wording,
        )

    def batches(
        self, batch_size: int, length: int, tasks: Sequence[int], epoch: int, seed: int
    ) -> Iterator[TaskRows]:
        """All cuts once, in a drawn order; tasks take turns, so that they are mixed evenly."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self))
        turns = np.asarray(tasks)[(np.arange(len(self)) + epoch) % len(tasks)]
        for number, first in enumerate(range(0, len(self), batch_size)):
            part = slice(first, first + batch_size)
            yield self.rows(order[part], length, turns[part], drawn_wording(seed, epoch, number))
