"""A step of preference training: ours, the same with one row per completion, and TRL's DPO trainer.

All ways take the same optimiser step (packing or collation, reference unless cached, forward, backward,
clipping, AdamW, metrics) on the same examples, with the same random Llama under the same LoRA, in float32:

    shared        ours: each prompt once, its completions beside it
    rows          the same code with one row per completion (``sharing: expanded``)
    trl           TRL's DPO trainer; K rejected completions are K pairs
    trl-scored    the same, its head reading the completions alone, which it does on a GPU only

They take turns in one process; processor time, fastest round. Sharing leaves the layers less to do, by the
*token ratio*, while the head reads the same scored positions; the *work ratio* counts both. Utilisation is
the arithmetic that a step needs over what a plain matrix product does in the same time.

    pip install "moltc[benchmark]"
    export OMP_NUM_THREADS=1
    python benchmarks/preference_training.py
    python benchmarks/preference_training.py --size wide --vocabulary 32000 --ways shared rows
    python benchmarks/preference_training.py --memory --prompts 4

``--memory`` takes each step in a process of its own and reports the peak of its resident memory above that of
interpreter and libraries, and what an export weighs. Lines go to
``benchmarks/results/preference_training.jsonl``.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from preference_steps import SIZES, OurStep, Shape, trees_of, write_model
from record import append, in_turns, processor_seconds, where

SHAPES = (
    Shape(64, 64, 1),
    Shape(256, 64, 1),
    Shape(384, 16, 1),
    Shape(384, 16, 3),
    Shape(384, 16, 7),
    Shape(512, 16, 15),
)
VOCABULARIES = (128_256, 32_000)
WAYS = ("shared", "rows", "trl", "trl-scored")
REFERENCES = ("online", "cached")
Take = Callable[[], dict[str, float]]


def step_of(way: str, folder: str, shape: Shape, *, cached: bool) -> Any:
    """A way to take an optimiser step, ready to be called."""
    trees = trees_of(shape)
    if way in ("shared", "rows"):
        return OurStep(folder, trees, "shared" if way == "shared" else "expanded", cached=cached)
    from trl_dpo import TrlStep

    return TrlStep(folder, trees, cached=cached, scored_only=way == "trl-scored")


# -- arithmetic ----------------------------------------------------------------------------------------------


def tokens(shape: Shape, way: str) -> int:
    """Tokens that the layers read; the last one of a completion predicts nothing."""
    completion = shape.completion - 1
    if way == "shared":
        return shape.batch * (shape.prompt + (shape.rejected + 1) * completion)
    return shape.completions * (shape.prompt + completion)


def work(shape: Shape, way: str, size: str, vocabulary: int, *, cached: bool) -> float:
    """Floating-point operations that a step needs, adapter and optimiser left out.

    Frozen weights are multiplied twice: forward, and backward to the activations.
    """
    sizes = SIZES[size]
    hidden, layers = sizes["hidden_size"], sizes["num_hidden_layers"]
    prompt, completion = shape.prompt, shape.completion - 1
    weights = layers * hidden * (4 * hidden + 3 * sizes["intermediate_size"])
    seen = (shape.rejected + 1) * (completion * prompt + completion**2 / 2)  # pairs of positions
    seen += prompt**2 / 2 * (1 if way == "shared" else shape.rejected + 1)
    forward = 2 * weights * tokens(shape, way)
    attention = 4 * hidden * layers * shape.batch * seen
    head = 2 * hidden * vocabulary * shape.completions * shape.completion
    step = 2 * forward + 3 * attention + 2 * head
    return step if cached else step + forward + attention + head


def matrix_product() -> None:
    """Two gigaflops."""
    torch.mm(torch.ones(1000, 1000), torch.ones(1000, 1000))


# -- time ----------------------------------------------------------------------------------------------------


def check(steps: dict[str, Any], shape: Shape) -> None:
    """All ways see the same log-probabilities; of pairs also the same loss and gradient."""
    start = steps["shared"].adapter()
    logged = {}
    for way, step in steps.items():
        step.take_adapter(start)
        logged[way] = step()
    pairs = ["logps/rejected", "loss", "grad_norm"] if shape.rejected == 1 else []
    for way, name in itertools.product(logged, ["logps/chosen", *pairs]):
        ours, other = logged["shared"][name], logged[way][name]
        if not np.isclose(ours, other, rtol=1e-3):
            raise ValueError(f"{name} of {way} is {other}, of shared {ours}: not the same step")


def measure(shape: Shape, options: argparse.Namespace, *, folder: str, cached: bool) -> dict[str, Any]:
    """Time one case in all ways."""
    size, vocabulary = options.size, options.vocabulary
    steps = {way: step_of(way, folder, shape, cached=cached) for way in options.ways}
    check(steps, shape)
    timed: dict[str, Callable[[], float]] = {
        way: (lambda step=step: processor_seconds(step)) for way, step in steps.items()
    }
    timed["product"] = lambda: processor_seconds(matrix_product)
    seconds = in_turns(timed, options.rounds)
    rate = 2e9 / seconds.pop("product")
    needed = work(shape, "shared", size, vocabulary, cached=cached)
    line: dict[str, Any] = {
        "seconds": {way: round(taken, 3) for way, taken in seconds.items()},
        "faster_than": {way: round(taken / seconds["shared"], 2) for way, taken in seconds.items()},
        "tokens_per_second": round(tokens(shape, "shared") / seconds["shared"], 1),
        "utilisation": round(needed / seconds["shared"] / rate, 2),
        "product_gigaflops": round(rate / 1e9, 1),
    }
    if "rows" in seconds:
        speed_up = seconds["rows"] / seconds["shared"]
        token_ratio = tokens(shape, "rows") / tokens(shape, "shared")
        work_ratio = work(shape, "rows", size, vocabulary, cached=cached) / needed
        line |= {
            "token_ratio": round(token_ratio, 2),
            "work_ratio": round(work_ratio, 2),
            "share_of_token_ratio": round(speed_up / token_ratio, 2),
            "share_of_work_ratio": round(speed_up / work_ratio, 2),
        }
    return line


# -- memory --------------------------------------------------------------------------------------------------


def resident(field: str) -> int:
    """Bytes of this process by a line of its status: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def weigh(way: str, shape: Shape, *, folder: str, cached: bool) -> dict[str, float]:
    """Megabytes of weights, optimiser and step, in this process, which has done nothing else yet."""
    if way.startswith("trl"):
        import trl_dpo  # noqa: F401  libraries are not what is weighed
    before = resident("VmRSS")
    step = step_of(way, folder, shape, cached=cached)
    step()  # makes the optimiser's moments
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    idle = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    step()
    found = {"peak": resident("VmHWM") - before, "idle": idle - before}
    if way == "shared":
        found |= export_sizes(step)
    return {name: value / 2**20 for name, value in found.items()}


def export_sizes(step: OurStep) -> dict[str, int]:
    """Bytes of the trained weights, and of the weight files of an export."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "export"
        step.policy.save_pretrained(out)
        stored = sum(file.stat().st_size for file in out.rglob("*.safetensors"))
    return {"trained": sum(p.numel() * p.element_size() for p in step.trained), "stored": stored}


def weigh_apart(way: str, place: int, options: argparse.Namespace, *, folder: str, cached: bool) -> Any:
    """:func:`weigh` in a process of its own, which gives memory back to the system when it is free."""
    mine = ["--weigh", way, "--folder", folder, "--shapes", str(place), "--prompts", str(options.prompts)]
    command = [sys.executable, __file__, *mine, "--reference", "cached" if cached else "online"]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{way} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_memory(place: int, options: argparse.Namespace, *, folder: str, cached: bool) -> dict[str, Any]:
    """Peak memory of one case in all ways."""
    found = {way: weigh_apart(way, place, options, folder=folder, cached=cached) for way in options.ways}
    shared = found["shared"]
    return {
        "megabytes": {
            way: {name: round(mb, 1) for name, mb in sizes.items()} for way, sizes in found.items()
        },
        "share_of": {way: round(shared["peak"] / sizes["peak"], 2) for way, sizes in found.items()},
        "export_over_trained": round(shared["stored"] / shared["trained"], 3),
    }


# -- command -------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--vocabulary", type=int, nargs="+", default=VOCABULARIES)
    parser.add_argument("--shapes", type=int, nargs="+", default=range(len(SHAPES)), help="by place, from 0")
    parser.add_argument("--prompts", type=int, default=1, help="prompts of a batch")
    parser.add_argument("--reference", choices=REFERENCES, nargs="+", default=REFERENCES)
    parser.add_argument("--ways", choices=WAYS, nargs="+", default=WAYS)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--memory", action="store_true", help="weigh in place of timing")
    parser.add_argument("--weigh", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if "shared" not in options.ways:
        parser.error("--ways must name shared, with which the others are compared")
    if options.weigh:
        (place,), (reference,) = options.shapes, options.reference
        shape = SHAPES[place]._replace(batch=options.prompts)
        found = weigh(options.weigh, shape, folder=options.folder, cached=reference == "cached")
        print(json.dumps(found))
        return
    packages = ["torch", "transformers", "peft", *(["trl"] if any("trl" in w for w in options.ways) else [])]
    for vocabulary in options.vocabulary:
        with tempfile.TemporaryDirectory() as made:
            folder = write_model(Path(made), options.size, vocabulary)
            for place, reference in itertools.product(options.shapes, options.reference):
                shape, cached = SHAPES[place]._replace(batch=options.prompts), reference == "cached"
                run = measure_memory if options.memory else measure
                case = argparse.Namespace(**{**vars(options), "vocabulary": vocabulary})
                first: Any = place if options.memory else shape
                line = run(first, case, folder=folder, cached=cached)
                about = {"size": options.size, "vocabulary": vocabulary, "reference": reference}
                line = {**shape._asdict(), **about, **line}
                print(json.dumps(line), flush=True)
                append("preference_training", line | {"rounds": options.rounds} | where(*packages))


if __name__ == "__main__":
    main()
