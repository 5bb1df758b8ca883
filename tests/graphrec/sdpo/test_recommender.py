"""S-DPO on small LLaRA models: the loss, its reference, what is drawn, resumed and saved."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_recommenders import tiny_data, walks

from align import losses
from align.reference_cache import CacheMismatchError
from graphrec.data import RecommendationData
from graphrec.llara.config import LlaraConfig
from graphrec.llara.recommender import Llara
from graphrec.recommender import Recommender
from graphrec.registry import MODELS
from graphrec.sdpo.config import SDPOConfig
from graphrec.sdpo.recommender import SDPO
from graphrec.simple import Popularity
from graphrec.trainer import TrainerConfig

SMALL = SDPOConfig(num_negatives=3, pool=5, rows=40, batch_size=8, lr=1e-2, warmup_steps=0)
LAYOUTS = ("windows", "candidates")


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "llara", "graphrec.llara.recommender:Llara")
    monkeypatch.setitem(MODELS, "sdpo", "graphrec.sdpo.recommender:SDPO")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    lists = [list(dict.fromkeys([*walk[-2:], *range(9)]))[:6] for walk in walks(24, 30, 8)]
    candidates = [[found] for found in lists]
    return tiny_data(tmp_path_factory.mktemp("listed"), count=30, length=8, candidates=candidates)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return tiny_data(tmp_path_factory.mktemp("plain"), count=30, length=8)


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory, plain: RecommendationData) -> dict[str, Path]:
    folders = {}
    for layout in LAYOUTS:
        config = LlaraConfig(
            layout=layout,
            width=16,
            heads=2,
            layers=1,
            vector_width=8,
            length=4,
            num_candidates=6,
            dropout=0.3,
        )
        model = Llara(config)
        model.fit(plain, trainer=TrainerConfig(max_epochs=1, max_steps=5, validate_every=0))
        folders[layout] = tmp_path_factory.mktemp(layout) / "export"
        model.save_pretrained(folders[layout])
    return folders


def prepared(start: Path, data: RecommendationData, **settings: Any) -> SDPO:
    """Ready to train, before the first step."""
    model = SDPO(replace(SMALL, start=str(start), **settings))
    model.start(data.catalogue, seed=1)
    model.prepare(data.train_interactions)
    return model


class StoppedError(Exception):
    pass


class Killed(SDPO):
    """Preference training that dies before a step."""

    dies_at: int | None = None

    def loss(self, batch: Any, step: int) -> dict[str, torch.Tensor]:
        if step == self.dies_at:
            raise StoppedError
        return super().loss(batch, step)


def fitted(start: Path, data: RecommendationData, steps: int, **settings: Any) -> SDPO:
    options = {name: settings.pop(name) for name in ("folder", "resume") if name in settings}
    dies_at = settings.pop("dies_at", None)
    model = Killed(replace(SMALL, start=str(start), **settings))
    model.dies_at = dies_at
    trainer = TrainerConfig(max_epochs=-1, max_steps=steps, validate_every=0, checkpoint_every=1)
    model.fit(data, trainer=trainer, seed=1, **options)
    return model


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("reference", ["cached", "online"])
@pytest.mark.parametrize("negatives", [1, 3, 5], ids=["dpo", "three", "five"])
def test_the_loss_starts_at_log_one_plus_k(
    layout: str, reference: Any, negatives: int, starts: dict[str, Path], plain: RecommendationData
) -> None:
    model = prepared(starts[layout], plain, reference=reference, num_negatives=negatives)
    batch = next(model.batches(plain.train, 0, 1))
    found = model.loss(batch, 0)
    assert found["loss"].item() == pytest.approx(math.log(1 + negatives), abs=2e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_loss_is_aligns_on_the_same_numbers(
    layout: str, starts: dict[str, Path], plain: RecommendationData
) -> None:
    """Policy moved away from the start; titles scored one at a time, the reference by a second model."""
    model = prepared(starts[layout], plain)
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    batch = next(model.batches(plain.train, 0, 1))
    loss = model.loss(batch, 0)["loss"]
    start = Recommender.from_pretrained(starts[layout])
    assert isinstance(start, Llara)
    titles = np.take_along_axis(model.rows.titles[batch.rows], batch.places, axis=1)
    sums = []
    for recommender in (model.model, start):
        rows = []
        for row, items in zip(batch.rows.tolist(), titles.tolist(), strict=True):
            history = model.rows.lists[row]
            tree = recommender.prompt(history, model.rows.shown[row].tolist())
            with recommender.inference():
                each = [
                    recommender.network.log_probs(
                        [tree.with_completions([recommender.network.title(item)])]
                    ).logps
                    for item in items
                ]
            rows.append(torch.cat(each))
        sums.append(torch.stack(rows))
    policy, reference = sums
    wanted = losses.sdpo(policy[:, 0], policy[:, 1:], reference[:, 0], reference[:, 1:], beta=1.0).mean()
    assert loss.item() == pytest.approx(float(wanted), abs=1e-5)
    assert abs(loss.item() - math.log(4)) > 1e-2


def test_training_raises_the_chosen_title_above_the_others(
    starts: dict[str, Path], plain: RecommendationData
) -> None:
    model = prepared(starts["windows"], plain, redraw=False)
    optimiser, batch = model.optimiser(), next(model.batches(plain.train, 0, 1))
    for step in range(15):
        optimiser.zero_grad()
        found = model.loss(batch, step)
        found["loss"].backward()
        optimiser.step()
    assert found["loss"].item() < 0.5
    assert float(found["accuracy"]) > 0.9
    assert float(found["chosen_mass"]) > 0.6


@pytest.mark.parametrize("negatives", ["shown", "uniform", "popular"])
def test_negatives_never_hold_target_or_history(
    negatives: Any, starts: dict[str, Path], plain: RecommendationData
) -> None:
    model = prepared(starts["windows"], plain, negatives=negatives)
    sequences = plain.train.lists()
    drawn = []
    for epoch in range(3):
        for batch in model.batches(plain.train, epoch, 1):
            titles = np.take_along_axis(model.rows.titles[batch.rows], batch.places, axis=1)
            for row, items in zip(batch.rows.tolist(), titles.tolist(), strict=True):
                target, *others = items
                assert target == model.rows.targets[row]
                assert len(set(items)) == len(items)
                assert not set(others) & set(model.rows.lists[row])
                drawn.append((epoch, row, tuple(others)))
    assert len({(row, others) for _, row, others in drawn}) > len({row for _, row, _ in drawn})  # re-drawn
    assert len(sequences) == 30


def test_fixed_negatives_stay(starts: dict[str, Path], plain: RecommendationData) -> None:
    model = prepared(starts["windows"], plain, redraw=False)
    seen: dict[int, tuple] = {}
    for epoch in range(2):
        for batch in model.batches(plain.train, epoch, 1):
            for row, places in zip(batch.rows.tolist(), batch.places.tolist(), strict=True):
                assert seen.setdefault(row, tuple(places)) == tuple(places)


def test_mined_negatives_are_the_most_likely_of_the_pool(
    starts: dict[str, Path], plain: RecommendationData
) -> None:
    model = prepared(starts["windows"], plain, mined=True, num_negatives=2)
    rows = np.arange(6)
    mined = model.mined(rows)
    sums = model.model.candidate_scores(model.rows.histories[:6], model.rows.pools[:6])
    wanted = np.sort(np.argsort(-sums, axis=1)[:, :2], axis=1) + 1
    np.testing.assert_array_equal(np.sort(mined.places[:, 1:], axis=1), wanted)
    assert not mined.places[:, 0].any()


def test_further_supervised_training_reads_the_target_alone(
    starts: dict[str, Path], plain: RecommendationData
) -> None:
    """The same rows in the same order, and the next-title loss."""
    supervised, preferring = (prepared(starts["windows"], plain, method=name) for name in ("sft", "sdpo"))
    ours, theirs = (next(model.batches(plain.train, 0, 1)) for model in (supervised, preferring))
    np.testing.assert_array_equal(ours.rows, theirs.rows)
    assert ours.places.shape == (8, 1)
    assert supervised.scores_of_start is None
    loss = supervised.loss(ours, 0)["loss"]
    found = supervised.network(ours.packed, ours.inputs)
    assert loss.item() == pytest.approx(-found.token_logps.mean().item(), abs=1e-6)


@pytest.mark.filterwarnings("ignore:dropout is on")
@pytest.mark.parametrize("dies_at", [3, 7], ids=["first-epoch", "second-epoch"])
def test_resumed_training_is_equal(
    dies_at: int, starts: dict[str, Path], plain: RecommendationData, tmp_path: Path
) -> None:
    """With the start's dropout on, which draws."""
    whole = fitted(starts["windows"], plain, 8, dropout=True)
    with pytest.raises(StoppedError):
        fitted(starts["windows"], plain, 8, dropout=True, folder=tmp_path / "run", dies_at=dies_at)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    resumed = fitted(starts["windows"], plain, 8, dropout=True, folder=tmp_path / "run", resume=last)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name


def test_dropout_is_warned_of(starts: dict[str, Path], plain: RecommendationData) -> None:
    with pytest.warns(UserWarning, match="its noise counts as reward"):
        fitted(starts["windows"], plain, 1, dropout=True)


def test_dropout_is_off_unless_asked_for(starts: dict[str, Path], plain: RecommendationData) -> None:
    model = prepared(starts["windows"], plain)
    model.network.train()
    batch = next(model.batches(plain.train, 0, 1))
    assert model.loss(batch, 0)["loss"].item() == model.loss(batch, 0)["loss"].item()
    assert not model.network.training


def test_a_cache_of_another_start_is_refused(
    starts: dict[str, Path], plain: RecommendationData, tmp_path: Path
) -> None:
    file = tmp_path / "reference.safetensors"
    first = prepared(starts["windows"], plain, reference_file=str(file))
    again = prepared(starts["windows"], plain, reference_file=str(file))
    assert first.scores_of_start is not None
    assert again.scores_of_start is not None
    np.testing.assert_array_equal(first.scores_of_start.sums, again.scores_of_start.sums)
    assert again.scores_of_start.seconds == 0  # read, not computed
    other = fitted(starts["windows"], plain, 2, reference="online")
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(CacheMismatchError, match="reference log-probabilities of another model"):
        prepared(tmp_path / "other", plain, reference_file=str(file))
    with pytest.raises(CacheMismatchError, match="of another rows"):
        prepared(starts["windows"], plain, reference_file=str(file), pool=6)


def test_what_is_saved_is_the_start_trained_further(
    starts: dict[str, Path], plain: RecommendationData, tmp_path: Path
) -> None:
    model = fitted(starts["windows"], plain, 4)
    model.save_pretrained(tmp_path / "export")
    loaded, start = (
        Recommender.from_pretrained(folder) for folder in (tmp_path / "export", starts["windows"])
    )
    assert type(loaded) is type(start) is Llara
    assert loaded.config == start.config
    histories = plain.valid.histories[:5]
    np.testing.assert_array_equal(loaded.scores(histories), model.scores(histories))
    assert (loaded.scores(histories) != start.scores(histories)).any()
    projector = [name for name in loaded.arrays() if "projector" in name]
    assert projector
    assert any((loaded.arrays()[name] != start.arrays()[name]).any() for name in projector)


def test_the_run_tells_what_the_reference_cost_and_what_lists_give_away(
    starts: dict[str, Path], data: RecommendationData
) -> None:
    model = SDPO(replace(SMALL, start=str(starts["windows"])))
    report = model.fit(data, trainer=TrainerConfig(max_epochs=-1, max_steps=1, validate_every=0))
    told = "\n".join(report.notes)
    assert re.search(r"of the start on validation rows: 0\.\d{4}", told)
    assert "reference: 240 titles of 40 rows" in told
    assert "test lists: leakage probe" in told


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"num_negatives": 6, "pool": 5}, "enlarge the pool", id="pool"),
        pytest.param({"mined": True, "redraw": False}, "give redraw true", id="mined"),
        pytest.param({"reference": "online", "reference_file": "x"}, "leave it out", id="file"),
        pytest.param({"released": "x"}, "give negatives 'shown'", id="released"),
        pytest.param({"decay_steps": 5, "warmup_steps": 9}, "behind the warm-up", id="decay"),
        pytest.param({"beta": 0.0}, "must be above 0", id="beta"),
        pytest.param({"negatives": "hard"}, "choose from", id="negatives"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SDPOConfig(**settings)


def test_a_start_that_scores_no_titles_is_refused(plain: RecommendationData, tmp_path: Path) -> None:
    model = Popularity()
    model.fit(plain)
    model.save_pretrained(tmp_path / "popular")
    with pytest.raises(ValueError, match="which scores no titles"):
        prepared(tmp_path / "popular", plain)
    with pytest.raises(ValueError, match="name the saved recommender"):
        SDPO(SMALL).start(plain.catalogue, 0)


def test_an_online_reference_leaves_the_model_as_it_is(
    starts: dict[str, Path], plain: RecommendationData
) -> None:
    """Scores of the start while the model has moved on: those that a cache holds."""
    cached, online = (prepared(starts["candidates"], plain, reference=name) for name in ("cached", "online"))
    with torch.no_grad():
        for weight in online.network.parameters():
            weight.add_(0.1)
    moved = {name: tensor.clone() for name, tensor in online.network.state_dict().items()}
    batch = next(online.batches(plain.train, 0, 1))
    assert online.start_model is not None
    assert cached.scores_of_start is not None
    assert batch.packed is not None
    found = online.start_model(batch.packed, batch.inputs)
    wanted = cached.scores_of_start.of(batch.rows, batch.places)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert all(torch.equal(tensor, online.network.state_dict()[name]) for name, tensor in moved.items())
