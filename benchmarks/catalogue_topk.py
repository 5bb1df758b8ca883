"""The ten best of a million items, without those seen, against a bare matrix product.

Every list needs the product of the rows' vectors with the items' vectors; what comes on top of that is the
price of choosing. ``bare`` multiplies in tiles of the same size and keeps nothing; ``ours`` is
``best_by_factors`` with each row's history left out. ``implicit`` (pm-implicit) and ``faiss`` (faiss-cpu,
flat inner product, nothing filtered) take part when they are installed.

    OMP_NUM_THREADS=1 python benchmarks/catalogue_topk.py

Prints seconds and ratios and appends one JSON line per number of rows to
``benchmarks/results/catalogue_topk.jsonl``. Vectors are random: speed does not depend on their values.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from record import append, in_turns, seconds, where

from graphrec.histories import Histories
from graphrec.topk import CELLS_AT_ONCE, ROWS_AT_ONCE, Factors, best_by_factors

HISTORY = 50


def bare(factors: Factors) -> None:
    """The product alone, tile by tile."""
    for start in range(0, len(factors.queries), ROWS_AT_ONCE):
        some = factors.rows(slice(start, start + ROWS_AT_ONCE))
        width = CELLS_AT_ONCE // len(some.queries)
        for first in range(0, len(factors.items), width):
            some.part(first, min(first + width, len(factors.items)))


def whole(factors: Factors) -> None:
    """The product of all items at once, for a batch of at most 64 rows."""
    for start in range(0, len(factors.queries), 64):
        factors.rows(slice(start, start + 64)).part(0, len(factors.items))


def peers(factors: Factors, seen: Histories, k: int) -> dict[str, Callable[[], Any]]:
    """The libraries that are installed."""
    found: dict[str, Callable[[], Any]] = {}
    queries, items = factors.queries.numpy(), factors.items.numpy()
    if importlib.util.find_spec("implicit"):
        from implicit.cpu.topk import topk
        from scipy import sparse

        mask = sparse.csr_matrix(
            (np.ones(len(seen.items), dtype=np.float32), (seen.rows, seen.items)),
            shape=(len(seen), len(items)),
        )
        found["implicit"] = lambda: topk(items, queries, k, filter_query_items=mask, num_threads=1)
    if importlib.util.find_spec("faiss"):
        import faiss

        index = faiss.IndexFlatIP(items.shape[1])
        index.add(items)
        found["faiss"] = lambda: index.search(queries, k)
    return found


def measure(num_rows: int, options: argparse.Namespace) -> dict[str, Any]:
    """Time all ways on one number of rows."""
    generator = torch.Generator().manual_seed(0)
    items = torch.randn(options.items, options.width, generator=generator)
    factors = Factors(torch.randn(num_rows, options.width, generator=generator), items)
    rng = np.random.default_rng(0)
    seen = Histories.from_lengths(
        rng.integers(0, options.items, num_rows * HISTORY), np.full(num_rows, HISTORY)
    )
    numbers, _ = best_by_factors(factors.rows(slice(0, 4)), options.k, seen=seen[:4])
    expected = factors.rows(slice(0, 4)).part(0, options.items)
    expected[seen[:4].rows, seen[:4].items] = -torch.inf
    assert (torch.topk(expected, options.k).indices.numpy() == numbers).all()
    ways: dict[str, Callable[[], Any]] = {
        "bare": lambda: bare(factors),
        "whole": lambda: whole(factors),
        "ours": lambda: best_by_factors(factors, options.k, seen=seen),
        **peers(factors, seen, options.k),
    }
    taken = in_turns({name: (lambda way=way: seconds(way)) for name, way in ways.items()}, options.rounds)
    return {
        "rows": num_rows,
        "seconds": {name: round(value, 4) for name, value in taken.items()},
        "ours_over_bare": round(taken["ours"] / taken["bare"], 2),
        "rows_per_second": round(num_rows / taken["ours"], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 64, 1024])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for num_rows in options.rows:
        line = measure(num_rows, options)
        append("catalogue_topk", {**vars(options), **line, **where("torch", "numpy")})
        print(f"{num_rows:>5} rows: {line['ours_over_bare']:.2f} times the product, {line['seconds']}")


if __name__ == "__main__":
    main()
