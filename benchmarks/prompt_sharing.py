"""How much faster are K completions scored when they share their prompt?

Three ways to score the same prompt trees, side by side in one process: ``shared`` (the prompt once, its
completions beside it), ``expanded`` (one row per completion, only scored positions meet the head), and
``plain`` (Hugging Face: one padded row per completion, full logits, log_softmax, gather). All three give the
same numbers, which is checked first. With one completion ``shared`` and ``expanded`` are the same work.

    python benchmarks/prompt_sharing.py                    # CPU, a small model
    python benchmarks/prompt_sharing.py --device cuda --size large --dtype bfloat16 --grad

Prints a table of ratios and appends one JSON line per case to ``benchmarks/results/prompt_sharing.jsonl``.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from record import append, where
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig

from moltc.backbone.language_model import LanguageModel, LanguageModelConfig
from moltc.backbone.packing import pack
from moltc.backbone.prompt import PromptTree
from moltc.backbone.soft_prompt_lm import SoftPromptLM
from moltc.backbone.tokenizer import train_tokenizer

SIZES = {
    "small": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8, "vocab_size": 8_000},
    "large": {"hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 32, "vocab_size": 50_000},
}
SHAPES = {"pair question": (200, 4), "history": (120, 12), "chat": (64, 48)}
"""Tokens of the prompt and of a completion."""
COMPLETIONS = (1, 3, 7, 15)


def build(size: str, device: str, dtype: torch.dtype) -> SoftPromptLM:
    """A Llama with random weights; only its cost matters."""
    sizes: dict[str, Any] = SIZES[size]
    config = LlamaConfig(**sizes, intermediate_size=4 * sizes["hidden_size"], max_position_embeddings=4096)
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(config, dtype=dtype).to(device)
    tokenizer = train_tokenizer(["benchmark"], vocab_size=300)
    return SoftPromptLM(LanguageModel(LanguageModelConfig(name="random Llama"), base, tokenizer)).eval()


def trees_of(prompt: int, completion: int, k: int, batch: int, vocabulary: int) -> list[PromptTree]:
    """``batch`` trees of random tokens; lengths vary by a tenth around those given."""
    rng = np.random.default_rng(0)

    def ids(length: int) -> np.ndarray:
        return rng.integers(0, vocabulary, size=max(1, round(length * rng.uniform(0.9, 1.1))))

    return [PromptTree(ids(prompt), tuple(ids(completion) for _ in range(k))) for _ in range(batch)]


def plain_logps(model: SoftPromptLM, trees: list[PromptTree]) -> Tensor:
    """One right-padded row per completion, full logits, log_softmax: what a training script usually does."""
    rows = [(tree.prompt_ids, completion) for tree in trees for completion in tree.completions]
    width = max(len(prompt) + len(completion) for prompt, completion in rows)
    ids, labels = (torch.full((len(rows), width), fill) for fill in (0, -100))
    for row, (prompt, completion) in enumerate(rows):
        end = len(prompt) + len(completion)
        ids[row, :end] = torch.from_numpy(np.concatenate([prompt, completion]))
        labels[row, len(prompt) : end] = torch.from_numpy(completion)
    ids, labels = ids.to(model.device), labels.to(model.device)[:, 1:]
    logps = model.language_model.causal_lm(input_ids=ids).logits[:, :-1].float().log_softmax(-1)
    chosen = logps.gather(2, labels.clamp(min=0)[..., None]).squeeze(2)
    return (chosen * (labels >= 0)).sum(1)


def ways(model: SoftPromptLM, trees: list[PromptTree]) -> dict[str, Callable[[], Tensor]]:
    """The three ways; packing is part of what is timed."""
    return {
        "shared": lambda: model(pack(trees, sharing="shared").to(model.device)).logps,
        "expanded": lambda: model(pack(trees, sharing="expanded").to(model.device)).logps,
        "plain": lambda: plain_logps(model, trees),
    }


def once(run: Callable[[], Tensor], *, grad: bool, device: str) -> tuple[float, float]:
    """Wall-clock seconds of one pass, and its peak GPU memory in GiB (0 on a CPU)."""
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    with torch.set_grad_enabled(grad):
        logps = run()
        if grad:
            logps.mean().backward()
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - start, torch.cuda.max_memory_allocated() / 2**30 if on_gpu else 0.0


def timings(
    runs: dict[str, Callable[[], Tensor]], *, grad: bool, repeats: int, device: str
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds and peak memory of each way.

    The ways take turns, and the fastest of each one's passes counts: other work on the machine only slows.
    """
    rounds = [
        {name: once(run, grad=grad, device=device) for name, run in runs.items()} for _ in range(repeats + 1)
    ][1:]  # the first warms up
    fastest = {name: min(passes[name][0] for passes in rounds) for name in runs}
    return fastest, {name: max(passes[name][1] for passes in rounds) for name in runs}


def check(runs: dict[str, Callable[[], Tensor]], tolerance: float) -> None:
    """All ways give the same log-probabilities; a benchmark of wrong numbers is worthless."""
    with torch.no_grad():
        results = {name: run() for name, run in runs.items()}
    for name, result in results.items():
        torch.testing.assert_close(
            result, results["plain"], rtol=tolerance, atol=tolerance, msg=f"{name} differs"
        )


def measure(model: SoftPromptLM, shape: str, k: int, options: argparse.Namespace) -> dict[str, Any]:
    """Time one case all three ways; what is written about it."""
    prompt, completion = SHAPES[shape]
    vocabulary = SIZES[options.size]["vocab_size"]
    runs = ways(model, trees_of(prompt, completion, k, options.batch, vocabulary))
    check(runs, 1e-3 if options.dtype == "float32" else 0.1)
    seconds, peak = timings(runs, grad=options.grad, repeats=options.repeats, device=options.device)
    model.zero_grad(set_to_none=True)
    return {
        "shape": shape,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "k": k,
        **vars(options),
        "seconds": {name: round(value, 5) for name, value in seconds.items()},
        "peak_gib": {name: round(value, 3) for name, value in peak.items()},
        "times_shared": {name: round(seconds[name] / seconds["shared"], 2) for name in ("expanded", "plain")},
        **where("torch", "transformers", device=options.device),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--batch", type=int, default=4, help="prompts per pass")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--grad", action="store_true", help="time forward and backward")
    options = parser.parse_args()
    model = build(options.size, options.device, getattr(torch, options.dtype))
    print(f"{'prompt':>7} {'compl.':>7} {'K':>3} {'shared ms':>10} {'vs expanded':>12} {'vs plain':>9}")
    for shape, k in itertools.product(SHAPES, COMPLETIONS):
        line = measure(model, shape, k, options)
        append("prompt_sharing", line)
        ratios = line["times_shared"]
        print(
            f"{line['prompt_tokens']:>7} {line['completion_tokens']:>7} {k:>3} "
            f"{line['seconds']['shared'] * 1e3:>10.1f} "
            f"{ratios['expanded']:>11.2f}x {ratios['plain']:>8.2f}x"
        )


if __name__ == "__main__":
    main()
