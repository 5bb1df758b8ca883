"""Settings of the sequential recommenders: the strong form by default, ``reference()`` gives the other.

Klenitskiy & Vasilev (RecSys 2023) is why the default loss is over the whole catalogue, gSASRec (RecSys 2023)
where calibrated negatives are from. The reference is what DROS (SIGIR 2023), DreamRec and LLaRA compare with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

Loss = Literal["softmax", "sampled_softmax", "gbce", "bce"]
REFERENCE: dict[str, Any] = {
    "network": "reference",
    "rows": "prefixes",
    "length": 10,
    "dropout": 0.1,
    "loss": "bce",
    "num_negatives": 1,
    "shared_negatives": False,
    "tied": False,
    "optimiser": "adam",
    "lr": 1e-3,
    "weight_decay": 1e-6,
    "betas": (0.9, 0.999),
    "batch_size": 256,
    "order": "draws",
    "warmup_steps": 0,
}


@dataclass(frozen=True)
class SequentialConfig:
    """What GRU4Rec, Caser and SASRec have in common.

    Attributes:
        network: "strong" computes no padding; "reference" is the published computation on padded rows.
        width: of item vectors and states, d.
        length: latest items that are read, L.
        dropout: share of features dropped while training.
        tied: score with the vectors that are read; False: with a table of their own and a bias.
        item_std: standard deviation of the item vectors at the start; None: the network's own habit.
        start_vectors: "random"; "cooccurrence": item vectors start from a factorisation of what occurs near
            what in the fitted part; or the folder of a saved recommender with item vectors of the same width.
        rows: "windows" trains every place of every sequence, cut anew each epoch where it is longer than L;
            "latest" the latest L places of each sequence; "prefixes" makes each interaction a row.
        first_items: the first item of a sequence is a target too; else empty histories are ranked alike.
        loss: "softmax" over the whole catalogue, "sampled_softmax", "gbce" or "bce".
        num_negatives: K of the losses that sample.
        shared_negatives: one sample for a batch; False: one for each place.
        negative_power: shared negatives are drawn by count to this power: 0 evenly, 1 by popularity.
        correct_sampling: sampled softmax estimates the sum over the catalogue (logQ correction).
        calibration: t of gBCE.
        optimiser: "adamw", or "adam", whose weight decay is an L2 penalty.
        lr, weight_decay, betas: of the optimiser.
        warmup_steps: steps over which the learning rate rises.
        decay_steps: steps after which it has fallen to its ``floor``, by half a cosine; 0: it stays.
        floor: share of the learning rate that remains.
        batch_size: rows of a batch.
        order: "pass" trains each row once an epoch; "draws" draws each batch from all rows.
        memory_weight: weight of the log of ordered co-occurrence in the scores; 0: the network alone. It
            takes no part in training: choose it on validation rows.
        memory_decay: weight of an item of the history against that of the next later one.
        memory_recent: share of the latest sequences whose counts answer empty histories, in place of the
            network; below 1 the sequences have to be in order of time.
        seen_last: rank items of the history behind all others, where no fitted sequence repeats an item.
        vectors: what ``item_vectors()`` gives: what is read ("input"), what scores ("output"), or their mean.
    """

    network: Literal["strong", "reference"] = "strong"
    width: int = 64
    length: int = 50
    dropout: float = 0.2
    tied: bool = True
    item_std: float | None = None
    start_vectors: str = "random"
    rows: Literal["windows", "latest", "prefixes"] = "windows"
    first_items: bool = True
    loss: Loss = "softmax"
    num_negatives: int = 256
    shared_negatives: bool = True
    negative_power: float = 0.0
    correct_sampling: bool = True
    calibration: float = 0.75
    optimiser: Literal["adamw", "adam"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    warmup_steps: int = 100
    decay_steps: int = 0
    floor: float = 0.02
    batch_size: int = 128
    order: Literal["pass", "draws"] = "pass"
    memory_weight: float = 0.0
    memory_decay: float = 0.7
    memory_recent: float = 1.0
    seen_last: bool = False
    vectors: Literal["input", "output", "mean"] = "input"

    @classmethod
    def reference(cls, **changes: Any) -> Self:
        """The settings of published comparisons, but for what is given."""
        return cls(**{**REFERENCE, **changes})

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_combinations()

    def _check_numbers(self) -> None:
        for name in ("width", "length", "batch_size", "num_negatives"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("weight_decay", "negative_power", "warmup_steps", "decay_steps", "memory_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("floor", "calibration", "memory_decay", "memory_recent"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share between 0 and 1, not {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a share from 0 to below 1, not {self.dropout}")
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, not {self.lr}")
        if self.item_std is not None and not self.item_std > 0:
            raise ValueError(f"item_std must be above 0, not {self.item_std}")

    def _check_combinations(self) -> None:
        if self.network == "reference" and self.rows != "prefixes":
            raise ValueError(
                "the reference network trains the last place of a row: rows must be 'prefixes', not "
                f"{self.rows!r}"
            )
        if self.network == "reference" and self.tied:
            raise ValueError("the reference network scores with a table of its own: give tied: false")
        if self.decay_steps and self.decay_steps <= self.warmup_steps:
            raise ValueError(
                f"decay_steps={self.decay_steps} must lie beyond warmup_steps={self.warmup_steps}"
            )
        if self.tied and self.vectors != "input":
            raise ValueError(f"vectors={self.vectors!r} needs a second table; with tied: true give 'input'")
        if self.order == "draws" and self.rows != "prefixes":
            raise ValueError("order='draws' draws rows of prefixes: give rows: prefixes, or order: pass")
        if not self.shared_negatives and (self.negative_power or self.loss == "sampled_softmax"):
            raise ValueError(
                "negatives of each place are drawn evenly and serve bce and gbce: with negative_power or "
                "sampled_softmax give shared_negatives: true"
            )


@dataclass(frozen=True)
class SASRecConfig(SequentialConfig):
    """SASRec.

    Attributes:
        num_blocks: attention blocks.
        num_heads: heads of each.
        inner: width of the feed-forward part; None: d.
        masking: of the reference network, "padding" or, as published, "zero_sum".
    """

    num_blocks: int = 2
    num_heads: int = 1
    inner: int | None = None
    masking: Literal["padding", "zero_sum"] = "padding"

    @classmethod
    def reference(cls, **changes: Any) -> Self:
        return super().reference(**{"num_blocks": 1, **changes})

    def _check_combinations(self) -> None:
        super()._check_combinations()
        if self.network == "reference" and (self.num_blocks != 1 or self.inner is not None):
            raise ValueError("the reference network has one block of inner width d: num_blocks 1, inner null")
        if self.network == "strong" and self.masking != "padding":
            raise ValueError(
                "masking='zero_sum' belongs to the reference network; the strong one has no padding"
            )


@dataclass(frozen=True)
class GRU4RecConfig(SequentialConfig):
    """GRU4Rec.

    Attributes:
        num_layers: recurrent layers.
        hidden: their width; None: d.
    """

    num_layers: int = 1
    hidden: int | None = None

    @classmethod
    def reference(cls, **changes: Any) -> Self:
        return super().reference(**{"dropout": 0.0, **changes})

    def _check_combinations(self) -> None:
        super()._check_combinations()
        if self.network == "reference" and (self.num_layers != 1 or self.hidden is not None or self.dropout):
            raise ValueError(
                "the reference network has one layer of width d without dropout: num_layers 1, hidden null, "
                "dropout 0"
            )


@dataclass(frozen=True)
class CaserConfig(SequentialConfig):
    """Caser.

    Attributes:
        window: places that the strong network's states see; None: L. The reference network sees L.
        heights: places that a horizontal filter spans.
        num_filters: horizontal filters of each height.
        num_vertical: vertical filters; the reference network has one.
    """

    window: int | None = None
    heights: tuple[int, ...] = (2, 3, 4)
    num_filters: int = 16
    num_vertical: int = 4

    @classmethod
    def reference(cls, **changes: Any) -> Self:
        return super().reference(**{"num_vertical": 1, **changes})

    def _check_combinations(self) -> None:
        super()._check_combinations()
        if self.network == "reference" and (self.window is not None or self.num_vertical != 1):
            raise ValueError(
                "the reference network sees L places through one vertical filter: window null, num_vertical 1"
            )
        if self.network == "reference" and self.vectors == "mean":
            raise ValueError("its output vectors are wider than those it reads: vectors 'input' or 'output'")
        if self.window is not None and self.window > self.length:
            raise ValueError(f"window={self.window} is longer than the {self.length} places that are read")
