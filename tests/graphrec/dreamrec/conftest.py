"""Small denoisers, and a small built folder of sequences with structure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

NUM_ITEMS = 20


def chains(count: int, seed: int) -> list[list[int]]:
    """Walks over a ring of items: mostly to the next one, so that a history says what follows."""
    rng = np.random.default_rng(seed)
    steps = rng.choice([1, 2], p=[0.9, 0.1], size=(count, 6))
    walks = (rng.integers(NUM_ITEMS, size=(count, 1)) + steps.cumsum(1)) % NUM_ITEMS
    return [walk[: 3 + number % 4].tolist() for number, walk in enumerate(walks)]


@pytest.fixture(scope="session")
def ring_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recommendation folder of such walks."""
    folder = tmp_path_factory.mktemp("ring")
    items = pl.DataFrame({"item": range(NUM_ITEMS), "item_id": [f"i{n}" for n in range(NUM_ITEMS)]})
    items.with_columns(title=pl.lit(None, dtype=pl.String)).write_parquet(folder / "items.parquet")
    train = chains(120, 0)
    for part, walks in {"train": train, "trainval": train + chains(30, 1)}.items():
        rows = [(number, item) for number, walk in enumerate(walks) for item in walk]
        pl.DataFrame(rows, schema=["sequence", "item"], orient="row").write_parquet(
            folder / f"{part}.parquet"
        )
    for part, seed in {"valid": 1, "test": 2}.items():
        walks = chains(30, seed)
        pl.DataFrame(
            {
                "row": range(len(walks)),
                "history": pl.Series([walk[:-1] for walk in walks], dtype=pl.List(pl.Int64)),
                "target": [walk[-1] for walk in walks],
            }
        ).write_parquet(folder / f"{part}.parquet")
    manifest = {
        "kind": "recommendation",
        "name": "ring",
        "protocol": "ring",
        "num_items": NUM_ITEMS,
        "filter_seen": False,
        "metric": "NDCG@10",
        "ks": [1, 10],
        "hash": "ring",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder
