"""The rank of one target a row: counted, against read off a sorted list.

A rank is one more than the number of items that score higher, so one pass over the scores finds it; sorting
twice, as released evaluation code does, orders the whole catalogue. Both give the same ranks where no scores
are equal, which is checked first; only counting says what happens where some are.

    OMP_NUM_THREADS=1 python benchmarks/rank_by_counting.py

Prints rows per second and the ratio and appends one JSON line per catalogue to
``benchmarks/results/rank_by_counting.jsonl``. Scores are random.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import append, in_turns, seconds, where

from graphrec.evaluation import target_ranks
from graphrec.histories import Histories

HISTORY = 20


def sorted_ranks(
    scores: NDArray[np.float32], targets: NDArray[np.int64], seen: Histories
) -> NDArray[np.int64]:
    """Ranks by sorting twice, with what was seen set to -inf."""
    offered = scores.copy()
    offered[seen.rows, seen.items] = -np.inf
    places = (-offered).argsort(axis=1).argsort(axis=1)
    return places[np.arange(len(targets)), targets] + 1


def measure(num_items: int, options: argparse.Namespace) -> dict[str, Any]:
    """Time both ways on one size of catalogue."""
    rng = np.random.default_rng(0)
    scores = rng.permuted(np.tile(np.arange(num_items, dtype=np.float32), (options.rows, 1)), axis=1)
    targets = rng.integers(0, num_items // 2, options.rows)
    history = rng.integers(num_items // 2, num_items, options.rows * HISTORY)  # never holds the target
    seen = Histories.from_lengths(history, np.full(options.rows, HISTORY))
    assert (target_ranks(scores, targets, seen=seen) == sorted_ranks(scores, targets, seen)).all()
    taken = in_turns(
        {
            "counting": lambda: seconds(lambda: target_ranks(scores, targets, seen=seen)),
            "counting, ties against": lambda: seconds(
                lambda: target_ranks(scores, targets, seen=seen, ties="against")
            ),
            "sorting twice": lambda: seconds(lambda: sorted_ranks(scores, targets, seen)),
        },
        options.rounds,
    )
    return {
        "items": num_items,
        "rows_per_second": {name: round(options.rows / value) for name, value in taken.items()},
        "speed_up": round(taken["sorting twice"] / taken["counting"], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, nargs="+", default=[3_416, 12_101, 100_000])
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for num_items in options.items:
        line = measure(num_items, options)
        append("rank_by_counting", {**line, **vars(options), "items": num_items, **where("numpy")})
        print(f"{num_items:>8} items: {line['speed_up']:>6.1f}x, {line['rows_per_second']}")


if __name__ == "__main__":
    main()
