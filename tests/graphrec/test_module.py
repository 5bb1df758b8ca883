"""Training through Lightning: learning, the best weights, an exact resume, options that hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from tiny_recommenders import LastItems, LastItemsConfig, tiny_data

from graphrec.data import RecommendationData
from graphrec.histories import Histories
from graphrec.module import step_seed
from graphrec.ranking import metric_value, protocol_ranks
from graphrec.simple import Popularity
from graphrec.trainer import TrainerConfig
from moltc.backbone.checkpoint import CheckpointError

EPOCHS, BATCHES = 3, 4
CONFIG = LastItemsConfig(batch_size=16)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return tiny_data(tmp_path_factory.mktemp("walks"), count=60)


class StoppedError(Exception):
    """The run was killed."""


class Killed(LastItems):
    """Dies in the middle of an epoch, and says which batches it was given."""

    def __init__(self, config: Any = None, dies_at: int | None = None) -> None:
        super().__init__(config)
        self.dies_at = dies_at
        self.losses: dict[int, float] = {}

    def loss(self, batch: Any, step: int) -> dict[str, torch.Tensor]:
        if step == self.dies_at:
            raise StoppedError
        parts = super().loss(batch, step)
        self.losses[step] = float(parts["loss"].detach())
        return parts


def options(**changes: Any) -> TrainerConfig:
    return TrainerConfig(**{"max_epochs": EPOCHS, "checkpoint_every": 1, "log_every": 1, **changes})


def fit(data: RecommendationData, folder: Path, resume: Path | None = None, **others: Any) -> Killed:
    model = Killed(CONFIG, others.pop("dies_at", None))
    model.fit(data, trainer=options(**others), folder=folder, resume=resume, seed=3)
    return model


def test_it_learns_and_keeps_the_best_weights(data: RecommendationData, tmp_path: Path) -> None:
    model = LastItems(LastItemsConfig(rate=0.05))
    report = model.fit(data, trainer=TrainerConfig(max_epochs=25), folder=tmp_path)
    popular = Popularity()
    popular.fit(data)
    found, simple = (
        metric_value("NDCG@10", protocol_ranks(one, data.valid, data.manifest)) for one in (model, popular)
    )
    assert report.score == ("NDCG@10", pytest.approx(found))
    assert found > simple + 0.1
    log = pl.read_csv(tmp_path / "logs/version_0/metrics.csv", infer_schema_length=None)
    assert log["val/NDCG@10"].max() == pytest.approx(found)
    assert report.best_epoch == log["val/NDCG@10"].drop_nulls().arg_max()


@pytest.mark.parametrize("dies_at", [5, 7, 8, 10], ids=["within", "before-last", "epoch-start", "late"])
def test_a_resumed_run_is_the_uninterrupted_one(
    data: RecommendationData, tmp_path: Path, dies_at: int
) -> None:
    whole = fit(data, tmp_path / "whole")
    with pytest.raises(StoppedError):
        fit(data, tmp_path / "broken", dies_at=dies_at)
    resumed = fit(data, tmp_path / "broken", resume=tmp_path / "broken/checkpoints/last.ckpt")
    assert resumed.losses == {step: whole.losses[step] for step in range(dies_at, EPOCHS * BATCHES)}
    ends = [
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)
        for name in ("whole", "broken")
    ]
    assert ends[0]["state_dict"].keys() == ends[1]["state_dict"].keys()
    for name, value in ends[0]["state_dict"].items():
        assert torch.equal(value, ends[1]["state_dict"][name])
    for ours, theirs in zip(*(flat(end["optimizer_states"]) for end in ends), strict=True):
        assert torch.equal(torch.as_tensor(ours), torch.as_tensor(theirs))
    assert whole.arrays().keys() == resumed.arrays().keys()
    for name, array in whole.arrays().items():
        assert (array == resumed.arrays()[name]).all()


def flat(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from flat(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from flat(inner)
    elif value is not None:
        yield value


def test_without_a_folder_nothing_is_left_behind(
    data: RecommendationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    LastItems(CONFIG).fit(data, trainer=TrainerConfig(max_epochs=1))
    assert list(tmp_path.iterdir()) == []


def test_early_stopping_tells(data: RecommendationData) -> None:
    report = LastItems(LastItemsConfig(rate=1e-12)).fit(data, trainer=options(max_epochs=20, patience=2))
    assert report.epochs == 3
    assert "did not improve" in report.notes[0]


def test_a_run_that_ends_within_an_epoch_is_validated(data: RecommendationData) -> None:
    report = LastItems(CONFIG).fit(data, trainer=options(max_epochs=-1, max_steps=2))
    assert report.score is not None
    assert report.score[1] > 0


def test_time_ends_a_run(data: RecommendationData) -> None:
    report = LastItems(CONFIG).fit(data, trainer=options(max_epochs=-1, max_time="00:00:00:01"))
    assert report.epochs > 0


def test_refitting_on_validation_chooses_nothing(data: RecommendationData) -> None:
    report = LastItems(CONFIG).fit(data, trainer=options(max_epochs=2), refit_on_trainval=True)
    assert (report.epochs, report.score) == (2, None)
    with pytest.raises(ValueError, match="leave patience and validation_rows out"):
        LastItems(CONFIG).fit(data, trainer=options(patience=2), refit_on_trainval=True)


def test_validation_rows_are_a_fixed_choice(data: RecommendationData) -> None:
    reports = [
        LastItems(CONFIG).fit(data, trainer=options(max_epochs=1, validation_rows=7)) for _ in range(2)
    ]
    assert reports[0].score == reports[1].score
    assert reports[0].score[1] * 7 <= 7


def test_another_model_is_no_checkpoint_to_go_on_from(data: RecommendationData, tmp_path: Path) -> None:
    fit(data, tmp_path)
    other = LastItems(LastItemsConfig(width=4))
    with pytest.raises(CheckpointError, match="keeps its settings, these differ: model.width was 8, is 4"):
        other.fit(data, trainer=options(), resume=tmp_path / "checkpoints/last.ckpt")
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        other.fit(data, trainer=options(), resume=tmp_path / "checkpoints/none.ckpt")


def test_no_batch_is_told(data: RecommendationData) -> None:
    class Empty(LastItems):
        def num_batches(self, train: Histories) -> int:
            return 0

    with pytest.raises(ValueError, match="makes no batch of these 60 sequences"):
        Empty(CONFIG).fit(data, trainer=options())


def test_a_loss_that_is_no_number_is_told(data: RecommendationData) -> None:
    class Broken(LastItems):
        def loss(self, batch: Any, step: int) -> dict[str, torch.Tensor]:
            parts = super().loss(batch, step)
            return {"loss": parts["loss"] * float("nan")}

    with pytest.raises(ValueError, match="the loss is nan at step 0"):
        Broken(CONFIG).fit(data, trainer=options())


def test_each_step_has_a_seed_of_its_own() -> None:
    seeds = {step_seed(seed, step) for seed in range(5) for step in range(50)}
    assert len(seeds) == 250


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"max_epochs": -1}, "training needs an end", id="endless"),
        pytest.param({"max_epochs": 0}, "would train nothing", id="no-epoch"),
        pytest.param({"max_steps": 0}, "would train nothing", id="no-step"),
        pytest.param({"max_time": "2 minutes"}, "is no HH:MM:SS", id="time"),
        pytest.param({"validate_every": 0, "patience": 3}, "patience waits for validations", id="patience"),
        pytest.param({"validate_every": -1}, "validate_every must be 0", id="validate"),
        pytest.param({"patience": -1}, "patience must be 0", id="negative-patience"),
        pytest.param({"validation_rows": 0}, "validation_rows must be at least 1", id="rows"),
        pytest.param({"log_every": 0}, "log_every must be at least 1", id="log"),
    ],
)
def test_options_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainerConfig(**changes)
