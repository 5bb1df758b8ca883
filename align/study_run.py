"""Training the cells of a study in one process, one after the other; what is there already is kept.

``root`` holds ``start/`` (the exports that methods start from), ``reference/`` (their cached
log-probabilities), ``scores/`` (a Parquet table for each cell) and ``results.jsonl`` (one line for each
cell, written when its scores are).
"""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import polars as pl
import torch

from align.collate import text_collator
from align.data import PreferenceDataModule
from align.loss_config import build_loss
from align.module import PreferenceModule
from align.policy import Policy, build_policy
from align.preferences import Preferences, concatenate
from align.reference import ReferenceConfig
from align.study import Cell, StudyConfig, cell_settings, digest, start_settings
from align.study_outcomes import outcomes
from align.tokenise import TokenisedExamples
from data_prep.files import replacing
from data_prep.tables import write_parquet
from moltc.backbone.checkpoint import saved_kind
from moltc.backbone.language_model import LanguageModelConfig
from moltc.backbone.training import AtomicCheckpointIO

RESULTS = "results.jsonl"


class StudyRun:
    """The state of a study on disk, and the training of what it lacks."""

    def __init__(self, study: StudyConfig) -> None:
        self.study, self.root = study, Path(study.root)
        self.lines = read_lines(self.root / RESULTS)
        self._examples: dict[int, str] = {}
        self._before: tuple[int, Preferences] | None = None  # seed, and the start's scores of its split

    def line(self, cell: Cell) -> dict[str, Any] | None:
        """What is known of a cell; None until it is trained with the settings of now."""
        return self.lines.get(self._key(cell))

    def missing(self) -> list[Cell]:
        """Cells to train."""
        return [cell for cell in self.study.cells() if self.line(cell) is None]

    def scores(self, cell: Cell) -> pl.DataFrame:
        """One row for each held-out completion; see :func:`scores_table`."""
        return pl.read_parquet(self._scores_file(cell))

    def train(self, cell: Cell) -> dict[str, Any]:
        """Train a cell, score the held-out split, and write both down."""
        study, method = self.study, self.study.methods[cell.method]
        started = time.perf_counter()
        start = self._start(cell.seed)
        before = self._scored_before(cell.seed, start)
        loss = build_loss(method.loss)
        file = self.root / "reference" / f"{start.name}.safetensors"
        module = PreferenceModule(
            loss=method.loss,
            optim=replace(study.optim, lr=method.lr),
            reference=ReferenceConfig(file=str(file)) if loss.needs_reference else ReferenceConfig(),
            start_from=str(start),
            seed=cell.seed,
        )
        data = self._training_data(cell)
        trainer = self._fit(module, data, study.epochs)
        scored = replace(self._scored(module.trained_policy, trainer, cell.seed), reference=before.policy)
        table = scores_table(scored, loss.rewards(scored))
        write_parquet(table, self._scores_file(cell))
        line = {
            **cell._asdict(),
            "digest": self._key(cell),
            "steps": trainer.global_step,
            "skipped_steps": module.skipped_steps,
            "seconds": round(time.perf_counter() - started, 1),
            "train": _counts(data),
            "results": {name: round(value, 5) for name, value in means(table).items()},
            "settings": cell_settings(study, cell, self._digest_of_examples(cell.seed)),
        }
        self._keep(line)
        return line

    # -- stages --------------------------------------------------------------------------------------------

    def _start(self, seed: int) -> Path:
        """The export that all methods of a seed start from, trained when it is not there."""
        study = self.study
        settings = start_settings(study, seed, self._digest_of_examples(seed))
        folder = self.root / "start" / f"seed{seed}-{digest(settings)}"
        if saved_kind(folder) is None:
            module = PreferenceModule(
                study.language_model, study.start.loss, optim=study.start.optim, seed=seed
            )
            self._fit(module, study.data_module(seed, targets_only=True), study.start.epochs)
            module.export(folder)
        return folder

    def _training_data(self, cell: Cell) -> PreferenceDataModule:
        method = self.study.methods[cell.method].loss.method
        more: dict[str, Any] = {"targets_only": method == "sft", "unpair": method == "kto"}
        if cell.flips and self.study.flips is not None:
            more |= {"flip_noise": cell.flips, "flip_exact": self.study.flips.exact}
        return self.study.data_module(cell.seed, **more)

    def _fit(self, module: PreferenceModule, data: PreferenceDataModule, epochs: int) -> lightning.Trainer:
        trainer = self._trainer(epochs)
        trainer.fit(module, data)
        if trainer.interrupted:
            raise ValueError("the training was stopped: start the study again to go on with it")
        return trainer

    def _trainer(self, epochs: int) -> lightning.Trainer:
        return lightning.Trainer(
            default_root_dir=self.root,
            max_epochs=epochs,
            accelerator=self.study.accelerator,
            devices=1,
            precision=self.study.precision,
            logger=False,
            log_every_n_steps=1_000_000,  # nothing is logged
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
            use_distributed_sampler=False,
            plugins=[AtomicCheckpointIO()],
        )

    # -- scoring -------------------------------------------------------------------------------------------

    def _scored_before(self, seed: int, start: Path) -> Preferences:
        """The start's scores of the held-out split, computed once for each seed."""
        if self._before is None or self._before[0] != seed:
            policy = build_policy(LanguageModelConfig(), str(start), seed=seed)
            self._before = seed, self._scored(policy, self._trainer(1), seed)
        return self._before[1]

    def _scored(self, policy: Policy, trainer: lightning.Trainer, seed: int) -> Preferences:
        """Log-probabilities of the held-out split, examples by their id."""
        data = self.study.data_module(seed)
        data.setup()
        data.make_collator = partial(text_collator, policy.language_model, policy.pack)
        policy.to(trainer.strategy.root_device).eval()
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            parts = [
                policy.preferences(batch.to(policy.model.device)).to("cpu")
                for batch in data.loader(self.study.split)
            ]
        whole = concatenate(parts)
        assert whole.ids is not None
        return whole.rows(whole.ids.argsort())

    # -- files ---------------------------------------------------------------------------------------------

    def _digest_of_examples(self, seed: int) -> str:
        if seed not in self._examples:
            data = self.study.data_module(seed)
            data.setup()
            assert data.table is not None
            self._examples[seed] = data.table.digest()
        return self._examples[seed]

    def _key(self, cell: Cell) -> str:
        return digest(cell_settings(self.study, cell, self._digest_of_examples(cell.seed)))

    def _scores_file(self, cell: Cell) -> Path:
        return self.root / "scores" / f"{cell}-{self._key(cell)}.parquet"

    def _keep(self, line: dict[str, Any]) -> None:
        self.lines[line["digest"]] = line
        with replacing(self.root / RESULTS) as partial:
            partial.write_text("".join(json.dumps(one) + "\n" for one in self.lines.values()), "utf-8")


@contextmanager
def quietly() -> Iterator[None]:
    """Without what Lightning and the tokenisation say anew for each of many trainings; cuts are counted in
    the results."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "align.tokenise")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def read_lines(file: Path) -> dict[str, dict[str, Any]]:
    """The lines of a results file by their digest; none where there is no file."""
    if not file.is_file():
        return {}
    lines = (json.loads(line) for line in file.read_text("utf-8").splitlines())
    return {line["digest"]: line for line in lines}


def scores_table(scored: Preferences, rewards: torch.Tensor | None) -> pl.DataFrame:
    """Held-out completions: example_id, completion (0 is the chosen one), tokens, logp, ref_logp, reward.

    Args:
        scored: log-probabilities under the trained model and, as reference, under its start.
        rewards: ``[N, 1 + K]`` of the method; None: it has none of its own, and the log-ratio stands.
    """
    assert scored.ids is not None
    row, place = scored.scored.nonzero(as_tuple=True)
    reward = scored.log_ratios() if rewards is None else rewards
    columns = {
        "example_id": scored.ids[row],
        "completion": place,
        "tokens": scored.lengths[row, place],
        "logp": scored.sums()[row, place],
        "ref_logp": scored.ref_sums()[row, place],
        "reward": reward[row, place],
    }
    return pl.DataFrame({name: column.numpy() for name, column in columns.items()})


def means(table: pl.DataFrame) -> dict[str, float]:
    """Means over the held-out examples of a scores table; see :func:`align.study_outcomes.outcomes`."""
    found = outcomes(table).drop("example_id")
    return {name: float(found[name].to_numpy().mean()) for name in found.columns}


def _counts(data: PreferenceDataModule) -> dict[str, Any]:
    """How many examples were trained on, how many of them were turned round, and what was cut."""
    assert data.table is not None
    examples, rows = data.collator("train").examples, data.rows("train")
    cuts = asdict(examples.cuts) if isinstance(examples, TokenisedExamples) else {}
    return cuts | {"flipped": int(data.table.flipped[rows].sum())}
