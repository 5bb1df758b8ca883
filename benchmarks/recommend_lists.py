"""How fast do lists come out of a fitted SASRec, from item ids to ten titles a user, beside RecTools?

Both models have the same sizes and were trained for a few batches only: speed does not depend on what they
learnt. Every user of the data is asked for ten items without those seen, through the call that users of each
library make: ours takes histories as lists of item ids and gives named items, RecTools takes user ids and
gives a table. Both on one thread of one process, in turns; the fastest round counts.

    OMP_NUM_THREADS=1 python benchmarks/recommend_lists.py --data data/rec/ml1m-loo --length 50

RecTools is a peer, no part of this package: ``pip install "rectools[torch]" pytorch-lightning`` beside it.

Prints users per second and appends one JSON line to ``benchmarks/results/recommend_lists.jsonl``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning
import torch
from record import append, in_turns, seconds, where
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

from graphrec.data import RecommendationData
from graphrec.sequential import SASRec
from graphrec.sequential.config import SASRecConfig
from graphrec.trainer import TrainerConfig

LISTED = 10


def ours(data: RecommendationData, config: SASRecConfig, batches: int) -> Callable[[], Any]:
    """The call of this package, for all users."""
    model = SASRec(config)
    model.fit(data, trainer=TrainerConfig(max_epochs=-1, max_steps=batches, validate_every=0))
    names = data.catalogue.item_ids
    histories = [[names[item] for item in row] for row in data.train.lists()]
    return lambda: model.recommend(histories, k=LISTED)


def rectools(data: RecommendationData, config: SASRecConfig, batches: int) -> Callable[[], Any]:
    """The call of RecTools, for all users."""

    def trainer(**_: Any) -> pytorch_lightning.Trainer:
        return pytorch_lightning.Trainer(
            max_steps=batches,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    sequences = data.train
    log = pd.DataFrame(
        {
            Columns.User: sequences.rows,
            Columns.Item: sequences.items,
            Columns.Weight: 1.0,
            Columns.Datetime: pd.to_datetime(sequences.positions, unit="D"),
        }
    )
    known = Dataset.construct(log)
    model = SASRecModel(
        n_factors=config.width,
        n_blocks=config.num_blocks,
        n_heads=config.num_heads,
        dropout_rate=config.dropout,
        session_max_len=config.length,
        batch_size=config.batch_size,
        loss="sampled_softmax",
        n_negatives=config.num_negatives,
        get_trainer_func=trainer,
    )
    model.fit(known)
    users = log[Columns.User].unique()
    return lambda: model.recommend(users, known, k=LISTED, filter_viewed=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder written by data-prep build")
    parser.add_argument("--length", type=int, default=50)
    parser.add_argument("--batches", type=int, default=2, help="that both are trained for")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = RecommendationData.load(options.data)
    config = SASRecConfig(
        length=options.length, first_items=False, loss="sampled_softmax", num_negatives=8, dropout=0.2
    )
    ways = {
        "ours": ours(data, config, options.batches),
        "RecTools": rectools(data, config, options.batches),
    }
    taken = in_turns({name: lambda way=way: seconds(way) for name, way in ways.items()}, options.rounds)
    users = {name: len(data.train) / best for name, best in taken.items()}
    for name, pace in users.items():
        print(f"{name:10s}{pace:10,.0f} users/s   ours is {users['ours'] / pace:.1f} times as fast")
    append(
        "recommend_lists",
        {
            "data": data.manifest.name,
            "users": len(data.train),
            "items": data.num_items,
            "length": config.length,
            "users_per_second": {name: round(pace) for name, pace in users.items()},
            "ratio": round(users["ours"] / users["RecTools"], 2),
            **where("torch", "lightning", "rectools"),
        },
    )


if __name__ == "__main__":
    main()
