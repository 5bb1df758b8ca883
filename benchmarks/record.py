"""What every benchmark writes beside its figures, timing in turns, and the molecules they work on."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

RESULTS = Path(__file__).parent / "results"


def where(*packages: str, device: str = "cpu") -> dict[str, Any]:
    """Hardware, load and versions, for the record."""
    name = platform.processor() or platform.machine()
    if device.startswith("cuda"):
        import torch

        name = torch.cuda.get_device_name()
    return {
        "hardware": name,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def append(name: str, line: Mapping[str, Any]) -> None:
    """Add one line to ``results/<name>.jsonl``."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / f"{name}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def seconds(run: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def processor_seconds(run: Callable[[], Any]) -> float:
    """Processor time of this process during one call: what other work on the machine disturbs least."""
    start = time.process_time()
    run()
    return time.process_time() - start


def in_turns(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Seconds of each way: they take turns, and the fastest round of each counts.

    Other work on the machine only slows, and in turns it slows all alike. One round more warms up.
    """
    measured = [{name: way() for name, way in ways.items()} for _ in range(rounds + 1)][1:]
    return {name: min(one[name] for one in measured) for name in ways}


def molecules(real_data: Path | None) -> tuple[str, list[str]]:
    """Where the molecules come from, and their distinct SMILES.

    With a folder of published data sets: FreeSolv and ChChMiner; without: those of the computed demo.
    """
    from rdkit import Chem, rdBase

    if real_data is None:
        from data_prep.demo import SOLUTES, SOLVENTS

        return "demo", list(dict.fromkeys((*SOLUTES, *SOLVENTS)))
    from data_prep.catalog import read_dataset

    frames = [read_dataset(name, real_data).frame for name in ("freesolv", "chchminer")]
    columns = [frame[column] for frame in frames for column in ("smiles_a", "smiles_b")]
    with rdBase.BlockLogs():
        readable = [
            text for text in pl.concat(columns).unique(maintain_order=True) if Chem.MolFromSmiles(text)
        ]
    return "FreeSolv and ChChMiner", readable
