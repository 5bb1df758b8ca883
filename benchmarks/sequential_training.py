"""How many places a second does SASRec train, beside RecTools and a padded network with gSASRec's negatives?

A place counts where its target is a real interaction; padding never counts. All run on one thread of one
process, in turns, through Lightning or a plain loop as their users run them; the fastest round counts.

    OMP_NUM_THREADS=1 python benchmarks/sequential_training.py --data data/rec/beauty-loo --length 50
    OMP_NUM_THREADS=1 python benchmarks/sequential_training.py --data data/rec/ml1m-loo --length 200
    OMP_NUM_THREADS=1 python benchmarks/sequential_training.py --data data/rec/ml1m-loo --peer gsasrec

RecTools is a peer, no part of this package: ``pip install "rectools[torch]" pytorch-lightning`` beside it.
Where it is missing, its turn is left out and the script says so. The peer "gsasrec" needs nothing: it is a
plain PyTorch network, written here after arXiv 2308.07192 with that paper's sizes. Its rows are padded to
200, it is 128 wide, and draws 256 negatives for each place, padded ones too.

Prints places per second, and appends a line per run to ``benchmarks/results/sequential_training.jsonl``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import append, where
from torch import Tensor, nn
from torch.nn.functional import embedding

from graphrec.data import RecommendationData
from graphrec.histories import Histories
from graphrec.sequential import SASRec
from graphrec.sequential.config import SASRecConfig
from graphrec.sequential.examples import SequenceBatch
from graphrec.sequential.losses import gbce, gbce_beta
from graphrec.trainer import TrainerConfig

WARM_UP = 2
"""Batches before the clock starts."""
INSTALL = 'RecTools is not installed: pip install "rectools[torch]" pytorch-lightning'


class Pace:
    """Places per second from the end of the warm-up on."""

    def __init__(self) -> None:
        self.batches = self.places = 0
        self.start = self.end = 0.0

    def tick(self, places: int) -> None:
        """One batch was trained."""
        self.batches += 1
        self.end = time.perf_counter()
        if self.batches <= WARM_UP:
            self.start = self.end
        else:
            self.places += places

    @property
    def per_second(self) -> float:
        """Trained places of real targets, per second."""
        if self.batches <= WARM_UP:
            raise ValueError(f"{self.batches} batches only warm up: train more than {WARM_UP}")
        return self.places / (self.end - self.start)


class TimedSASRec(SASRec):
    """Counts what it trains."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__(config)
        self.pace, self.places = Pace(), 0

    def loss(self, batch: SequenceBatch, step: int) -> dict[str, Tensor]:
        self.places = len(batch.targets)
        return super().loss(batch, step)

    def after_step(self, step: int) -> None:
        self.pace.tick(self.places)


def ours(data: RecommendationData, config: SASRecConfig, batches: int) -> float:
    """Places per second of this package, through its trainer."""
    model = TimedSASRec(config)
    model.fit(data, trainer=TrainerConfig(max_epochs=-1, max_steps=batches, validate_every=0))
    return model.pace.per_second


def rectools(data: RecommendationData, config: SASRecConfig, batches: int) -> float:
    """Places per second of RecTools' SASRec with the same sizes, through its own trainer."""
    import pandas as pd
    import pytorch_lightning
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    class TheirPace(pytorch_lightning.Callback):
        def __init__(self) -> None:
            self.pace = Pace()

        def __deepcopy__(self, memo: dict[int, Any]) -> TheirPace:
            return self  # the trainer is copied before it is used

        def on_train_batch_end(
            self, trainer: Any, module: Any, outputs: Any, batch: dict[str, Tensor], batch_idx: int
        ) -> None:
            self.pace.tick(int((batch["y"] != 0).sum()))

    counted = TheirPace()

    def trainer(**_: Any) -> pytorch_lightning.Trainer:
        return pytorch_lightning.Trainer(
            max_steps=batches,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[counted],
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
    model = SASRecModel(
        n_factors=config.width,
        n_blocks=config.num_blocks,
        n_heads=config.num_heads,
        dropout_rate=config.dropout,
        session_max_len=config.length,
        batch_size=config.batch_size,
        lr=config.lr,
        loss=config.loss,
        n_negatives=config.num_negatives,
        get_trainer_func=trainer,
    )
    model.fit(Dataset.construct(log))
    return counted.pace.per_second


class PaddedSASRec(nn.Module):
    """Rows padded on the left, ``[B, L]`` to states ``[B, L, d]``; every padded place is computed too."""

    def __init__(self, num_items: int, config: SASRecConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(num_items + 1, config.width, padding_idx=num_items)
        self.positions = nn.Embedding(config.length, config.width)
        block = nn.TransformerEncoderLayer(
            config.width, config.num_heads, config.width, config.dropout, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, config.num_blocks, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(config.width)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, rows: Tensor) -> Tensor:
        length = rows.shape[1]
        states = self.drop(self.table(rows) + self.positions.weight)
        causal = nn.Transformer.generate_square_subsequent_mask(length)
        return self.norm(self.blocks(states, mask=causal, is_causal=True))


def padded(data: RecommendationData, config: SASRecConfig, batches: int) -> float:
    """Places per second of the padded network: gBCE with negatives of each place's own."""
    num_items = data.num_items
    model, pace = PaddedSASRec(num_items, config), Pace()
    optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
    beta = gbce_beta(config.num_negatives, num_items, config.calibration)
    for rows in padded_rows(data.train, config, num_items, batches):
        inputs, targets = rows[:, :-1], rows[:, 1:]
        drawn = torch.randint(num_items, (*targets.shape, config.num_negatives))
        scored = torch.cat([targets.unsqueeze(-1), drawn], dim=-1)  # [B, L, 1 + K]
        scores = (embedding(scored, model.table.weight) @ model(inputs).unsqueeze(-1)).squeeze(-1)
        real = targets != num_items
        losses = gbce(scores[..., 0].flatten(), scores[..., 1:].flatten(0, 1), beta).view(real.shape)
        optimiser.zero_grad()
        (losses * real).sum().div(real.sum()).backward()
        optimiser.step()
        pace.tick(int(real.sum()))
    return pace.per_second


def padded_rows(sequences: Histories, config: SASRecConfig, pad: int, batches: int) -> Iterator[Tensor]:
    """Batches of the latest L + 1 items of drawn sequences, ``[B, L + 1]``."""
    rng = np.random.default_rng(0)
    for _ in range(batches):
        chosen = sequences.select(rng.choice(len(sequences), config.batch_size, replace=False))
        yield torch.from_numpy(chosen.padded(config.length + 1, pad, side="left"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder written by data-prep build")
    parser.add_argument("--length", type=int, default=50)
    parser.add_argument("--peer", choices=["rectools", "gsasrec"], default="rectools")
    parser.add_argument("--batches", type=int, default=8, help="of a round, warm-up included")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = RecommendationData.load(options.data)
    config = settings(options.peer, options.length)
    ways: dict[str, Callable[[RecommendationData, SASRecConfig, int], float]] = {"ours": ours}
    if options.peer == "gsasrec":
        ways["padded, gBCE"] = padded
    elif find_spec("rectools") and find_spec("pytorch_lightning"):
        ways["RecTools"] = rectools
    else:
        print(INSTALL)
    pace = {name: 0.0 for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            pace[name] = max(pace[name], way(data, config, options.batches))
    for name, places in pace.items():
        ratio = "" if name == "ours" else f"   ours is {pace['ours'] / places:.1f} times as fast"
        print(f"{name:14s}{places:10,.0f} places/s{ratio}")
    packages = ("torch", "lightning", *(["rectools"] if "RecTools" in pace else []))
    append(
        "sequential_training",
        {
            "data": data.manifest.name,
            "length": config.length,
            "width": config.width,
            "loss": config.loss,
            "batch_size": config.batch_size,
            "places_per_second": {name: round(places, 1) for name, places in pace.items()},
            **where(*packages),
        },
    )


def settings(peer: str, length: int) -> SASRecConfig:
    """Sizes of a comparison: those that RecTools was timed with, or those of the gSASRec paper."""
    if peer == "rectools":
        return SASRecConfig(length=length, rows="latest", first_items=False, loss="softmax", dropout=0.2)
    return SASRecConfig(
        length=200,
        width=128,
        rows="latest",
        first_items=False,
        loss="gbce",
        num_negatives=256,
        batch_size=32,
        dropout=0.5,
    )


if __name__ == "__main__":
    main()
