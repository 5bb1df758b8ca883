"""Choosing one of 86 labels: all their sentences behind one prompt, against one row for each.

A typed interaction is answered by the log-probability of each type's sentence. ``shared`` computes the
question once and the sentences beside it; ``expanded`` repeats the question before each sentence. Both go
through ``SoftPromptLM.score`` and give the same numbers, which is checked first. What can be gained is the
token ratio: tokens of all rows over tokens of the shared one.

    python benchmarks/label_scoring.py
    python benchmarks/label_scoring.py --device cuda --dtype bfloat16 --batch 16

Prints speed-up and token ratio and appends one JSON line per case to
``benchmarks/results/label_scoring.jsonl``. The sentences are invented.
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import numpy as np
import torch
from record import append, in_turns, seconds, where
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig

from moltc.backbone.language_model import LanguageModel, LanguageModelConfig
from moltc.backbone.packing import pack
from moltc.backbone.prompt import PromptBuilder, PromptTree
from moltc.backbone.soft_prompt_lm import SoftPromptLM
from moltc.backbone.tokenizer import train_tokenizer

EFFECTS = """
appetite; heart rate; blood pressure; body temperature; reaction time; blood sugar; bone density; night
vision; hearing threshold; muscle tone; skin moisture; gastric acidity; salivary flow; tear flow; lung
capacity; breathing rate; sleep duration; dream recall; short-term memory; attention span; sense of
taste; sense of smell; hair growth; nail growth; wound closure; clotting time; platelet count; iron
uptake; calcium uptake; zinc uptake; potassium level; sodium level; magnesium level; liver clearance;
kidney clearance; plasma binding; fat storage; pain threshold; pupil width; sweat production; joint
mobility; balance; grip strength
"""
PIECES = tuple(
    (f"The first drug may {way} the", f" {' '.join(effect.split())}", " caused by the second.")
    for way in ("raise", "lower")
    for effect in EFFECTS.split(";")
)
SENTENCES = ["".join(pieces) for pieces in PIECES]
SIZES = {
    "tiny": {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4},
    "wide": {"hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8},
}
FIXED_WORDING = {"tiny": True, "wide": False}
"""Whether the tokenizer has entries for the pieces of the sentences, as that of the built-in model has."""
PROMPT_TOKENS = (60, 180)
"""Graph-only questions are short; those with SMILES are long."""


def build(size: str, device: str, dtype: torch.dtype) -> SoftPromptLM:
    """A Llama with random weights, whose tokenizer knows the sentences' words."""
    phrases = {piece for pieces in PIECES for piece in (" " + pieces[0], *pieces[1:])}
    tokenizer = train_tokenizer(
        SENTENCES, vocab_size=1_000, phrases=sorted(phrases) if FIXED_WORDING[size] else ()
    )
    sizes: dict[str, Any] = SIZES[size]
    config = LlamaConfig(
        **sizes,
        intermediate_size=4 * sizes["hidden_size"],
        max_position_embeddings=4096,
        vocab_size=len(tokenizer),
    )
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(config, dtype=dtype).to(device)
    return SoftPromptLM(LanguageModel(LanguageModelConfig(name="random Llama"), base, tokenizer)).eval()


def questions(model: SoftPromptLM, prompt_tokens: int, batch: int) -> list[PromptTree]:
    """``batch`` prompts of random tokens, each followed by every sentence."""
    tokenizer = model.language_model.tokenizer
    builder = PromptBuilder(tokenizer, tower_key=lambda role, slot: role, num_queries=8)
    completions = tuple(builder.completion(sentence) for sentence in SENTENCES)
    rng = np.random.default_rng(0)
    return [PromptTree(rng.integers(0, len(tokenizer), prompt_tokens), completions) for _ in range(batch)]


def token_ratio(tree: PromptTree) -> float:
    """Tokens read in one row per completion over tokens read in one row for all."""
    stored = sum(len(completion) - 1 for completion in tree.completions)  # the last one predicts nothing
    prompt = len(tree.prompt_ids)
    return (prompt * len(tree.completions) + stored) / (prompt + stored)


def measure(model: SoftPromptLM, prompt_tokens: int, options: argparse.Namespace) -> dict[str, Any]:
    """Time both ways on one length of prompt."""
    trees = questions(model, prompt_tokens, options.batch)

    @torch.no_grad()
    def logps(sharing: Any) -> Tensor:
        found = model.score(pack(trees, sharing=sharing).to(model.device)).logps
        return found.cpu()  # waits for a GPU

    tolerance = 1e-3 if options.dtype == "float32" else 0.2
    torch.testing.assert_close(logps("shared"), logps("expanded"), rtol=tolerance, atol=tolerance)
    taken = in_turns(
        {way: (lambda way=way: seconds(lambda: logps(way))) for way in ("shared", "expanded")}, options.rounds
    )
    ratio, speed_up = token_ratio(trees[0]), taken["expanded"] / taken["shared"]
    return {
        "labels": len(SENTENCES),
        "prompt_tokens": prompt_tokens,
        "mean_label_tokens": round(float(np.mean([len(c) for c in trees[0].completions])), 1),
        "milliseconds_per_question": {n: round(1e3 * s / options.batch, 2) for n, s in taken.items()},
        "token_ratio": round(ratio, 2),
        "speed_up": round(speed_up, 2),
        "share_of_token_ratio": round(speed_up / ratio, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--batch", type=int, default=2, help="questions per pass")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{'size':>5} {'prompt':>7} {'token ratio':>12} {'speed-up':>9} {'share':>6}")
    for size, prompt_tokens in itertools.product(SIZES, PROMPT_TOKENS):
        model = build(size, options.device, getattr(torch, options.dtype))
        line = measure(model, prompt_tokens, options)
        append(
            "label_scoring",
            {"size": size, **line, **vars(options), **where("torch", "transformers", device=options.device)},
        )
        print(
            f"{size:>5} {prompt_tokens:>7} {line['token_ratio']:>12.1f} "
            f"{line['speed_up']:>8.1f}x {line['share_of_token_ratio']:>6.2f}"
        )


if __name__ == "__main__":
    main()
