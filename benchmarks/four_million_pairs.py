"""Four million pairs over four thousand molecules: what the data module needs of memory and time.

Synthetic pairs are written as ``data-prep`` writes them. A process of its own then builds a model from a
small table of the same molecules, notes its memory, opens the large table through ``PairDataModule`` and
takes training batches from its loader. Memory is what comes on top of the model; the rate is that of
collation with two data processes, by the clock and, since other work on the machine slows the clock, by the
processor time that the data processes used.

    python benchmarks/four_million_pairs.py
    python benchmarks/four_million_pairs.py --pairs 400000 --smiles     # prompts with SMILES

Prints the figures and appends a JSON line to ``benchmarks/results/four_million_pairs.jsonl``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
from record import append, where

from data_prep.molecules import MoleculeTable, featurise
from data_prep.tables import write_parquet

HEADS = """
C CC CCC CC(C) F Cl Br N#C CO CCO CN(C) O=C(O) NC(=O) CS(=O)(=O) FC(F)(F) C1CC1
"""
LINKS = """
c1ccc(cc1) c1ccc2cc(ccc2c1) C2CCC(CC2) C(=O)N CC(=O)O COC CCN(C)C c1ccc(nc1) C2CN(CCN2) CCCC
"""
TAILS = """
C CC C(C)C c3ccccc3 c3ccncc3 C3CCCCC3 N3CCOCC3 C(=O)O C(=O)N C#N OC NC(=O)C S(=O)(=O)N c3ccc(F)cc3
c3ccc(Cl)cc3 c3ccc(OC)cc3 C(F)(F)F CO CN c3ccoc3 c3ccsc3 Cl CCCCO C(C)(C)O c3cc[nH]c3 OCC N(C)C C=C CC#C
c3cnc[nH]3
"""
BATCH = 256
WARM_UP = 40
"""Batches that fill caches of tokens and queues before the clock starts."""


def synthetic_molecules(count: int) -> MoleculeTable:
    """``count`` distinct molecules of a head, a link and a tail."""
    pieces = (text.split() for text in (HEADS, LINKS, TAILS))
    strings = ["".join(parts) for parts in itertools.product(*pieces)]
    table = featurise(strings, progress=False).table
    if len(table) < count:
        raise ValueError(f"{len(table)} molecules can be made of these parts, not {count}")
    return table.take(np.arange(count))


def write_folder(folder: Path, table: MoleculeTable, pairs: int) -> None:
    """A built folder of random yes/no pairs; nineteen of twenty train."""
    rng = np.random.default_rng(0)
    mols = rng.integers(0, len(table), size=(2, pairs), dtype=np.int32)
    constant = {
        "family": "ddi",
        "dataset": "synthetic-computed",
        "role_a": "drug",
        "role_b": "drug",
        "property": "interaction",
        "source": "synthetic",
    }
    frame = pl.DataFrame(
        {
            "mol_a": mols[0],
            "mol_b": mols[1],
            "label": rng.integers(0, 2, size=pairs).astype(np.float64),
            "n_merged": np.ones(pairs, np.int32),
            "split": np.array(["train", "valid", "test"])[np.maximum(np.arange(pairs) % 40 - 37, 0)],
            "source_row": np.arange(pairs),
        }
    ).with_columns(
        pl.lit(None, pl.Float64).alias("label_std"),
        *(pl.lit(None, pl.String).alias(name) for name in ("unit", "query", "text")),
        *(pl.lit(value).alias(name) for name, value in constant.items()),
        pair_id=pl.lit("synthetic-") + pl.int_range(pairs).cast(pl.String).str.zfill(7),
    )
    folder.mkdir(parents=True)
    table.save(folder)
    write_parquet(frame, folder / "pairs.parquet", metadata={"molecules_sha256": table.sha256})


class PeakMemory:
    """The largest resident memory of this process while it runs."""

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.resident = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.resident = max(self.resident, self.process.memory_info().rss)


def processor_seconds() -> np.ndarray:
    """Processor time so far of this process and of all its data processes together, float [2]."""
    here = psutil.Process()
    times = [[one.cpu_times() for one in those] for those in ([here], here.children())]
    return np.array([sum(one.user + one.system for one in those) for those in times])


def measure(small: Path, large: Path, smiles: bool, workers: int, batches: int) -> dict[str, Any]:
    """Memory and rate of the data module over ``large``, for a model that was built from ``small``."""
    import torch

    from moltc.backbone.language_model import LanguageModelConfig, TinyConfig
    from moltc.backbone.towers import TowerConfig
    from moltc.chain_of_thought import PromptStyle
    from moltc.collate import PairCollator
    from moltc.data import PairDataModule
    from moltc.model import MolTC, MolTCConfig
    from moltc.pair_table import PairTable
    from moltc.stages import training_texts

    torch.set_num_threads(1)
    config = MolTCConfig(
        language_model=LanguageModelConfig(tiny=TinyConfig(hidden=64, layers=2, heads=4, ffn=128)),
        towers=TowerConfig(projector="pooled"),
        prompt=PromptStyle(smiles=smiles),
    )
    table = PairTable.load(small)
    train = table.rows("train")
    tasks = table.tasks(train)
    model = MolTC.build(config, tasks, training_texts(config, tasks, table, train))

    def collator(table: PairTable, *, targets: bool, both_orders: bool) -> PairCollator:
        sharing = model.language_model.sharing
        return PairCollator(table, model.writers, sharing, targets, both_orders)

    model_resident = psutil.Process().memory_info().rss
    with PeakMemory() as peak:
        start = time.perf_counter()
        data = PairDataModule(str(large), batch_size=BATCH, num_workers=workers)
        data.setup("fit")
        data.make_collator = collator
        opened = time.perf_counter() - start
        stream = iter(data.train_dataloader())
        for _ in range(WARM_UP):
            next(stream)
        clock, processor = time.perf_counter(), processor_seconds()
        taken = sum(next(stream).num_pairs for _ in range(batches))
        clock = time.perf_counter() - clock
        here, there = ((processor_seconds() - processor) / taken * 1e6).tolist()
        private = max((one.memory_full_info().uss for one in psutil.Process().children()), default=0)
        del stream, data
    return {
        "open_seconds": round(opened, 2),
        "resident_above_model_mb": round((peak.resident - model_resident) / 2**20),
        "private_of_a_data_process_mb": round(private / 2**20),
        "pairs_per_second": round(taken / clock),
        "processor_us_per_pair": {"data processes": round(there, 2), "training process": round(here, 2)},
        "pairs_per_second_of_free_cores": round(workers / there * 1e6) if there else None,
    }


def in_a_process_of_its_own(small: Path, large: Path, options: argparse.Namespace) -> dict[str, Any]:
    """:func:`measure` in a fresh interpreter, whose data processes are made as those of a training are."""
    settings = {"smiles": options.smiles, "workers": options.workers, "batches": options.batches}
    command = "from four_million_pairs import measure\nimport json\nfrom pathlib import Path\n"
    command += f"print(json.dumps(measure(Path({str(small)!r}), Path({str(large)!r}), **{settings})))"
    here = str(Path(__file__).parent)
    run = subprocess.run(
        [sys.executable, "-c", command], cwd=here, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(run.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=4_000_000)
    parser.add_argument("--molecules", type=int, default=4_000)
    parser.add_argument("--smiles", action="store_true", help="prompts with SMILES; default: graphs only")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batches", type=int, default=400, help="batches that are timed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        small, large = Path(name) / "small", Path(name) / "large"
        table = synthetic_molecules(options.molecules)
        write_folder(small, table, 2_000)
        write_folder(large, table, options.pairs)
        found = in_a_process_of_its_own(small, large, options)
    for key, value in found.items():
        print(f"{key.replace('_', ' '):<40} {value}")
    append(
        "four_million_pairs", {**vars(options), "batch": BATCH, **found, **where("torch", "numpy", "polars")}
    )


if __name__ == "__main__":
    main()
