"""Small recommendation folders, and the smallest recommender that is trained by gradients."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from graphrec.catalogue import Catalogue
from graphrec.data import RecommendationData
from graphrec.histories import Histories
from graphrec.neural import NeuralRecommender
from graphrec.recommender import Floats
from graphrec.topk import Factors

Row = tuple[Sequence[int], int]
"""History and target."""


def write_folder(
    folder: Path,
    num_items: int,
    train: Sequence[Sequence[int]],
    valid: Sequence[Row],
    test: Sequence[Row],
    *,
    candidates: Sequence[Sequence[Sequence[int]]] | None = None,
    titles: bool = True,
    item_ids: Sequence[str] | None = None,
    **manifest: Any,
) -> Path:
    """A built folder; ``manifest`` overrides what it says. ``candidates`` are those of all rows."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "kind": "recommendation",
        "name": folder.name,
        "protocol": "tiny",
        "num_items": num_items,
        "filter_seen": True,
        "metric": "NDCG@10",
        "ks": [1, 5, 10],
        "hash": "0" * 64,
    }
    (folder / "manifest.json").write_text(json.dumps(content | manifest))
    pl.DataFrame(
        {
            "item": np.arange(num_items),
            "item_id": [f"i{n}" for n in range(num_items)] if item_ids is None else item_ids,
            "title": [f"Item {n}" if titles else None for n in range(num_items)],
            "genres": [["even"] if n % 2 == 0 else ["odd", "all"] for n in range(num_items)],
        },
        schema_overrides={"title": pl.String},
    ).write_parquet(folder / "items.parquet")
    _write_sequences(folder / "train.parquet", train)
    _write_sequences(folder / "trainval.parquet", [*train, *([*h, t] for h, t in valid)])
    for name, rows in (("valid", valid), ("test", test)):
        table = pl.DataFrame(
            {
                "row": np.arange(len(rows)),
                "history": pl.Series([list(history) for history, _ in rows], dtype=pl.List(pl.Int64)),
                "target": pl.Series([target for _, target in rows], dtype=pl.Int64),
            }
        )
        if candidates is not None:
            lists = pl.Series(
                "candidates", [list(map(list, c)) for c in candidates], dtype=pl.List(pl.List(pl.Int64))
            )
            table = table.with_columns(lists)
        table.write_parquet(folder / f"{name}.parquet")
    return folder


def _write_sequences(path: Path, sequences: Sequence[Sequence[int]]) -> None:
    histories = Histories.from_lists(sequences)
    pl.DataFrame(
        {"sequence": histories.rows, "item": histories.items, "time": histories.positions.astype(float)}
    ).write_parquet(path)


def walks(num_items: int, count: int, length: int, seed: int = 0) -> list[list[int]]:
    """Walks over a ring of items: mostly one step forward, sometimes a jump."""
    rng = np.random.default_rng(seed)
    steps = np.where(rng.random((count, length)) < 0.8, 1, rng.integers(0, num_items, (count, length)))
    steps[:, 0] = rng.integers(0, num_items, count)
    return (np.cumsum(steps, axis=1) % num_items).tolist()


def write_walks(
    folder: Path,
    num_items: int = 24,
    count: int = 60,
    length: int = 9,
    *,
    numbers: Sequence[int] | None = None,
    repeats: bool = True,
    **others: Any,
) -> Path:
    """A folder of such walks, leave-one-out; the last ten validation and test rows have no history.

    Args:
        numbers: item number of each place on the ring; default: as they come.
        repeats: a walk may come to an item again.
        others: for :func:`write_folder`.
    """
    names = np.arange(num_items) if numbers is None else np.asarray(numbers)
    sequences = names[np.array(walks(num_items, count, length))].tolist()
    if not repeats:
        sequences = [list(dict.fromkeys(sequence)) for sequence in sequences]
    train = [sequence[:-2] for sequence in sequences]
    valid = [(sequence[:-2], sequence[-2]) for sequence in sequences]
    test = [(sequence[:-1], sequence[-1]) for sequence in sequences]
    for rows in (valid, test):
        rows[-10:] = [([], target) for _, target in rows[-10:]]
    return write_folder(folder, num_items, train, valid, test, **{"filter_seen": False, **others})


def tiny_data(folder: Path, **others: Any) -> RecommendationData:
    """Such a folder, opened."""
    return RecommendationData.load(write_walks(folder, **others))


class Prefixes(NamedTuple):
    """A batch of padded prefixes and what came next."""

    items: Tensor  # [B, L]
    targets: Tensor  # [B]

    def to(self, device: Any) -> Prefixes:
        return Prefixes(self.items.to(device), self.targets.to(device))


@dataclass(frozen=True)
class LastItemsConfig:
    width: int = 8
    length: int = 3
    batch_size: int = 32
    rate: float = 0.01
    dropout: float = 0.2


class LastItems(NeuralRecommender):
    """Mean of the latest items' vectors, against a second table of item vectors."""

    name = "last_items"
    config_class = LastItemsConfig
    config: LastItemsConfig

    def build(self, catalogue: Catalogue) -> nn.Module:
        size, width = len(catalogue), self.config.width
        return nn.ModuleDict(
            {
                "input": nn.Embedding(size + 1, width, padding_idx=size),
                "output": nn.Linear(width, size),
                "dropout": nn.Dropout(self.config.dropout),
            }
        )

    def _state(self, items: Tensor) -> Tensor:
        real = (items != len(self.catalogue)).sum(1, keepdim=True).clamp(min=1)
        return self.network["dropout"](self.network["input"](items).sum(1) / real)

    def batches(self, train: Histories, epoch: int, seed: int) -> Iterator[Prefixes]:
        order = np.random.default_rng([seed, epoch]).permutation(len(train))
        for first in range(0, len(train), self.config.batch_size):
            rows = train.select(order[first : first + self.config.batch_size])
            block = rows.padded(self.config.length + 1, len(self.catalogue), side="left")
            yield Prefixes(torch.from_numpy(block[:, :-1]), torch.from_numpy(block[:, -1]))

    def num_batches(self, train: Histories) -> int:
        return -(-len(train) // self.config.batch_size)

    def loss(self, batch: Prefixes, step: int) -> dict[str, Tensor]:
        logits = self.network["output"](self._state(batch.items))
        loss = functional.cross_entropy(logits, batch.targets)
        return {"loss": loss, "perplexity": loss.exp()}

    def optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.network.parameters(), lr=self.config.rate)

    def rate_factor(self, step: int) -> float:
        return 1 / (1 + step / 100)

    def factors(self, histories: Histories) -> Factors:
        block = histories.padded(self.config.length, len(self.catalogue), side="left")
        with self.inference():
            queries = self._state(torch.from_numpy(block).to(self.device))
        output = self.network["output"]
        return Factors(queries, output.weight.detach(), output.bias.detach())

    def item_vectors(self) -> Floats:
        return self.network["output"].weight.detach().cpu().numpy()
