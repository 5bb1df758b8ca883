"""What does it cost to make a graph of a SMILES, beside reading it with RDKit and beside other converters?

Cold: the same distinct molecules through the bare RDKit parse, OGB's ``smiles2graph``, PyG's ``from_smiles``
and this package, each in a process of its own, in turns. What a molecule table holds beside the graph
(fingerprint, canonical SMILES, InChIKey, scaffold, property text) is timed step by step. Warm: the same
molecules from the cache of a build, and batches gathered from the memory-mapped file.

    python benchmarks/featurisation.py --real-data DATA      # FreeSolv and ChChMiner
    python benchmarks/featurisation.py                       # the molecules of the demo

Prints microseconds of processor time per molecule and the ratio to the bare parse, and appends one JSON line
to ``benchmarks/results/featurisation.jsonl``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from record import append, in_turns, molecules, processor_seconds, where

BATCH = 256
State = dict[str, Any]


def prepared(smiles: list[str]) -> State:
    """What a process keeps between rounds."""
    from rdkit import Chem

    return {"smiles": smiles, "mols": [Chem.MolFromSmiles(text) for text in smiles]}


def bare_parse(state: State) -> Any:
    from rdkit import Chem

    for text in state["smiles"]:
        Chem.MolFromSmiles(text)


def ogb(state: State) -> Any:
    sys.modules.setdefault("outdated", None)  # else its import asks a server for the latest version
    from ogb.utils.mol import smiles2graph

    for text in state["smiles"]:
        smiles2graph(text)


def pyg(state: State) -> Any:
    from torch_geometric.utils import from_smiles

    for text in state["smiles"]:
        from_smiles(text)


def graphs(state: State) -> Any:
    """Atoms, bonds and edges: the arrays that the converters above make."""
    from data_prep.features import GraphRows, no_fingerprints
    from data_prep.molecules import has_directions, parse

    rows = GraphRows()
    for text in state["smiles"]:
        rows.add(parse(text), directed=has_directions(text))
    return rows.pack(no_fingerprints(len(state["smiles"])))


def graphs_and_fingerprints(state: State) -> Any:
    from data_prep.features import GraphCollector
    from data_prep.molecules import has_directions, parse

    collector = GraphCollector()
    for text in state["smiles"]:
        collector.add(parse(text), directed=has_directions(text))
    return collector.pack()


def graphs_only_table(state: State) -> Any:
    """What answering needs: graphs, fingerprints, and canonical SMILES to know equal molecules by."""
    from data_prep.molecules import featurise

    return featurise(state["smiles"], workers=1, progress=False, graphs_only=True)


def whole_table(state: State) -> Any:
    """What a build writes once and keeps."""
    from data_prep.molecules import featurise

    return featurise(state["smiles"], workers=1, progress=False)


def of_each(function: str) -> Callable[[State], Any]:
    """One column of the table alone, from molecules that are parsed already."""

    def run(state: State) -> Any:
        from data_prep import molecules as table

        if function == "content_key":
            return [table.content_key(mol, "") for mol in state["mols"]]
        return [getattr(table, function)(mol) for mol in state["mols"]]

    return run


COLD: dict[str, Callable[[State], Any]] = {
    "bare RDKit parse": bare_parse,
    "OGB smiles2graph": ogb,
    "PyG from_smiles": pyg,
    "graphs": graphs,
    "graphs, fingerprints": graphs_and_fingerprints,
    "graphs, fingerprints, canonical SMILES": graphs_only_table,
    "whole molecule table": whole_table,
    "  of it: InChIKey": of_each("content_key"),
    "  of it: scaffold": of_each("scaffold_of"),
    "  of it: property text": of_each("describe"),
}
_STATE: State = {}


def _prepare(smiles: list[str]) -> None:
    _STATE.update(prepared(smiles))


def _time(name: str) -> float:
    return processor_seconds(lambda: COLD[name](_STATE))


def cold(smiles: list[str], rounds: int) -> dict[str, float]:
    """Microseconds per molecule of each way, each in a process of its own."""
    context = get_context("spawn")
    pools = {
        name: ProcessPoolExecutor(1, mp_context=context, initializer=_prepare, initargs=(smiles,))
        for name in COLD
    }
    try:
        ways = {name: (lambda name=name: pools[name].submit(_time, name).result()) for name in COLD}
        taken = in_turns(ways, rounds)
    finally:
        for pool in pools.values():
            pool.shutdown()
    return {name: value / len(smiles) * 1e6 for name, value in taken.items()}


def warm(smiles: list[str], rounds: int) -> dict[str, float]:
    """Microseconds per molecule: a second build from its cache, and batches from the mapped file."""
    from data_prep.cache import featurise_cached
    from data_prep.molecules import MoleculeTable

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, _ = featurise_cached(smiles, folder / "cache", workers=1, progress=False)
        whole.table.save(folder)
        rows = np.random.default_rng(0).permutation(len(whole.table))
        batches = np.array_split(rows, max(1, len(rows) // BATCH))

        def cached() -> Any:
            found, reused = featurise_cached(smiles, folder / "cache", workers=1, progress=False)
            assert reused == len(smiles), "the cache was not used"
            return found

        def mapped() -> None:
            table = MoleculeTable.load(folder)
            for batch in batches:
                table.graphs.batch(batch)

        ways = {
            "cache of a build": lambda: processor_seconds(cached),
            "table opened, batches": lambda: processor_seconds(mapped),
        }
        taken = in_turns(ways, rounds)
    return {name: value / len(smiles) * 1e6 for name, value in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real-data", type=Path, help="folder of published data sets")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    source, smiles = molecules(options.real_data)
    taken = cold(smiles, options.rounds)
    parse = taken["bare RDKit parse"]
    print(f"{len(smiles)} molecules, {source}\n{'cold':<42} {'us':>8} {'parses':>7}")
    for name, value in taken.items():
        print(f"{name:<42} {value:>8.1f} {value / parse:>7.2f}")
    again = warm(smiles, options.rounds)
    print(f"{'warm':<42} {'us':>8}")
    for name, value in again.items():
        print(f"{name:<42} {value:>8.2f}")
    line = {
        "molecules": len(smiles),
        "source": source,
        "rounds": options.rounds,
        "cold_us": {name.strip(): round(value, 2) for name, value in taken.items()},
        "parses": {name.strip(): round(value / parse, 2) for name, value in taken.items()},
        "warm_us": {name: round(value, 2) for name, value in again.items()},
        **where("rdkit", "numpy", "ogb", "torch-geometric"),
    }
    append("featurisation", line)


if __name__ == "__main__":
    main()
