"""How fast is DreamRec trained, beside a plain PyTorch loop that does what its published description says?

The same rows, batches of 256, width 64, ten items of history, one SASRec block, a linear denoiser, AdamW. The
plain loop draws rows from a data frame and makes lists of them, encodes every place of the padded rows, masks
by sums of features and picks the last state row by row, as the released code does; ours is the recommender
itself, seeded at each step as its trainer does. Before the timing both get the same weights and must give the
same loss and gradient on one batch, with nothing dropped.

    python benchmarks/dreamrec_training.py --data FOLDER      # a built recommendation folder, such as zhihu
    python benchmarks/dreamrec_training.py                    # drawn sequences of the same size

Prints rows per second and appends one JSON line to ``benchmarks/results/dreamrec_training.jsonl``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from record import append, in_turns, processor_seconds, seconds, where
from torch import Tensor, nn

from graphrec.catalogue import Catalogue
from graphrec.data import RecommendationData
from graphrec.dreamrec import DreamRec, DreamRecConfig
from graphrec.dreamrec.objective import Drawn, Objective
from graphrec.dreamrec.prefixes import PrefixBatch
from graphrec.dreamrec.schedules import Diffusion
from graphrec.histories import Histories
from graphrec.module import step_seed
from graphrec.sequential.reference.sasrec import SASRecEncoder

WIDTH, LENGTH, STEPS, BATCH = 64, 10, 500, 256


class PlainDreamRec(nn.Module):
    """The network of the published description, every place computed."""

    def __init__(self, num_items: int) -> None:
        super().__init__()
        self.num_items = num_items
        self.encoder = SASRecEncoder(num_items, WIDTH, LENGTH, dropout=0.1)
        self.null = nn.Embedding(1, WIDTH)
        self.step_mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))
        self.denoiser = nn.Linear(3 * WIDTH, WIDTH)

    def step_embedding(self, t: Tensor) -> Tensor:
        half = WIDTH // 2
        frequencies = torch.exp(torch.arange(half) * -(np.log(10_000) / (half - 1)))
        angles = t[:, None] * frequencies[None, :]
        return self.step_mlp(torch.cat([angles.sin(), angles.cos()], dim=-1))

    def history(self, rows: Tensor, lengths: Tensor, null_rate: float) -> Tensor:
        states = self.encoder.all_states(rows)  # [B, L, d]
        last = torch.stack([states[b, lengths[b] - 1] for b in range(len(rows))])
        kept = ((torch.sign(torch.rand(len(rows)) - null_rate) + 1) / 2)[:, None].expand(-1, WIDTH)
        return last * kept + self.null(torch.tensor([0])) * (1 - kept)

    def denoise(self, x_t: Tensor, history: Tensor, t: Tensor) -> Tensor:
        return self.denoiser(torch.cat([x_t, history, self.step_embedding(t)], dim=1))


class PlainTraining:
    """Rows as Python lists, one batch drawn at a time."""

    def __init__(self, rows: list[list[int]], lengths: list[int], targets: list[int], num_items: int) -> None:
        self.frame = pd.DataFrame({"seq": rows, "len_seq": lengths, "next": targets})
        self.model = PlainDreamRec(num_items)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-2, eps=1e-8, weight_decay=0.0)
        diffusion = Diffusion.build("linear", STEPS)
        self.signal, self.noise = diffusion.signal_scales.float(), diffusion.noise_scales.float()

    def loss(self, chosen: pd.DataFrame, null_rate: float = 0.1) -> Tensor:
        columns = chosen.to_dict()
        rows, lengths, targets = (
            torch.LongTensor(list(columns[name].values())) for name in ("seq", "len_seq", "next")
        )
        x0 = self.model.encoder.item_embeddings(targets)
        history = self.model.history(rows, lengths, null_rate)
        t = torch.randint(0, STEPS, (len(chosen),))
        noise = torch.randn_like(x0)
        x_t = self.signal.gather(-1, t)[:, None] * x0 + self.noise.gather(-1, t)[:, None] * noise
        return nn.functional.mse_loss(x0, self.model.denoise(x_t, history, t))

    def steps(self, count: int) -> None:
        self.model.train()
        for _ in range(count):
            chosen = self.frame.sample(n=BATCH)
            self.optimiser.zero_grad()
            self.loss(chosen).backward()
            self.optimiser.step()


class OurTraining:
    """The recommender's own batches, loss and optimiser, seeded at each step as its trainer does."""

    def __init__(self, catalogue: Catalogue, train: Histories) -> None:
        self.recommender = DreamRec(
            DreamRecConfig.reference(width=WIDTH, length=LENGTH, num_steps=STEPS, batch_size=BATCH, lr=1e-2)
        )
        self.recommender.start(catalogue, seed=0)
        self.train = train
        self.optimiser = self.recommender.optimiser()

    def steps(self, count: int) -> None:
        self.recommender.network.train()
        batches = self.recommender.batches(self.train, 0, 0)
        for step in range(count):
            torch.manual_seed(step_seed(0, step))
            self.optimiser.zero_grad()
            self.recommender.loss(next(batches), step)["loss"].backward()
            self.optimiser.step()


def drawn_sequences(num_items: int = 4838, count: int = 9371) -> tuple[Catalogue, Histories]:
    """Sequences of the size of the published Zhihu part, items drawn by a power law."""
    rng = np.random.default_rng(0)
    lengths = 3 + rng.geometric(0.28, size=count)
    weights = 1 / np.arange(10, num_items + 10)
    items = rng.choice(num_items, size=int(lengths.sum()), p=weights / weights.sum())
    return Catalogue([str(n) for n in range(num_items)]), Histories.from_lengths(items, lengths)


def plain_rows(train: Histories, pad: int) -> tuple[list[list[int]], list[int], list[int]]:
    """Every prefix as a padded list, its length (at least one) and its target."""
    rows, lengths, targets = [], [], []
    for sequence in train.lists():
        for place, target in enumerate(sequence):
            history = sequence[max(0, place - LENGTH) : place]
            rows.append(history + [pad] * (LENGTH - len(history)))
            lengths.append(max(1, len(history)))
            targets.append(target)
    return rows, lengths, targets


def check(plain: PlainTraining, ours: OurTraining) -> None:
    """Same weights, batch, steps and noise: same loss and same gradient of the table."""
    network = ours.recommender.network
    network.encoder.load_state_dict(plain.model.encoder.state_dict())
    network.denoiser.first.load_state_dict(plain.model.denoiser.state_dict())
    network.denoiser.steps.widen.load_state_dict(plain.model.step_mlp[0].state_dict())
    network.denoiser.steps.narrow.load_state_dict(plain.model.step_mlp[2].state_dict())
    plain.model.eval(), network.eval()
    plain.model.encoder.masking = "padding"  # sums of features lose rows by rounding
    chosen = plain.frame[:BATCH]
    torch.manual_seed(0)
    theirs = plain.loss(chosen, null_rate=-1.0)
    theirs.backward()
    batch = PrefixBatch(*(torch.tensor(chosen[name].tolist()) for name in ("seq", "next")))
    torch.manual_seed(0)
    torch.rand(BATCH)
    history, x0 = network.encode_and_look_up(*batch)
    drawn = Drawn(x0, torch.randint(0, STEPS, (BATCH,)), torch.randn_like(x0), history)
    mine = (x0 - Objective(network, ours.recommender.config).denoise(drawn)).square().mean()
    mine.backward()
    torch.testing.assert_close(mine, theirs)
    pair = (part.item_embeddings.weight.grad for part in (network.encoder, plain.model.encoder))
    torch.testing.assert_close(*pair)
    plain.model.encoder.masking = "zero_sum"


def timed(steps: Callable[[int], None], count: int, clock: Callable[[Callable[[], Any]], float]) -> float:
    """Seconds for a number of steps."""
    return clock(lambda: steps(count))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="a built recommendation folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--wall", action="store_true", help="wall-clock time; default: processor time")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.data:
        data = RecommendationData(options.data)
        source, catalogue, train = data.manifest.name, data.catalogue, data.train
    else:
        source, (catalogue, train) = "drawn", drawn_sequences()
    plain = PlainTraining(*plain_rows(train, len(catalogue)), len(catalogue))
    ours = OurTraining(catalogue, train)
    check(plain, ours)
    clock = seconds if options.wall else processor_seconds
    taken = in_turns(
        {
            "ours": lambda: timed(ours.steps, options.steps, clock),
            "plain": lambda: timed(plain.steps, options.steps, clock),
        },
        options.rounds,
    )
    speed = {name: options.steps * BATCH / value for name, value in taken.items()}
    ratio = speed["ours"] / speed["plain"]
    print(f"{source}: ours {speed['ours']:,.0f} rows/s, plain {speed['plain']:,.0f} rows/s, {ratio:.1f}x")
    line = {
        "source": source,
        "rows_per_second": {name: round(value) for name, value in speed.items()},
        "ratio": round(ratio, 2),
        **where("torch", "numpy"),
    }
    append("dreamrec_training", line)


if __name__ == "__main__":
    main()
