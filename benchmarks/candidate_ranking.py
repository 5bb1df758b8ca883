"""Ranking 20 candidates with a language model: one shared prompt, one row for each, or writing an answer.

``shared`` computes the prompt once and the 20 titles beside it; ``expanded`` repeats the prompt before each
title; both go through ``SoftPromptLM.score`` and give the same numbers, which is checked first. ``writing``
decodes 64 tokens behind the prompt, as LLaRA's released evaluation does. What can be gained over ``expanded``
is the token ratio: tokens of all rows over tokens of the shared one.

    python benchmarks/candidate_ranking.py
    python benchmarks/candidate_ranking.py --device cuda --dtype bfloat16 --batch 16

Prints speed-ups and appends one JSON line per case to ``benchmarks/results/candidate_ranking.jsonl``. Titles
and vectors are invented.
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import numpy as np
import torch
from record import append, in_turns, processor_seconds, seconds, where
from titles import SIZES, invented_titles, network
from torch import Tensor

from graphrec.language.network import ItemLanguageModel
from graphrec.llara.items import item_pieces
from moltc.backbone.decoding import generate
from moltc.backbone.packing import pack
from moltc.backbone.prompt import PromptTree

CANDIDATES, HISTORY, NEW_TOKENS = 20, 10, 64
LAYOUTS = {"history alone": False, "history and candidates": True}


def questions(model: ItemLanguageModel, names: list[str], batch: int, lists: bool) -> list[PromptTree]:
    """Prompts that show titles and soft tokens, each followed by the titles of its candidates."""
    rng = np.random.default_rng(0)
    trees = []
    for _ in range(batch):
        items = rng.choice(len(names), HISTORY + CANDIDATES, replace=False).tolist()
        shown = items if lists else items[:HISTORY]
        pieces = item_pieces([names[item] for item in shown], "hybrid")
        candidates = [model.title(item) for item in items[HISTORY:]]
        trees.append(model.prompt(pieces, dict(enumerate(shown, 1)), candidates))
    return trees


def token_ratio(trees: list[PromptTree]) -> float:
    """Tokens read in one row for each candidate over tokens read in one row for all."""
    prompts = np.array([len(tree.prompt_ids) for tree in trees])
    stored = np.array([sum(len(title) - 1 for title in tree.completions) for tree in trees])
    return float((prompts * CANDIDATES + stored).sum() / (prompts + stored).sum())


def measure(model: ItemLanguageModel, names: list[str], lists: bool, options: Any) -> dict[str, Any]:
    """Time all ways on one kind of prompt."""
    trees = questions(model, names, options.batch, lists)

    @torch.no_grad()
    def logps(sharing: Any) -> Tensor:
        packed = pack(trees, sharing=sharing)
        found = model(packed.to(model.device), model.inputs(packed.entities)).logps
        return found.cpu()  # waits for a GPU

    @torch.no_grad()
    def write() -> None:
        prompts = [tree.with_completions(()) for tree in trees]
        packed = pack(prompts)
        encoded = model.encode(model.inputs(packed.entities))
        generate(model, prompts, encoded, max_new_tokens=NEW_TOKENS)

    tolerance = 1e-3 if options.dtype == "float32" else 0.5
    torch.testing.assert_close(logps("shared"), logps("expanded"), rtol=tolerance, atol=tolerance)
    clock = processor_seconds if options.device == "cpu" else seconds
    ways = {
        "shared": lambda: clock(lambda: logps("shared")),
        "expanded": lambda: clock(lambda: logps("expanded")),
        "writing": lambda: clock(write),
    }
    taken = in_turns(ways, options.rounds)
    ratio = token_ratio(trees)
    return {
        "candidates": CANDIDATES,
        "prompt_tokens": round(float(np.mean([len(tree.prompt_ids) for tree in trees])), 1),
        "milliseconds_per_row": {name: round(1e3 * s / options.batch, 2) for name, s in taken.items()},
        "token_ratio": round(ratio, 2),
        "over_rows": round(taken["expanded"] / taken["shared"], 2),
        "share_of_token_ratio": round(taken["expanded"] / taken["shared"] / ratio, 2),
        "over_writing": round(taken["writing"] / taken["shared"], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--batch", type=int, default=4, help="rows per pass")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    names = invented_titles(4_606)
    print(
        f"{'size':>5} {'prompt':>7} {'token ratio':>12} {'over rows':>10} {'share':>6} {'over writing':>13}"
    )
    for size, layout in itertools.product(options.sizes, LAYOUTS):
        model = network(size, names, options.device, getattr(torch, options.dtype))
        line = measure(model, names, LAYOUTS[layout], options)
        append(
            "candidate_ranking",
            {"size": size, "layout": layout, **line, **vars(options)}
            | where("torch", "transformers", device=options.device),
        )
        print(
            f"{size:>5} {line['prompt_tokens']:>7.0f} {line['token_ratio']:>12.1f} "
            f"{line['over_rows']:>9.1f}x {line['share_of_token_ratio']:>6.2f} {line['over_writing']:>12.1f}x"
        )


if __name__ == "__main__":
    main()
