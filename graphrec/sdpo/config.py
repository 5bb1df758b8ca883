"""Settings of preference training: where it starts, what is rejected, against which reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from graphrec.language.config import check_choices

Negatives = Literal["shown", "uniform", "popular"]


@dataclass(frozen=True)
class SDPOConfig:
    """Softmax-DPO (arXiv 2406.09215) on a saved recommender that reads and scores titles.

    Attributes:
        start: folder of the saved recommender. What is saved in the end is one of its kind, trained further.
        method: "sdpo"; or "sft", more of the next-title loss on the same rows in the same order, to compare
            with: preference training must beat equal training without it.
        num_negatives: rejected titles of a row, K.
        beta: how strongly the model is held to its start.
        negatives: what rejected titles are drawn from, for each row: "shown", the other candidates of its
            prompt; "uniform" or "popular", items of the catalogue, all alike or by how often they occur.
            Never the target, its title or anything the sequence held before.
        pool: items drawn for a row once, K of which are rejected at a time; of "shown" it is the list.
        mined: reject the K of the pool that the model finds most likely at the time; else they are drawn.
        redraw: draw them anew each epoch, which costs the reference nothing; else once.
        reference: "cached", the start scores every title of every pool before training; "online", a copy of
            it scores what a step rejects.
        reference_file: where cached log-probabilities are kept, for several runs to share; None: in the
            folder of the run.
        rows: train on so many rows, drawn once; None: every item but the first of each sequence.
        released: a published file of rows with candidate lists to train on in place of the data's, with
            negatives "shown"; its lists tell where the target stands, see the leakage probe.
        dropout: leave the start's dropout on. It makes noise that reads as reward.
        batch_size: rows of a batch.
        lr, betas, weight_decay: of AdamW.
        warmup_steps: linear rise of the learning rate.
        decay_steps: steps at whose end the learning rate has fallen to zero along a cosine; None: it stays.
    """

    start: str = ""
    method: Literal["sdpo", "sft"] = "sdpo"
    num_negatives: int = 3
    beta: float = 1.0
    negatives: Negatives = "uniform"
    pool: int = 19
    mined: bool = False
    redraw: bool = True
    reference: Literal["cached", "online"] = "cached"
    reference_file: str | None = None
    rows: int | None = None
    released: str | None = None
    dropout: bool = False
    batch_size: int = 32
    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.0
    warmup_steps: int = 20
    decay_steps: int | None = None

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("num_negatives", "pool", "batch_size", "rows", "decay_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if self.num_negatives > self.pool:
            raise ValueError(
                f"num_negatives {self.num_negatives} are drawn from a pool of {self.pool}: enlarge the pool"
            )
        if not self.beta > 0 or not self.lr > 0:
            raise ValueError(f"beta={self.beta} and lr={self.lr} must be above 0")
        if self.weight_decay < 0 or self.warmup_steps < 0:
            raise ValueError(
                f"weight_decay={self.weight_decay} and warmup_steps={self.warmup_steps} must not be negative"
            )
        if self.decay_steps is not None and self.decay_steps <= self.warmup_steps:
            raise ValueError(f"decay_steps {self.decay_steps} must lie behind the warm-up")
        if self.mined and not self.redraw:
            raise ValueError("mined negatives change with the model: give redraw true with them")
        if self.reference_file is not None and self.reference == "online":
            raise ValueError("reference_file keeps a cache: leave it out with reference 'online'")
        if self.released is not None and self.negatives != "shown":
            raise ValueError("released rows bring their negatives: give negatives 'shown' with them")

    @property
    def is_plain(self) -> bool:
        """Whether nothing is compared, so that neither negatives nor a reference are needed."""
        return self.method == "sft"
