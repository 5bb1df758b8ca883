"""Training stops when the validated score no longer gets better, and the best weights are kept."""

from __future__ import annotations

import lightning
import polars as pl
import pytest
import torch
from tiny_pairs import arguments, trainer
from torch.utils.data import DataLoader

from moltc.lightning_cli import run
from moltc.selection import StopEarly
from moltc.training import AtomicCheckpointIO, LastCheckpoint

NAN = float("nan")


class Scripted(lightning.LightningModule):
    """Logs a written list of validation scores, one an epoch, and learns nothing."""

    def __init__(self, scores) -> None:
        super().__init__()
        self.scores, self.weight = scores, torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, index):
        return self.weight.sum()

    def validation_step(self, batch, index):
        self.log("val/score", torch.tensor(self.scores[self.current_epoch]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Two(lightning.LightningDataModule):
    """Two rows, and the name of a score."""

    def __init__(self, mode) -> None:
        super().__init__()
        self.score = ("val/score", mode)

    def train_dataloader(self):
        return DataLoader(torch.zeros(2, 1))

    val_dataloader = train_dataloader


def epochs(tmp_path, scores, patience, mode="min", *, every=1, resume=None, until=None) -> int:
    """Epochs that a run with these scores takes."""
    stop = StopEarly(patience)
    runner = trainer(
        tmp_path,
        max_epochs=until or len(scores),
        callbacks=[stop, LastCheckpoint(tmp_path / "last.ckpt", 0)],
        plugins=[AtomicCheckpointIO()],
        check_val_every_n_epoch=every,
        enable_checkpointing=True,
    )
    runner.fit(Scripted(scores), datamodule=Two(mode), ckpt_path=resume)
    assert (stop.told is not None) == runner.should_stop
    return runner.current_epoch


@pytest.mark.parametrize(
    ("scores", "patience", "mode", "expected"),
    [
        ([3, 2, 1, 1, 1, 1], 2, "min", 5),
        ([3, 4, 2, 4, 1, 4], 2, "min", 6),
        ([0.5, 0.6, 0.6, 0.7, 0.1], 1, "max", 3),
        ([NAN, NAN, NAN, 2, 1, 1], 1, "min", 6),
        ([2, NAN, NAN, 1, 1], 2, "min", 3),
    ],
    ids=["no-better", "now-and-then-better", "higher-is-better", "no-answers-at-first", "undefined-later"],
)
def test_stops_after_so_many_validations_without_a_better_score(tmp_path, scores, patience, mode, expected):
    assert epochs(tmp_path, [float(s) for s in scores], patience, mode) == expected


def test_validations_are_counted_and_not_epochs(tmp_path):
    assert epochs(tmp_path, [1.0] * 12, 2, every=2) == 6


def test_resumed_run_goes_on_counting(tmp_path):
    scores = [1.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    assert epochs(tmp_path, scores, 3, until=3) == 3
    assert epochs(tmp_path, scores, 3, resume=tmp_path / "last.ckpt") == 4


def test_patience_is_the_one_asked_for_when_resumed(tmp_path):
    scores = [1.0] + [2.0] * 9
    assert epochs(tmp_path, scores, 2, until=2) == 2
    assert epochs(tmp_path, scores, 5, resume=tmp_path / "last.ckpt") == 6


def test_early_stopping_of_a_run(pairs_folder, tmp_path, capsys):
    """Promise: one option ends a run that gets no better, says so, and exports its best weights."""
    options = {"early_stopping": 2, "trainer__max_epochs": 60, "model__optim__lr_language_model": 0.5}
    assert run("fit", arguments("fit", pairs_folder("solvation"), tmp_path, **options)) == 0
    said = capsys.readouterr().out
    log = pl.read_csv(tmp_path / "logs/version_0/metrics.csv", infer_schema_length=None)
    scores = log["val/rmse"].drop_nulls().to_list()
    assert len(scores) < 60
    assert min(scores) == scores[-3]
    assert f"stopped early in epoch {len(scores) - 1}: val/rmse did not improve" in said
    best = torch.load(tmp_path / "checkpoints/best.ckpt", weights_only=True)
    assert best["epoch"] == len(scores) - 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"early_stopping": -1}, "at least 1 validation"),
        ({"early_stopping": 2, "trainer__limit_val_batches": 0}, "early_stopping needs validations"),
    ],
    ids=["negative", "no-validation"],
)
def test_early_stopping_that_cannot_be_is_refused(pairs_folder, tmp_path, capsys, options, message):
    assert run("fit", arguments("fit", pairs_folder("solvation"), tmp_path, **options)) == 2
    assert message in capsys.readouterr().err
