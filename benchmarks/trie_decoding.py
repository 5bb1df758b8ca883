"""What it costs to write under a trie of a whole catalogue: each step against a step of free writing.

Both ways decode the same number of tokens behind the same prompts. Titles come in pairs that differ in their
last word alone, so that no title is settled before its end and every step asks the trie.

    python benchmarks/trie_decoding.py
    python benchmarks/trie_decoding.py --device cuda --dtype bfloat16

Prints milliseconds per step and the extra cost, and appends one JSON line per case to
``benchmarks/results/trie_decoding.jsonl``. Titles are invented.
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import numpy as np
import torch
from record import append, in_turns, processor_seconds, seconds, where
from titles import SIZES, invented_titles, network

from graphrec.language.constrained import decode_tries
from graphrec.language.network import ItemLanguageModel
from moltc.backbone.decoding import generate
from moltc.backbone.trie import TokenTrie

STEPS, HISTORY = 8, 10
BATCHES = (1, 32)


def paired_titles(count: int) -> list[str]:
    """Titles of ``STEPS`` words; two and two differ in the last."""
    rng = np.random.default_rng(0)
    words = sorted({word for name in invented_titles(count) for word in name.split()})
    firsts = {" ".join(rng.choice(words, STEPS - 1)) for _ in range(count // 2)}
    return [f"{first} {last}" for first in sorted(firsts) for last in words[:2]]


def measure(model: ItemLanguageModel, names: list[str], batch: int, options: Any) -> dict[str, Any]:
    """Time both ways for one number of prompts."""
    rng = np.random.default_rng(1)
    trees = [model.history(rng.choice(len(names), HISTORY).tolist()) for _ in range(batch)]
    trie = TokenTrie([model.title(item) for item in range(len(names))])
    encoded = model.encode(model.inputs(model.pack(trees).entities))

    def free() -> None:
        written = generate(model, trees, encoded, max_new_tokens=STEPS)
        assert max(map(len, written)) == STEPS

    def under_trie() -> None:
        decode_tries(model, trees, [trie], encoded)

    clock = processor_seconds if options.device == "cpu" else seconds
    ways = {
        "free": lambda: clock(lambda: [free() for _ in range(options.repeats)]),
        "trie": lambda: clock(lambda: [under_trie() for _ in range(options.repeats)]),
    }
    taken = in_turns(ways, options.rounds)
    return {
        "titles": len(names),
        "prompts": batch,
        "steps": STEPS,
        "milliseconds_per_step": {n: round(1e3 * s / options.repeats / STEPS, 3) for n, s in taken.items()},
        "extra": round(taken["trie"] / taken["free"] - 1, 3),
    }


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--titles", type=int, default=4_606)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    names = paired_titles(options.titles)
    print(f"{'size':>5} {'prompts':>8} {'free':>9} {'trie':>9} {'extra':>7}")
    for size, batch in itertools.product(options.sizes, BATCHES):
        model = network(size, names, options.device, getattr(torch, options.dtype))
        line = measure(model, names, batch, options)
        append(
            "trie_decoding",
            {"size": size, **line, **vars(options), **where("torch", "transformers", device=options.device)},
        )
        step = line["milliseconds_per_step"]
        print(
            f"{size:>5} {batch:>8} {step['free']:>6.2f} ms {step['trie']:>6.2f} ms "
            f"{100 * line['extra']:>6.1f}%"
        )


if __name__ == "__main__":
    main()
