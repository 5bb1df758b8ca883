"""How fast are molecular graphs put together in a batch, beside PyG's ``Batch.from_data_list``?

The same graphs, in the same batches, from memory: PyG joins a list of ``Data`` objects, which are made once
beforehand; this package gathers rows of its packed arrays and makes the tensors that the graph encoder
reads, checks and the order of edges included. The batches are compared first.

    python benchmarks/collation.py --real-data DATA      # FreeSolv and ChChMiner
    python benchmarks/collation.py                       # the molecules of the demo

Prints microseconds per graph and appends one JSON line per batch size to
``benchmarks/results/collation.jsonl``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import append, in_turns, molecules, seconds, where
from torch_geometric.data import Batch, Data

from data_prep.graphs import PackedGraphs
from data_prep.molecules import featurise
from moltc.backbone.graphs import GraphBatch

BATCH_SIZES = (32, 128, 512)


def data_objects(graphs: PackedGraphs) -> list[Data]:
    """One PyG object per graph, with the same features."""
    objects = []
    for row in range(len(graphs)):
        one = graphs.batch(np.array([row]))
        objects.append(
            Data(
                x=torch.from_numpy(one.atoms),
                edge_attr=torch.from_numpy(one.bonds),
                edge_index=torch.from_numpy(one.edge_index),
                num_nodes=len(one.atoms),
                fingerprint=torch.from_numpy(one.fingerprint),
            )
        )
    return objects


def ours(graphs: PackedGraphs, rows: np.ndarray) -> GraphBatch:
    """A batch as the collator makes it."""
    return GraphBatch.from_arrays(graphs.batch(rows))


def theirs(objects: list[Data], rows: np.ndarray) -> Batch:
    """A batch as PyG's loader makes it."""
    return Batch.from_data_list([objects[row] for row in rows])


def check(mine: GraphBatch, other: Batch) -> None:
    """Both batches hold the same graphs; ours has its edges in the order of their targets."""
    order = torch.argsort(other.edge_index[1], stable=True)
    for one, two in (
        (mine.atoms, other.x),
        (mine.bonds, other.edge_attr[order]),
        (mine.edge_index, other.edge_index[:, order]),
        (mine.node_graph, other.batch),
        (mine.fingerprint, other.fingerprint),
    ):
        assert torch.equal(one, two), "the two batches differ"


def through(batches: np.ndarray, collate: Callable[[np.ndarray], Any]) -> float:
    """Seconds for all batches, one after the other as a loader makes them."""

    def run() -> None:
        for rows in batches:
            collate(rows)

    return seconds(run)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real-data", type=Path, help="folder of published data sets")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    source, smiles = molecules(options.real_data)
    graphs = featurise(smiles, workers=1, progress=False, graphs_only=True).table.graphs
    objects = data_objects(graphs)
    rng = np.random.default_rng(0)
    print(f"{len(graphs)} graphs, {source}\n{'batch':>6} {'ours us':>8} {'PyG us':>8} {'ratio':>6}")
    for size in BATCH_SIZES:
        batches = rng.integers(0, len(graphs), size=(max(4, 2048 // size), size))
        check(ours(graphs, batches[0]), theirs(objects, batches[0]))
        taken = in_turns(
            {
                "ours": lambda batches=batches: through(batches, lambda rows: ours(graphs, rows)),
                "PyG": lambda batches=batches: through(batches, lambda rows: theirs(objects, rows)),
            },
            options.rounds,
        )
        each = {name: value / batches.size * 1e6 for name, value in taken.items()}
        ratio = each["PyG"] / each["ours"]
        print(f"{size:>6} {each['ours']:>8.2f} {each['PyG']:>8.2f} {ratio:>5.1f}x")
        line = {
            "graphs": len(graphs),
            "source": source,
            "batch": size,
            "us_per_graph": {name: round(value, 3) for name, value in each.items()},
            "ratio": round(ratio, 2),
            **where("torch", "torch-geometric", "numpy"),
        }
        append("collation", line)


if __name__ == "__main__":
    main()
