"""BIGRec's samples: a window of history and the item after it, pooled over users and cut in order of time.

Bao et al., arXiv 2308.08434, as their released code makes them. Letters: U users, N interactions, S samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from graphrec.histories import Histories, Integers

Variant = Literal["movie", "game"]


@dataclass(frozen=True)
class Windows:
    """Samples in order of time.

    Attributes:
        users: row of each sample's user, ``[S]``.
        histories: up to ``window`` items before the target, oldest first, S rows.
        targets, times: of what came next, ``[S]``.
        num_train, num_valid: the first so many samples train, the next validate, the rest test.
    """

    users: Integers
    histories: Histories
    targets: Integers
    times: NDArray[np.float64]
    num_train: int
    num_valid: int

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def num_test(self) -> int:
        return len(self) - self.num_train - self.num_valid


def windows(
    histories: Histories,
    times: NDArray[np.floating],
    *,
    window: int = 10,
    variant: Variant = "movie",
    keep_empty: bool = False,
) -> Windows:
    """Samples of U users; those of different users may mix, since the cut is in time alone.

    Args:
        histories: interactions of each user in the order of the source, N in all.
        times: of each interaction, ``[N]``; interactions of one time keep their order.
        window: longest history of a sample.
        variant: "movie": every interaction after the first ``window``, so that shorter users give nothing;
            "game": those, or the last interaction of a shorter user.
        keep_empty: of the "game" variant: keep the sample of a user with one interaction, which has no
            history to learn from.
    """
    if variant not in ("movie", "game"):
        raise ValueError(f"variant={variant!r} is not known; choose 'movie' or 'game'")
    if window < 1:
        raise ValueError(f"window={window} is no length of a history; give a whole number from 1")
    if keep_empty and variant == "movie":
        raise ValueError("keep_empty has no effect on the movie variant, which has no empty history")
    users = histories.rows
    order = np.lexsort([times, users])  # stable: ties keep their order
    items, times = histories.items[order], np.asarray(times, dtype=np.float64)[order]
    lengths = np.repeat(histories.lengths, histories.lengths)
    first = np.minimum(window, lengths - 1) if variant == "game" else np.full(len(items), window)
    if variant == "game" and not keep_empty:
        first = np.maximum(first, 1)
    targets = np.flatnonzero(histories.positions >= first)
    targets = targets[np.argsort(times[targets], kind="stable")]
    sizes = np.minimum(histories.positions[targets], window)
    ends = np.cumsum(sizes)
    places = np.arange(int(sizes.sum())) + np.repeat(targets - ends, sizes)
    total = len(targets)
    num_train = total * 8 // 10
    return Windows(
        users=users[targets],
        histories=Histories.from_lengths(items[places], sizes),
        targets=items[targets],
        times=times[targets],
        num_train=num_train,
        num_valid=total * 9 // 10 - num_train,
    )
