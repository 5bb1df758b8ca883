"""Tens of thousands of generated titles grounded to a catalogue: in parts, against all distances at once.

``parts`` is :func:`graphrec.bigrec.grounding.ground`: lists and ranks of targets from a few rows of distances
at a time. ``whole`` holds all distances at once, as evaluation code of this kind does, takes the nearest and
counts who stands before each target. Each runs in a process of its own, whose peak of memory above its start
is read off. Lists are compared first, on some of the rows.

    OMP_NUM_THREADS=1 python benchmarks/grounding.py

Prints seconds and memory of both ways and appends one JSON line to ``benchmarks/results/grounding.jsonl``.
Embeddings are random, half of the texts are titles with a little noise.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
from typing import Any, NamedTuple

import torch
from record import append, in_turns, seconds, where
from torch import Tensor

from graphrec.bigrec.grounding import ground

COMPARED = 500
"""Rows whose lists are compared before anything is timed."""


class Task(NamedTuple):
    """Embeddings of B texts and I titles, and what came next."""

    texts: Tensor
    titles: Tensor
    targets: Tensor

    @classmethod
    def random(cls, rows: int, items: int, width: int) -> Task:
        """Texts near titles, and texts anywhere."""
        generator = torch.Generator().manual_seed(0)
        titles = torch.randn(items, width, generator=generator)
        targets = torch.randint(items, (rows,), generator=generator)
        texts = torch.randn(rows, width, generator=generator)
        texts[::2] = titles[targets[::2]] + 0.1 * texts[::2]
        return cls(texts, titles, targets)


def whole(task: Task, k: int) -> tuple[Tensor, Tensor]:
    """Lists and ranks from the matrix of all distances."""
    away = torch.cdist(task.texts, task.titles)
    low, high = away.aminmax(dim=1, keepdim=True)
    away.sub_(low).div_(high - low)
    own = away.gather(1, task.targets[:, None])
    return away.topk(k, largest=False).indices, (away <= own).sum(1)


def parts(task: Task, k: int) -> tuple[Tensor, Tensor]:
    """The same from a few rows at a time."""
    found = ground(task.texts, task.titles, k, targets=task.targets.numpy())
    return torch.from_numpy(found.items), torch.from_numpy(found.ranks)


WAYS = {"parts": parts, "whole": whole}


def check(task: Task, k: int) -> None:
    """Both ways find the same lists and ranks."""
    few = Task(task.texts[:COMPARED], task.titles, task.targets[:COMPARED])
    for ours, theirs in zip(parts(few, k), whole(few, k), strict=True):
        assert (ours == theirs).double().mean() > 0.99  # near ties differ in the last digit


def peak_gigabytes() -> float:
    """Most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def timed(way: str, rows: int, items: int, width: int, k: int) -> tuple[float, float]:
    """Seconds and gigabytes of one way, in a process of its own."""
    torch.set_num_threads(1)
    task = Task.random(rows, items, width)
    before = peak_gigabytes()
    taken = seconds(lambda: WAYS[way](task, k))
    return taken, peak_gigabytes() - before


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Time both ways in turns."""
    sizes = options.rows, options.items, options.width
    check(Task.random(COMPARED, *sizes[1:]), options.k)
    memory: dict[str, float] = {}

    def run(way: str) -> float:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            taken, memory[way] = pool.apply(timed, (way, *sizes, options.k))
        return taken

    taken = in_turns({way: (lambda way=way: run(way)) for way in WAYS}, options.rounds)
    return {
        "seconds": {way: round(value, 2) for way, value in taken.items()},
        "gigabytes": {way: round(value, 3) for way, value in memory.items()},
        "speed_up": round(taken["whole"] / taken["parts"], 2),
        "share_of_memory": round(memory["parts"] / memory["whole"], 3),
        "rows_per_second": round(options.rows / taken["parts"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=90_000, help="generated titles")
    parser.add_argument("--items", type=int, default=4_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("-k", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    line = measure(options)
    append("grounding", {**line, **vars(options), **where("torch", "numpy")})
    print(f"{options.rows:,} titles against {options.items:,}: {line}")


if __name__ == "__main__":
    main()
