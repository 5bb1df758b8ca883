"""Ten million interactions through the data module: how much memory, how long.

A folder with ten million training interactions is written once, as ``data-prep`` writes it; a fresh process
then opens it, reads catalogue, training part and test rows, and makes one epoch of padded batches of the
latest items of each sequence. The figure is the peak of that process over everything, libraries included; the
claim is that it stays below one gigabyte.

    python benchmarks/interactions_ten_million.py

Prints megabytes and seconds and appends one JSON line to
``benchmarks/results/interactions_ten_million.jsonl``. Interactions are random.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from record import append, where

LENGTH, BATCH = 50, 1024


def write(folder: Path, interactions: int, items: int, mean_length: int) -> None:
    """A built folder of random sequences."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    lengths = rng.geometric(1 / mean_length, interactions // mean_length)
    sequence = np.repeat(np.arange(len(lengths)), lengths)[:interactions]
    numbers = rng.integers(0, items, len(sequence))
    table = pl.DataFrame({"sequence": sequence, "item": numbers, "time": np.arange(len(sequence)) * 1.0})
    for part in ("train", "trainval"):
        table.write_parquet(folder / f"{part}.parquet", row_group_size=1 << 20)
    ids = [f"item-{number}" for number in range(items)]
    pl.DataFrame(
        {"item": np.arange(items), "item_id": ids, "title": pl.Series([None] * items, dtype=pl.String)}
    ).write_parquet(folder / "items.parquet")
    rows = table.group_by("sequence", maintain_order=True).agg(history="item").head(10_000)
    rows = rows.with_columns(target=pl.Series(rng.integers(0, items, rows.height)))
    for split in ("valid", "test"):
        rows.write_parquet(folder / f"{split}.parquet")
    manifest = {
        "kind": "recommendation",
        "name": "random",
        "protocol": "random",
        "num_items": items,
        "metric": "NDCG@10",
        "ks": [10],
        "filter_seen": True,
        "hash": "0" * 64,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def read(folder: Path) -> dict[str, Any]:
    """What the fresh process does, and its peak."""
    start = time.perf_counter()
    from graphrec.data import RecommendationData

    data = RecommendationData.load(folder)
    train, test, size = data.train, data.test, len(data.catalogue)
    opened = time.perf_counter()
    order = np.random.default_rng(0).permutation(len(train))
    places = 0
    for first in range(0, len(train), BATCH):
        places += train.select(order[first : first + BATCH]).padded(LENGTH, size).size
    done = time.perf_counter()
    return {
        "interactions": len(train.items),
        "sequences": len(train),
        "test_rows": len(test),
        "items": size,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "seconds_to_open": round(opened - start, 1),
        "seconds_for_an_epoch": round(done - opened, 1),
        "places": places,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--interactions", type=int, default=10_000_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--mean_length", type=int, default=40)
    parser.add_argument("--read", type=Path, help="only read this folder and print what that took, as JSON")
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read(options.read)))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "data"
        write(folder, options.interactions, options.items, options.mean_length)
        command = [sys.executable, __file__, "--read", str(folder)]
        line = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    append("interactions_ten_million", {**line, **where("polars", "numpy")})
    print(
        f"{line['interactions']:,} interactions: peak {line['peak_megabytes']} MB, opened in "
        f"{line['seconds_to_open']} s, an epoch of batches in {line['seconds_for_an_epoch']} s"
    )


if __name__ == "__main__":
    main()
