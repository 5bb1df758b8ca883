"""Sessions of a known process as a built recommendation folder, for offline learners."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl

from graphrec.data import RecommendationData

NUM_ITEMS = 12
PURCHASE_SHARE = 0.3


def walks(count: int, seed: int, *, shortest: int = 2, longest: int = 9) -> list[list[int]]:
    """Sessions on a ring of items: mostly one step on, sometimes anywhere."""
    generator = np.random.default_rng(seed)
    sessions = []
    for length in generator.integers(shortest, longest + 1, size=count):
        walk = [int(generator.integers(NUM_ITEMS))]
        while len(walk) < length:
            jump = generator.random() < 0.15
            walk.append(int(generator.integers(NUM_ITEMS)) if jump else (walk[-1] + 1) % NUM_ITEMS)
        sessions.append(walk)
    return sessions


def write_sessions(
    folder: Path, *, count: int = 60, seed: int = 0, events: bool = True
) -> RecommendationData:
    """A folder with ``count`` training sessions and a third of that for validation and test each.

    Args:
        folder: made.
        count: training sessions.
        seed: of everything.
        events: whether clicks and purchases are told apart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    train, valid, test = (
        walks(size, seed + place) for place, size in enumerate((count, count // 3, count // 3))
    )
    manifest = {
        "kind": "recommendation",
        "name": "tiny-sessions",
        "protocol": "sessions",
        "num_items": NUM_ITEMS,
        "filter_seen": False,
        "metric": "NDCG@10",
        "ks": [5, 10],
        "variants": {},
        "hash": f"tiny-{seed}-{count}",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    pl.DataFrame(
        {
            "item": range(NUM_ITEMS),
            "item_id": [f"i{number}" for number in range(NUM_ITEMS)],
            "title": [f"Item {number}" for number in range(NUM_ITEMS)],
        }
    ).write_parquet(folder / "items.parquet")
    _interactions(train, seed, events).write_parquet(folder / "train.parquet")
    _interactions(train + valid, seed, events).write_parquet(folder / "trainval.parquet")
    _rows(valid, seed + 1, events).write_parquet(folder / "valid.parquet")
    _rows(test, seed + 2, events).write_parquet(folder / "test.parquet")
    return RecommendationData.load(folder)


def _interactions(sessions: list[list[int]], seed: int, events: bool) -> pl.DataFrame:
    table = {
        "sequence": [row for row, walk in enumerate(sessions) for _ in walk],
        "item": [item for walk in sessions for item in walk],
    }
    return pl.DataFrame(table | _events(len(table["item"]), seed, events))


def _rows(sessions: list[list[int]], seed: int, events: bool) -> pl.DataFrame:
    pairs = [(walk[:place], walk[place]) for walk in sessions for place in range(len(walk))]
    table = {
        "row": range(len(pairs)),
        "history": [history for history, _ in pairs],
        "target": [target for _, target in pairs],
    }
    schema = {"row": pl.Int64, "history": pl.List(pl.Int64), "target": pl.Int64}
    return pl.DataFrame(table, schema).with_columns(
        *(pl.Series(name, values) for name, values in _events(len(pairs), seed, events).items())
    )


def _events(count: int, seed: int, events: bool) -> dict[str, list[str]]:
    if not events:
        return {}
    bought = np.random.default_rng(seed + 1000).random(count) < PURCHASE_SHARE
    return {"event": np.where(bought, "purchase", "click").tolist()}
