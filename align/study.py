"""A study: many losses from the same start on the same data, described by one YAML file.

For each seed a start is trained on the chosen completions; then every method trains from it, on clean data
and, where flips are studied, with some of the training preferences turned round. A cell is one such training:
(method, share of flips, seed). What a cell depends on is hashed, so a study that is started again, or with
some of its settings changed, trains what is missing and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from argparse import ArgumentError
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from align.data import PreferenceDataModule
from align.loss_config import PreferenceLossConfig
from align.optim import OptimConfig
from data_prep.files import existing
from moltc.backbone.language_model import LanguageModelConfig

SET_BY_THE_STUDY = ("seed", "targets_only", "unpair", "flip_noise", "flip_exact")
"""Options of the data module that follow from the cell."""


@dataclass(frozen=True)
class Start:
    """The first stage: what every method starts from and is measured against."""

    loss: PreferenceLossConfig = PreferenceLossConfig(method="sft")
    """Supervised, on the chosen completions."""
    optim: OptimConfig = OptimConfig()
    """Its optimiser."""
    epochs: int = 1
    """Its length."""


@dataclass(frozen=True)
class Method:
    """One row of the study."""

    loss: PreferenceLossConfig
    """What is minimised."""
    lr: float
    """Its highest rate; the rest of the optimiser is the study's."""


@dataclass(frozen=True)
class Flips:
    """Which methods are trained on turned preferences as well."""

    methods: list[str]
    """Names of methods."""
    rates: list[float]
    """Shares of the training examples that are turned round, above 0."""
    exact: bool = False
    """Turn round exactly that share instead of each example with that probability."""


@dataclass(frozen=True)
class StudyConfig:
    """A study; see the module."""

    root: str
    """Folder of starts, scores and results."""
    data: dict[str, Any]
    """Options of :class:`align.data.PreferenceDataModule`; ``{seed}`` in ``folder`` is filled in."""
    methods: dict[str, Method]
    """Methods by the name that they have in the table."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """Of weights, order, draws and flips, and of the split where ``data.folder`` names it."""
    language_model: LanguageModelConfig = LanguageModelConfig()
    """The model, built anew for each seed."""
    start: Start = Start()
    """The first stage."""
    optim: OptimConfig = OptimConfig()
    """Of all methods, but for their rates."""
    epochs: int = 1
    """Length of the second stage."""
    flips: Flips | None = None
    """Null: clean preferences only."""
    baseline: str = "dpo"
    """The method that the others are compared with."""
    split: Literal["valid", "test"] = "test"
    """What is reported; valid is for choosing settings."""
    accelerator: str = "auto"
    """Of the trainer."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Of the trainer."""

    def __post_init__(self) -> None:
        if not self.methods or not self.seeds:
            raise ValueError("a study needs at least one method and one seed")
        if self.baseline not in self.methods:
            raise ValueError(f"baseline {self.baseline!r} is none of the methods: {', '.join(self.methods)}")
        if self.start.loss.method != "sft":
            raise ValueError(f"start.loss.method is {self.start.loss.method!r}: a start imitates, choose sft")
        if min(self.epochs, self.start.epochs) < 1:
            raise ValueError("epochs must be at least 1")
        if taken := [name for name in SET_BY_THE_STUDY if name in self.data]:
            raise ValueError(f"data.{taken[0]} follows from the cell: leave it out")
        if self.flips is not None:
            if unknown := [name for name in self.flips.methods if name not in self.methods]:
                raise ValueError(f"flips.methods names {unknown[0]!r}, which is none of the methods")
            if wrong := [rate for rate in self.flips.rates if not 0 < rate < 1]:
                raise ValueError(f"flips.rates are shares between 0 and 1, not {wrong[0]}")

    @classmethod
    def load(cls, path: Path) -> StudyConfig:
        """Read a study from YAML.

        Raises
        ------
        ValueError : the file is missing or cannot be a study; the message says why.
        """
        from jsonargparse import auto_cli

        existing(path, mend="Name the YAML file of a study.")
        try:
            found: StudyConfig = auto_cli(_given, args=["--study", str(path)], exit_on_error=False)
        except ArgumentError as error:
            raise ValueError(f"{path}: {' '.join(str(error).split())}") from error
        return found

    def cells(self) -> list[Cell]:
        """Everything to train, seed after seed."""
        flips = [] if self.flips is None else [(n, r) for r in self.flips.rates for n in self.flips.methods]
        plan = [*((name, 0.0) for name in self.methods), *flips]
        return [Cell(name, rate, seed) for seed in self.seeds for name, rate in plan]

    def data_module(self, seed: int, **more: Any) -> PreferenceDataModule:
        """The data of a seed.

        Raises:
            ValueError: an option is unknown or impossible.
        """
        folder = str(self.data.get("folder", "")).replace("{seed}", str(seed))
        try:
            return PreferenceDataModule(**(self.data | more | {"folder": folder, "seed": seed}))
        except TypeError as error:
            raise ValueError(f"data: {error}") from error


def _given(study: StudyConfig) -> StudyConfig:
    return study


class Cell(NamedTuple):
    """One training: a method by name, the share of turned preferences, a seed."""

    method: str
    flips: float
    seed: int

    def __str__(self) -> str:
        return f"{self.method}-flips{round(100 * self.flips)}-seed{self.seed}"


def start_settings(study: StudyConfig, seed: int, examples: str) -> dict[str, Any]:
    """What a start depends on; ``examples`` is :meth:`align.records.PreferenceTable.digest` of its data."""
    return {
        "seed": seed,
        "examples": examples,
        "data": {name: value for name, value in study.data.items() if name != "folder"},
        "language_model": asdict(study.language_model),
        "start": asdict(study.start),
        "precision": study.precision,
    }


def cell_settings(study: StudyConfig, cell: Cell, examples: str) -> dict[str, Any]:
    """What a cell depends on: its start, and its own stage."""
    method = study.methods[cell.method]
    own = {
        "loss": asdict(method.loss),
        "optim": asdict(replace(study.optim, lr=method.lr)),
        "epochs": study.epochs,
        "flips": cell.flips,
        "exact": bool(cell.flips and study.flips and study.flips.exact),
        "split": study.split,
    }
    return start_settings(study, cell.seed, examples) | own


def digest(settings: Mapping[str, Any]) -> str:
    """A short hash of settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
