"""How often does the graph encoder run over a molecule of a batch?

Training batches of a built folder go through the model with a hook on every graph encoder that counts the
molecules it is given. They are compared with the distinct molecules of the batch, found from the SMILES of
its rows: 1.0 means that no molecule is encoded twice. Where two roles have encoders of their own, a molecule
counts once for each. What encoding every mention would come to stands beside it.

    python benchmarks/encoder_calls.py                        # the computed demo set, pairs of two roles
    python benchmarks/encoder_calls.py --folder data/chchminer

Prints the counts and appends one JSON line per sharing mode to ``benchmarks/results/encoder_calls.jsonl``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from record import append, where

from data_prep.demo import build_demo
from moltc.backbone.graph_encoder import GraphEncoder
from moltc.backbone.language_model import LanguageModelConfig, TinyConfig
from moltc.backbone.towers import TowerConfig
from moltc.chain_of_thought import PromptStyle
from moltc.collate import PairBatch, PairCollator
from moltc.data import PairDataModule
from moltc.model import MolTC, MolTCConfig
from moltc.pair_table import PairTable
from moltc.stages import training_texts

MODES = {
    "tied": (TowerConfig(sharing="tied", projector="pooled", adapter_rank=0), False),
    "by_role, shared encoder": (TowerConfig(sharing="by_role", projector="pooled", adapter_rank=0), False),
    "by_role, adapted encoder": (TowerConfig(sharing="by_role", projector="pooled"), True),
    "by_slot, adapted encoder": (TowerConfig(sharing="by_slot", projector="pooled"), True),
}
"""Towers, and whether each has encoder weights of its own (adapted ones are)."""


@contextmanager
def counted(model: MolTC) -> Iterator[list[int]]:
    """A list that grows by the number of molecules of every call of a graph encoder."""
    calls: list[int] = []
    encoders = [module for module in model.modules() if isinstance(module, GraphEncoder)]
    hooks = [
        encoder.register_forward_pre_hook(lambda _, args: calls.append(args[0].num_graphs))
        for encoder in encoders
    ]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def distinct(table: PairTable, batch: PairBatch, own_encoders: bool) -> int:
    """Molecules named in the prompts, each once for each set of encoder weights that reads it."""
    smiles = table.molecules.smiles
    runs = (run for tree in batch.trees for run in tree.slots)
    return len({(run.tower if own_encoders else "", smiles[run.entity]) for run in runs})


def measure(data: PairDataModule, towers: TowerConfig, own_encoders: bool, batches: int) -> dict[str, Any]:
    """Counts over some training batches of one model."""
    table = data.table
    assert table is not None
    config = MolTCConfig(
        language_model=LanguageModelConfig(tiny=TinyConfig(hidden=32, layers=1, heads=2, ffn=64)),
        towers=towers,
        prompt=PromptStyle(smiles=False),
    )
    train = table.rows("train")
    tasks = table.tasks(train)
    model = MolTC.build(config, tasks, training_texts(config, tasks, table, train)).eval()
    data.make_collator = lambda table, *, targets, both_orders: PairCollator(
        table, model.writers, model.language_model.sharing, targets, both_orders
    )
    there = mentions = 0
    with counted(model) as calls, torch.no_grad():
        for batch, _ in zip(data.train_dataloader(), range(batches), strict=False):
            model.losses(batch)
            there += distinct(table, batch, own_encoders)
            mentions += 2 * batch.num_pairs
    return {
        "mentions": mentions,
        "distinct": there,
        "encoded": sum(calls),
        "encoded_per_distinct": round(sum(calls) / there, 4),
        "mentions_per_distinct": round(mentions / there, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="a built folder; default: the computed demo set")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--batches", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        if options.folder is None:
            build_demo(folder)
        data = PairDataModule(str(folder), batch_size=options.batch)
        data.setup("fit")
        print(f"{'sharing':<26} {'mentions':>8} {'distinct':>8} {'encoded':>8} {'per distinct':>12}")
        for mode, (towers, own_encoders) in MODES.items():
            line = measure(data, towers, own_encoders, options.batches)
            print(
                f"{mode:<26} {line['mentions']:>8} {line['distinct']:>8} {line['encoded']:>8} "
                f"{line['encoded_per_distinct']:>12.3f}"
            )
            source = "demo" if options.folder is None else folder.name
            append(
                "encoder_calls",
                {"sharing": mode, "source": source, "batch": options.batch, **line, **where("torch")},
            )


if __name__ == "__main__":
    main()
