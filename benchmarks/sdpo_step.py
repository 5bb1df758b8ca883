"""A step of S-DPO on a LLaRA model: a shared prompt and a cached reference, against neither.

All ways take the same optimiser step (prompts, packing, forward, backward, AdamW) on the same rows of a
made-up catalogue, LLaRA's published prompt of 10 items and 20 candidates, in float32:

    shared, cached    each prompt once, its titles beside it; the start scored every title before training
    shared, online    the same, the start scoring the titles of each step
    rows, cached      one row per title (``sharing: expanded``)
    rows, online      the same, as the authors of S-DPO do it

They take turns in one process; processor time, fastest round. The *token ratio* is what layers read in the
last way over what they read in the first, the reference's pass counted as a third of a step.

    OMP_NUM_THREADS=1 python benchmarks/sdpo_step.py
    OMP_NUM_THREADS=1 python benchmarks/sdpo_step.py --width 128 --layers 3 --negatives 3 7

Lines go to ``benchmarks/results/sdpo_step.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import append, in_turns, processor_seconds, where

from graphrec.catalogue import Catalogue
from graphrec.data import Interactions
from graphrec.histories import Histories
from graphrec.llara.config import LlaraConfig
from graphrec.llara.recommender import Llara
from graphrec.sdpo.config import SDPOConfig
from graphrec.sdpo.recommender import SDPO

WAYS = ("shared, cached", "shared, online", "rows, cached", "rows, online")
ITEMS, SEQUENCES, LENGTH = 2_000, 40, 12
REFERENCE_SHARE = 1 / 3
"""Of a forward pass alone in one with its backward pass."""


def catalogue() -> Catalogue:
    """Items of two words each, one of them their own."""
    return Catalogue([str(n) for n in range(ITEMS)], [f"word{n} other{n % 97}" for n in range(ITEMS)])


def interactions() -> Interactions:
    """Random sequences."""
    rng = np.random.default_rng(0)
    return Interactions(Histories.from_lists([rng.permutation(ITEMS)[:LENGTH] for _ in range(SEQUENCES)]))


def write_start(folder: Path, width: int, layers: int) -> None:
    """An untrained LLaRA model."""
    config = LlaraConfig(
        layout="candidates", width=width, layers=layers, heads=width // 32, vector_width=32, dropout=0.0
    )
    model = Llara(config)
    model.start(catalogue(), seed=0)
    model.prepare(interactions())
    model.save_pretrained(folder)


class Step:
    """Optimiser steps in one way."""

    def __init__(self, way: str, start: Path, negatives: int, batch: int) -> None:
        sharing, reference = way.split(", ")
        config = SDPOConfig(
            start=str(start),
            negatives="shown",
            num_negatives=negatives,
            reference="cached" if reference == "cached" else "online",
            rows=batch,
            batch_size=batch,
            warmup_steps=0,
        )
        self.model = SDPO(config)
        self.model.start(catalogue(), seed=0)
        self.model.prepare(interactions())
        if sharing == "rows":
            self.model.network.language_model.sharing = "expanded"
        self.optimiser = self.model.optimiser()
        self.taken = 0

    def __call__(self) -> float:
        """One step; its loss."""
        batch = next(self.model.batches(interactions().histories, self.taken, 0))
        loss = self.model.loss(batch, self.taken)["loss"]
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.taken += 1
        return float(loss.detach())

    def tokens(self) -> float:
        """Tokens that layers read in a step, the reference's pass weighed by its share."""
        batch = next(self.model.batches(interactions().histories, 0, 0))
        assert batch.packed is not None
        read = float((batch.packed.tree >= 0).sum())
        return read * (1 + (REFERENCE_SHARE if self.model.start_model is not None else 0))


def measure(start: Path, negatives: int, options: argparse.Namespace) -> dict[str, Any]:
    """Time one number of negatives in all ways."""
    steps = {way: Step(way, start, negatives, options.batch) for way in WAYS}
    losses = {way: [step() for _ in range(3)] for way, step in steps.items()}
    for way, found in losses.items():
        if not np.allclose(found, losses[WAYS[0]], rtol=1e-3):
            raise ValueError(
                f"losses of {way} are {found}, of {WAYS[0]} {losses[WAYS[0]]}: not the same step"
            )
    timed: dict[str, Callable[[], float]] = {
        way: (lambda step=step: processor_seconds(step)) for way, step in steps.items()
    }
    seconds = in_turns(timed, options.rounds)
    ratio = steps[WAYS[-1]].tokens() / steps[WAYS[0]].tokens()
    speed_up = seconds[WAYS[-1]] / seconds[WAYS[0]]
    return {
        "negatives": negatives,
        "seconds": {way: round(taken, 4) for way, taken in seconds.items()},
        "faster_than": {way: round(taken / seconds[WAYS[0]], 2) for way, taken in seconds.items()},
        "token_ratio": round(ratio, 2),
        "share_of_token_ratio": round(speed_up / ratio, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--negatives", type=int, nargs="+", default=[3, 7, 15])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8, help="rows of a step")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as made:
        start = Path(made) / "start"
        write_start(start, options.width, options.layers)
        for negatives in options.negatives:
            about = {"width": options.width, "layers": options.layers, "batch": options.batch}
            line = measure(start, negatives, options) | about
            print(json.dumps(line), flush=True)
            append("sdpo_step", line | {"rounds": options.rounds} | where("torch", "transformers"))


if __name__ == "__main__":
    main()
