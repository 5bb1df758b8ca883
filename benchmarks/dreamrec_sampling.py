"""How fast does DreamRec answer in closed form, beside its sampler of 500 steps?

One model with random weights answers the same users in batches. "Plain" is the sampler as published: for each
batch 500 steps, the conditional and the null prediction one after the other, the schedule read at each step.
"Walk" is this package's own way through the same steps. The closed form is worked out once for a model, and
what that takes is told apart. End to end means histories to ranks of their targets in the whole catalogue.
Before the timing the closed form must equal the walk from the same noise, to rounding.

    python benchmarks/dreamrec_sampling.py --data FOLDER      # a built recommendation folder, such as zhihu
    python benchmarks/dreamrec_sampling.py                    # drawn users and 4,838 items

Prints microseconds per user and appends one JSON line to ``benchmarks/results/dreamrec_sampling.jsonl``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import append, in_turns, processor_seconds, seconds, where
from torch import Tensor

from graphrec.catalogue import Catalogue
from graphrec.data import RecommendationData, Rows
from graphrec.dreamrec import DreamRec, DreamRecConfig
from graphrec.dreamrec.network import DreamRecNetwork
from graphrec.evaluation import target_ranks
from graphrec.histories import Histories

BATCH, STEPS = 100, 500
CONFIG = DreamRecConfig.reference(num_steps=STEPS, guidance=4.0)


def drawn_rows(num_items: int = 4838, count: int = 2000) -> tuple[Catalogue, Rows]:
    """Users with three to ten items."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 11, size=count)
    histories = Histories.from_lengths(rng.integers(num_items, size=int(lengths.sum())), lengths)
    return Catalogue([str(n) for n in range(num_items)]), Rows(histories, rng.integers(num_items, size=count))


class Plain:
    """The published sampler, on the network of a recommender."""

    def __init__(self, model: DreamRec) -> None:
        self.network = model.network
        diffusion = model.network.diffusion
        self.clean, self.noisy = diffusion.clean_weights.float(), diffusion.noisy_weights.float()
        self.deviation = diffusion.variances.sqrt().float()

    def sample(self, history: Tensor) -> Tensor:
        rows, x = len(history), torch.randn_like(history)
        null = self.network.null.expand_as(history)
        for step in reversed(range(STEPS)):
            t = torch.full((rows,), step, dtype=torch.long)
            conditional = self.network.denoiser(x, history, t)
            unconditional = self.network.denoiser(x, null, t)
            x0 = (1 + CONFIG.guidance) * conditional - CONFIG.guidance * unconditional
            x = self.clean.gather(0, t)[:, None] * x0 + self.noisy.gather(0, t)[:, None] * x
            if step > 0:
                x = x + self.deviation.gather(0, t)[:, None] * torch.randn_like(x)
        return x


def samplers(model: DreamRec) -> dict[str, Callable[[Tensor], Tensor]]:
    """Ways from conditions ``[B, d]`` to vectors ``[B, d]``."""
    walk = replace(CONFIG, sampler="ancestral")
    return {
        "closed form": lambda history: model.network.generate(history, CONFIG),
        "walk": lambda history: model.network.generate(history, walk),
        "plain": Plain(model).sample,
    }


def check(model: DreamRec, history: Tensor) -> None:
    """Without noise on the way, walk and closed form agree."""
    network = model.network
    quiet = replace(CONFIG, sampler="ddim", sampler_steps=50)
    sampler = network.affine(replace(quiet, sampler="closed_form"))
    walked = network.generate(history, quiet)
    start = torch.randn(1, CONFIG.width, generator=torch.Generator().manual_seed(CONFIG.noise_seed))
    exact = sampler.mean(history, network.null, CONFIG.guidance) + start @ sampler.carry.float().T
    torch.testing.assert_close(walked, exact, rtol=1e-3, atol=1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="a built recommendation folder")
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wall", action="store_true", help="wall-clock time; default: processor time")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.data:
        data = RecommendationData(options.data)
        source, catalogue, rows = data.manifest.name, data.catalogue, data.test
    else:
        source, (catalogue, rows) = "drawn", drawn_rows()
    rows = rows.select(np.arange(min(options.users, len(rows))))
    model = DreamRec(CONFIG)
    model.start(catalogue, seed=0)
    line: dict[str, Any] = {"source": source, "users": len(rows), "items": len(catalogue), "steps": STEPS}
    clock = seconds if options.wall else processor_seconds
    parts = [slice(first, first + BATCH) for first in range(0, len(rows), BATCH)]
    with model.inference():
        conditions = [torch.from_numpy(model.states(rows.histories[part])) for part in parts]
        check(model, conditions[0])
        line["set_up_ms"] = round(
            in_turns({"set up": lambda: timed_set_up(model, clock)}, 3)["set up"] * 1e3, 1
        )
        alone = in_turns(
            {
                name: timed_sampler(model, sample, conditions, clock)
                for name, sample in samplers(model).items()
            },
            options.rounds,
        )
        whole = in_turns(
            {
                name: timed_ranking(model, sample, rows, parts, clock)
                for name, sample in samplers(model).items()
            },
            options.rounds,
        )
    print(f"closed form worked out once in {line['set_up_ms']} ms")
    for title, taken in (("sampler alone", alone), ("end to end", whole)):
        each = {name: round(value / len(rows) * 1e6, 2) for name, value in taken.items()}
        ratios = {name: round(taken[name] / taken["closed form"], 1) for name in ("walk", "plain")}
        print(f"{title}: us per user {each}, times the closed form {ratios}")
        line[title] = {"us_per_user": each, "ratio": ratios}
    append("dreamrec_sampling", {**line, **where("torch", "numpy")})


def timed_set_up(model: DreamRec, clock: Callable[[Callable[[], object]], float]) -> float:
    """Seconds to work the closed form out."""
    network = DreamRecNetwork(CONFIG, len(model.catalogue))  # one that has not worked it out
    return clock(lambda: network.affine(CONFIG))


def timed_sampler(
    model: DreamRec,
    sample: Callable[[Tensor], Tensor],
    conditions: list[Tensor],
    clock: Callable[[Callable[[], object]], float],
) -> Callable[[], float]:
    """Seconds to generate a vector for each user."""

    def run() -> None:
        for history in conditions:
            sample(history)

    return lambda: clock(run)


def timed_ranking(
    model: DreamRec,
    sample: Callable[[Tensor], Tensor],
    rows: Rows,
    parts: list[slice],
    clock: Callable[[Callable[[], object]], float],
) -> Callable[[], float]:
    """Seconds from histories to ranks."""

    def run() -> None:
        table = model.network.table[:-1].T
        for part in parts:
            history = torch.from_numpy(model.states(rows.histories[part]))
            target_ranks((sample(history) @ table).numpy(), rows.targets[part], ties="against")

    return lambda: clock(run)


if __name__ == "__main__":
    main()
