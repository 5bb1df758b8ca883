"""Who is fitted, who validates, who tests: split rules over interactions, without a loop over rows.

Letters: S sequences, N interactions, B rows to be ranked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_prep.errors import DataError
from data_prep.interactions.log import EXTRAS, Integers, Log
from data_prep.interactions.ragged import list_column, ranges
from data_prep.records import PARTS
from data_prep.splits import Fractions

Targets = Literal["last", "all"]
Order = Literal["shuffled", "time"]


@dataclass(frozen=True)
class Parts:
    """A split.

    Attributes:
        train: interactions that models are fitted on; columns as in :class:`Log`.
        trainval: the same and what validation adds, for a last fit before the test.
        valid, test: rows to be ranked: ``row``, ``sequence``, ``history`` (oldest first), ``target``, and
            the target's own time, rating, event and reward where the log has them.
    """

    train: pl.DataFrame
    trainval: pl.DataFrame
    valid: pl.DataFrame
    test: pl.DataFrame


def ranked_rows(log: Log, targets: Integers) -> pl.DataFrame:
    """Rows for the interactions at places ``targets [B]`` of the log, each with all that came before it."""
    sequence = log.frame["sequence"].to_numpy()[targets]
    starts = log.starts[sequence]
    lengths = targets - starts
    history = log.frame["item"].to_numpy()[ranges(starts, lengths)]
    chosen = log.frame[targets]
    return pl.DataFrame(
        {
            "row": np.arange(len(targets)),
            "sequence": sequence,
            "history": list_column(history, lengths),
            "target": chosen["item"],
            **{name: chosen[name] for name in EXTRAS if name in chosen.columns},
        }
    )


def leave_one_out(log: Log) -> Parts:
    """The last interaction of each sequence tests, the one before it validates, the rest is fitted.

    Sequences of fewer than three interactions are fitted whole and neither validate nor test.

    Raises:
        DataError: when no sequence has three interactions.
    """
    lengths, starts = log.lengths, log.starts
    tested = lengths >= 3
    if not tested.any():
        raise DataError("No sequence has three interactions, so none can be split: use another split rule.")
    last = (starts + lengths - 1)[tested]
    left = pl.Series(np.ones(len(log.frame), dtype=bool)).scatter(last, False)
    trainval = log.frame.filter(left)
    train = log.frame.filter(left.scatter(last - 1, False))
    return Parts(train, trainval, ranked_rows(log, last - 1), ranked_rows(log, last))


def by_global_time(log: Log, fractions: Fractions, *, targets: Targets = "all") -> Parts:
    """Two moments cut the log: what came before the first is fitted, what came after the second tests.

    The moments are those of the interactions at the given shares of the log; interactions of one time stay
    together. A row's history is all that its sequence did before, also within its own period.

    Args:
        targets: "all" ranks every interaction of a period, "last" only each sequence's last one in it.

    Raises:
        DataError: when the log has no times, or a period is empty.
    """
    if "time" not in log.frame.columns:
        raise DataError("A split by global time needs times: name their column, or use another split.")
    time = log.frame["time"].to_numpy()
    ordered = np.sort(time)
    cuts = [min(round(len(time) * share), len(time) - 1) for share in (fractions[0], 1 - fractions[2])]
    first, second = ordered[cuts[0]], ordered[cuts[1]]
    train, trainval = time < first, time < second
    valid, test = ~train & trainval, ~trainval
    for part, mask in zip(PARTS, (train, valid, test), strict=True):
        if not mask.any():
            raise DataError(
                f"The {part} part is empty: too many interactions have one time ({first:g}). "
                "Give other fractions, or use another split."
            )
    keep = pl.Series(train), pl.Series(trainval)
    rows = [ranked_rows(log, _wanted(log, mask, targets)) for mask in (valid, test)]
    return Parts(log.frame.filter(keep[0]), log.frame.filter(keep[1]), *rows)


def _wanted(log: Log, mask: NDArray[np.bool_], targets: Targets) -> Integers:
    """Places of a mask ``[N]``, or the last of them in each sequence."""
    places = np.flatnonzero(mask)
    if targets == "last":
        sequence = log.frame["sequence"].to_numpy()[places]
        places = places[np.append(sequence[1:] != sequence[:-1], True)] if len(places) else places
    return places


def by_sequence(log: Log, part: NDArray[np.int64], *, targets: Targets = "last") -> Parts:
    """Whole sequences are fitted, validate or test.

    Args:
        part: 0 train, 1 valid, 2 test for each sequence, ``[S]``.
        targets: "last" ranks a held-out sequence's last interaction, "all" each of them, the first from an
            empty history.

    Raises:
        DataError: when no sequence trains or none tests.
    """
    for code, name in ((0, "train"), (2, "test")):
        if not (part == code).any():
            raise DataError(f"No sequence is in the {name} part: give other fractions.")
    rows = []
    for code in (1, 2):
        inside = np.repeat(part == code, log.lengths)
        rows.append(ranked_rows(log, _wanted(log, inside, targets)))
    return Parts(log.of_sequences(part == 0), log.of_sequences(part < 2), *rows)


def assign_sequences(log: Log, fractions: Fractions, *, order: Order = "shuffled", seed: int = 0) -> Integers:
    """Part of each sequence, ``[S]``: 0 train, 1 valid, 2 test.

    Args:
        order: "shuffled" by the seed; "time" puts sequences that began later into valid and test.

    Raises:
        DataError: for order "time" when the log has no times.
    """
    count = len(log.starts)
    if order == "time":
        if "time" not in log.frame.columns:
            raise DataError("Sequences can only be ordered by time where the log has times.")
        begun = log.frame["time"].to_numpy()[log.starts]
        ranked = np.argsort(begun, kind="stable")
    else:
        ranked = np.random.default_rng(seed).permutation(count)
    valid, test = round(count * fractions[1]), round(count * fractions[2])
    part = np.zeros(count, dtype=np.int64)
    part[ranked[count - valid - test : count - test]] = 1
    part[ranked[count - test :]] = 2
    return part
