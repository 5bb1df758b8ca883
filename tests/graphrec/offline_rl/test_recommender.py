"""The recommender: every method and backbone learns, resumes to the bit, is saved whole, answers anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_sessions import NUM_ITEMS, write_sessions

from graphrec.data import RecommendationData
from graphrec.histories import Histories
from graphrec.offline_rl import OfflineRL, OfflineRLConfig
from graphrec.offline_rl.methods import METHODS
from graphrec.recommender import Recommender
from graphrec.trainer import TrainerConfig

SHORT = TrainerConfig(max_epochs=2, validate_every=0, log_every=1)


class Killed(OfflineRL):
    """Dies in the middle of the second epoch."""

    def loss(self, batch: Any, step: int) -> dict[str, torch.Tensor]:
        if step == 6:
            raise InterruptedError
        return super().loss(batch, step)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return write_sessions(tmp_path_factory.mktemp("sessions") / "data")


def model(**options: Any) -> OfflineRL:
    return OfflineRL(OfflineRLConfig(**{"width": 8, "num_negatives": 4, "batch_size": 16} | options))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_the_next_item(method: Any, data: RecommendationData) -> None:
    warmup = {"warmup_steps": 20} if method in ("sac", "sa2c") else {}
    learner = model(method=method, learning_rate=0.02, dropout=0.0, **warmup)
    report = learner.fit(data, trainer=TrainerConfig(max_epochs=25, validate_every=5))
    assert report.score is not None
    lists = learner.scores(Histories.from_lists([[number] for number in range(NUM_ITEMS)]))
    ahead = lists.argmax(1) == (np.arange(NUM_ITEMS) + 1) % NUM_ITEMS
    assert ahead.mean() >= 0.75


@pytest.mark.parametrize("backbone", ["gru4rec", "caser", "nextitnet", "sasrec"])
def test_every_backbone_is_saved_whole(backbone: Any, data: RecommendationData, tmp_path: Path) -> None:
    learner = model(backbone=backbone)
    learner.fit(data, trainer=SHORT)
    learner.save_pretrained(tmp_path / "model")
    again = Recommender.from_pretrained(tmp_path / "model")
    assert isinstance(again, OfflineRL) and again.config == learner.config
    rows = Histories.from_lists([[], [1, 2, 3], [4] * 15, [0]])
    np.testing.assert_array_equal(again.scores(rows), learner.scores(rows))
    assert again.item_vectors().shape == (NUM_ITEMS, 8)


@pytest.mark.parametrize("targets", ["alternating", "average"])
def test_a_resumed_run_equals_one_that_never_stopped(
    targets: Any, data: RecommendationData, tmp_path: Path
) -> None:
    options = {"targets": targets, "method": "mcrl", "negatives": "outside_session"}
    options |= {} if targets == "alternating" else {"average_rate": 0.2}
    three_epochs = TrainerConfig(max_epochs=3, validate_every=0, checkpoint_every=5)
    whole, again = model(**options), model(**options)
    broken = Killed(whole.config)
    whole.fit(data, trainer=three_epochs)
    with pytest.raises(InterruptedError):
        broken.fit(data, trainer=three_epochs, folder=tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    again.fit(data, trainer=three_epochs, folder=tmp_path / "run", resume=last)
    expected = whole.network.state_dict()
    for name, weight in again.network.state_dict().items():
        assert torch.equal(weight, expected[name]), name


def test_long_histories_count_by_their_latest_items(data: RecommendationData) -> None:
    learner = model(length=4)
    learner.start(data.catalogue, seed=0)
    long, short = learner.scores(Histories.from_lists([[9, 9, 1, 2, 3, 4], [1, 2, 3, 4]]))
    np.testing.assert_allclose(long, short, rtol=1e-6)


def test_rows_do_not_see_each_other(data: RecommendationData) -> None:
    learner = model()
    learner.start(data.catalogue, seed=0)
    rows = [[1, 2], [], [3], [5, 5, 5, 5, 5]]
    together = learner.scores(Histories.from_lists(rows))
    for row, scores in zip(rows, together, strict=True):
        np.testing.assert_allclose(
            learner.scores(Histories.from_lists([row]))[0], scores, rtol=1e-5, atol=1e-6
        )


def test_ranking_by_policy_value_or_both(data: RecommendationData) -> None:
    found = {}
    for rank_by in ("policy", "value", "both"):
        learner = model(rank_by=rank_by, value_share=0.5)
        learner.start(data.catalogue, seed=0)
        found[rank_by] = learner.scores(Histories.from_lists([[1], []]))
    np.testing.assert_allclose(found["both"], found["policy"] + 0.5 * found["value"], rtol=1e-4, atol=1e-6)
    learner.network.first.values().offset.data.fill_(3.0)
    shifted = learner.scores(Histories.from_lists([[1], []]))
    np.testing.assert_allclose(shifted, found["both"] + 1.5, rtol=1e-4, atol=1e-5)


def test_data_without_kinds_of_events_are_clicks(tmp_path: Path) -> None:
    learner = model()
    learner.fit(write_sessions(tmp_path / "plain", events=False), trainer=SHORT)
    assert set(learner._rewards.tolist()) == {np.float32(0.2)}


def test_the_conservative_term_lowers_the_values_of_random_items(data: RecommendationData) -> None:
    found = {}
    for weight in (0.0, 1.0):
        learner = model(method="cql", conservative_weight=weight, learning_rate=0.02)
        learner.fit(data, trainer=TrainerConfig(max_epochs=10, validate_every=0))
        batch = next(learner.batches(data.train, 0, 0))
        with torch.no_grad():
            found[weight] = learner.loss(batch, 0)["negative_value"].item()
    assert found[1.0] < found[0.0] - 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"backbone": "lstm"}, "choose one of gru4rec", id="backbone"),
        pytest.param({"width": 0}, "width=0", id="width"),
        pytest.param({"dropout": 1.0}, "dropout=1.0", id="dropout"),
        pytest.param({"targets": "copy"}, "alternating", id="targets"),
        pytest.param({"targets": "average", "average_rate": 0.0}, "average_rate=0.0", id="rate"),
        pytest.param({"method": "supervised", "rank_by": "value"}, "needs action values", id="rank-by"),
        pytest.param({"learning_rate": 0.0}, "learning_rate=0.0", id="learning-rate"),
        pytest.param({"learning_rate_after_warmup": 0.001}, "needs warmup_steps", id="warmup"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OfflineRLConfig(**options)


def test_the_rate_falls_behind_the_warmup() -> None:
    learner = model(method="sa2c", warmup_steps=10, learning_rate=0.01, learning_rate_after_warmup=0.001)
    assert learner.rate_factor(9) == 1.0
    assert learner.rate_factor(10) == pytest.approx(0.1)
