from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from graphrec.data import RecommendationData
from graphrec.dreamrec import DreamRec, DreamRecConfig
from graphrec.dreamrec.start_vectors import ease_vectors, ease_weights
from graphrec.histories import Histories
from graphrec.ranking import metric_value, protocol_ranks
from graphrec.recommender import Recommender
from graphrec.trainer import TrainerConfig

SMALL: dict[str, Any] = {
    "width": 16,
    "length": 5,
    "num_steps": 20,
    "batch_size": 64,
    "lr": 1e-2,
    "ridge": 5.0,
}
HISTORIES = Histories.from_lists([[3, 4, 5], [], [9], [1, 2, 3, 4, 5, 6, 7, 8]])

VARIANTS = {
    "reference": DreamRecConfig.reference,
    "improved": DreamRecConfig,
    "two layers": lambda **settings: DreamRecConfig(denoiser_layers=2, sampler="ancestral", **settings),
    "few steps": lambda **settings: DreamRecConfig(sampler="ddim", sampler_steps=4, eta=0.5, **settings),
    "one step": lambda **settings: DreamRecConfig(sampler="one_step", consistency=0.4, **settings),
    "ranked": lambda **settings: DreamRecConfig(
        cross_entropy=0.5,
        frozen_table=False,
        normalised=True,
        retrieval="cosine",
        temperature=0.1,
        **settings,
    ),
}


def fitted(folder: Path, config: DreamRecConfig, epochs: int = 2, **options: Any) -> DreamRec:
    model = DreamRec(config)
    model.fit(RecommendationData.load(folder), trainer=TrainerConfig(max_epochs=epochs), **options)
    return model


def copy_of(model: DreamRec) -> DreamRec:
    """Another recommender with the same weights."""
    other = DreamRec(model.config)
    other.catalogue = model.catalogue
    other.set_arrays(model.arrays())
    return other


@pytest.fixture(scope="module", params=VARIANTS)
def model(request: pytest.FixtureRequest, ring_folder: Path) -> DreamRec:
    return fitted(ring_folder, VARIANTS[request.param](**SMALL))


def test_rows_do_not_depend_on_each_other(model: DreamRec) -> None:
    together = model.scores(HISTORIES)
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(model.scores(HISTORIES.select(order)), together[order], rtol=1e-4, atol=1e-4)
    alone = np.concatenate([model.scores(HISTORIES[n : n + 1]) for n in range(4)])
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-4)


def test_padding_row_never_competes(model: DreamRec) -> None:
    before = model.scores(HISTORIES)
    assert before.shape == (4, 20)
    row = model.network.encoder.item_embeddings.weight
    kept = row[-1].detach().clone()
    with torch.no_grad():
        row[-1] = 1e3
    np.testing.assert_array_equal(model.scores(HISTORIES), before)
    with torch.no_grad():
        row[-1] = kept


def test_saved_and_loaded(model: DreamRec, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "model")
    again = Recommender.from_pretrained(tmp_path / "model")
    assert again.config == model.config
    np.testing.assert_array_equal(again.scores(HISTORIES), model.scores(HISTORIES))
    assert again.recommend([["i3", "i4"]], k=2) == model.recommend([["i3", "i4"]], k=2)


def test_oracles_lie_among_item_vectors(model: DreamRec) -> None:
    oracles, items = model.oracle_vectors(HISTORIES), model.item_vectors()
    assert oracles.shape == (4, 16)
    assert items.shape == (20, 16)
    assert model.states(HISTORIES).shape == (4, 16)
    assert 0.05 < np.linalg.norm(oracles, axis=1).mean() / np.linalg.norm(items, axis=1).mean() < 20


def test_learns_what_follows(ring_folder: Path) -> None:
    """The next item on the ring comes first in nine of ten walks."""
    model = fitted(ring_folder, DreamRecConfig(**SMALL), epochs=15)
    walks = RecommendationData.load(ring_folder).test
    best = model.scores(walks.histories).argmax(1)
    assert (best == walks.targets).mean() > 0.7


def test_same_seed_same_model(ring_folder: Path) -> None:
    one, two, other = (
        fitted(ring_folder, DreamRecConfig(**SMALL), epochs=1, seed=seed).scores(HISTORIES)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, other)


def test_resumed_run_equals_the_uninterrupted_one(ring_folder: Path, tmp_path: Path) -> None:
    data, config = RecommendationData.load(ring_folder), DreamRecConfig(**SMALL)
    whole, cut = DreamRec(config), DreamRec(config)
    whole.fit(data, trainer=TrainerConfig(max_epochs=3, validate_every=0))
    cut.fit(data, trainer=TrainerConfig(max_epochs=1, validate_every=0), folder=tmp_path)
    resumed = DreamRec(config)
    resumed.fit(
        data,
        trainer=TrainerConfig(max_epochs=3, validate_every=0),
        resume=tmp_path / "checkpoints" / "last.ckpt",
    )
    np.testing.assert_array_equal(resumed.scores(HISTORIES), whole.scores(HISTORIES))
    assert not np.allclose(cut.scores(HISTORIES), whole.scores(HISTORIES))


def test_run_says_how_the_table_lies(ring_folder: Path, tmp_path: Path) -> None:
    model = DreamRec(DreamRecConfig(**SMALL))
    report = model.fit(
        RecommendationData.load(ring_folder), trainer=TrainerConfig(max_epochs=1), folder=tmp_path
    )
    assert any("effective rank" in note and "variance of sampling" in note for note in report.notes)
    assert (tmp_path / "collapse.json").is_file()
    assert (tmp_path / "collapse.png").is_file()
    assert model.collapse().effective_rank > 2


def test_sampler_can_be_exchanged(ring_folder: Path) -> None:
    """Averaged over its noise, the walk gives what the closed form gives at once."""
    model = fitted(ring_folder, DreamRecConfig(**SMALL))
    exact = model.oracle_vectors(HISTORIES)
    walked = copy_of(model)
    walks = []
    for seed in range(200):
        walked.config = replace(model.config, sampler="ancestral", noise_seed=seed)
        walks.append(walked.oracle_vectors(HISTORIES))
    errors = np.std(walks, axis=0) / len(walks) ** 0.5
    assert (np.abs(np.mean(walks, axis=0) - exact) / errors).max() < 4.5


def test_weights_that_change_change_the_closed_form(ring_folder: Path) -> None:
    """What was worked out for other weights is not used again."""
    model = fitted(ring_folder, DreamRecConfig(**SMALL))
    weights = model.network.denoiser.first.weight
    before = model.scores(HISTORIES)
    with torch.no_grad():
        weights.mul_(1.1)
    changed = model.scores(HISTORIES)
    assert not np.allclose(changed, before)
    np.testing.assert_array_equal(copy_of(model).scores(HISTORIES), changed)


@pytest.mark.parametrize("cross_entropy", [0.0, 1.0], ids=["as it is", "trained through the closed form"])
def test_validation_saw_the_weights_of_its_time(ring_folder: Path, cross_entropy: float) -> None:
    """The score that chose the weights is what these weights give afterwards."""
    data = RecommendationData.load(ring_folder)
    model = DreamRec(DreamRecConfig(**SMALL, cross_entropy=cross_entropy))
    report = model.fit(data, trainer=TrainerConfig(max_epochs=4))
    name, value = report.score or ("", 0.0)
    assert metric_value(name, protocol_ranks(model, data.valid, data.manifest)) == pytest.approx(value)


def test_start_from_a_saved_recommender(ring_folder: Path, tmp_path: Path) -> None:
    first = fitted(ring_folder, DreamRecConfig(**SMALL))
    first.save_pretrained(tmp_path / "first")
    second = fitted(ring_folder, DreamRecConfig(**SMALL | {"start_vectors": str(tmp_path / "first")}))
    np.testing.assert_allclose(second.item_vectors(), first.item_vectors(), rtol=1e-5)


def test_item_numbers_carry_no_meaning(ring_folder: Path) -> None:
    """Numbering the items otherwise gives the same start vectors, in the other order, but for signs."""
    train = RecommendationData.load(ring_folder).train
    order = np.random.default_rng(0).permutation(20)
    renumbered = Histories(order[train.items], train.ends)
    one, two = (ease_vectors(part, 20, 8, 5.0) for part in (train, renumbered))
    torch.testing.assert_close(one @ one.T, (two @ two.T)[order][:, order], rtol=1e-3, atol=1e-4)


def test_ease_by_hand() -> None:
    """Two items always together, gram [[2, 2], [2, 2]], ridge 1: weights 2/3."""
    weights = ease_weights(Histories.from_lists([[0, 1], [1, 0, 1]]), 2, 1.0)
    np.testing.assert_allclose(weights, [[0, 2 / 3], [2 / 3, 0]], rtol=1e-6)


def test_vectors_wider_than_the_catalogue_end_in_zeros() -> None:
    vectors = ease_vectors(Histories.from_lists([[0, 1], [1, 2]]), 3, 8, 1.0)
    assert not vectors[:, 3:].any()
    assert vectors[:, :2].any(0).all()


def test_items_that_share_nothing_give_no_vectors() -> None:
    with pytest.raises(ValueError, match="no two items share a sequence"):
        ease_vectors(Histories.from_lists([[0], [1], [2, 2]]), 3, 4, 1.0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"denoiser_layers": 2}, "has no closed form"),
        ({"sampler": "ddim"}, "needs sampler_steps"),
        ({"sampler": "one_step", "sampler_steps": 3}, "takes no sampler_steps"),
        ({"sampler": "ddim", "sampler_steps": 900}, "between 1 and num_steps=100"),
        ({"eta": 0.5}, "eta is an option of DDIM"),
        ({"schedule": "quadratic"}, "choose one of linear"),
        ({"width": 7}, "must be even"),
        ({"guidance": -1.0}, "must not be negative"),
        ({"null_rate": 1.5}, "share between 0 and 1"),
        ({"temperature": 0.0}, "above 0"),
        ({"start_vectors": "random"}, "a frozen table of random vectors"),
        ({"detached_target": True}, "no gradient to detach"),
        ({"num_steps": 1}, "num_steps must be at least 2"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DreamRecConfig(**settings)
