"""What must hold for every recommender of the registry, whatever it is made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_recommenders import tiny_data

from graphrec.catalogue import UnknownItemError
from graphrec.data import RecommendationData
from graphrec.histories import Histories
from graphrec.neural import NeuralRecommender
from graphrec.ranking import rank_rows
from graphrec.recommender import Recommender
from graphrec.registry import MODELS, model_class
from graphrec.results import evaluate
from graphrec.trainer import TrainerConfig
from moltc.backbone.checkpoint import CheckpointError

SCRATCH: dict[str, Any] = {"sources": (), "token_start": "random"}
TINY: dict[str, dict[str, Any]] = {
    "popularity": {},
    "last_item": {},
    "repeat_history": {},
    "item_knn": {},
    "cooccurrence": {},
    "ease": {"l2": 10.0},
    "vsknn": {"neighbours": 5},
    "gru4rec": {"width": 8, "length": 5},
    "caser": {"width": 8, "length": 5},
    "sasrec": {"width": 8, "length": 5},
    "cl4srec": {"width": 8, "length": 5},
    "lightgcn": {"width": 8},
    "dreamrec": {"width": 8, "length": 5, "num_steps": 10},
    "offline_rl": {"width": 8, "length": 5},
    "llara": {"form": "text", "width": 16, "layers": 1, "length": 5, "planned_epochs": 1, **SCRATCH},
    "bigrec": {"width": 16, "layers": 1, "length": 5, "planned_epochs": 1, **SCRATCH},
    "recinterpreter": {"width": 16, "layers": 1, "length": 5, "language_steps": 2},
}
"""Settings that fit in seconds; a new recommender adds its own."""
CONTINUED = {"sdpo"}
"""Go on with another model, and are saved as what that was."""
NUM_ITEMS = 24
HISTORIES = [["i3", "i4", "i5"], [], ["i7", "i7", "i1", "i7"], ["i20"], [f"i{n}" for n in range(20)]]
Fit = Callable[..., Recommender]


def fit(name: str, data: RecommendationData, seed: int = 0) -> Recommender:
    cls, settings = model_class(name), TINY[name]
    if name == "recinterpreter":  # reads another recommender
        source = data.folder / "sasrec"
        if not source.exists():
            fit("sasrec", data).save_pretrained(source)
        settings = settings | {"source": str(source)}
    model = cls(cls.config_class(**settings))
    trainer = TrainerConfig(max_epochs=1, validate_every=0) if issubclass(cls, NeuralRecommender) else None
    model.fit(data, trainer=trainer, seed=seed)
    return model


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return tiny_data(tmp_path_factory.mktemp("walks"), num_items=NUM_ITEMS)


@pytest.fixture(scope="module", params=[name for name in MODELS if name not in CONTINUED])
def model(request: pytest.FixtureRequest, data: RecommendationData) -> Recommender:
    return fit(request.param, data)


@pytest.fixture(scope="module")
def histories(data: RecommendationData) -> Histories:
    return data.catalogue.histories(HISTORIES)


def test_every_registered_model_is_tested() -> None:
    assert TINY.keys() | CONTINUED == MODELS.keys()
    assert {model_class(name).name for name in MODELS} == MODELS.keys()


def test_no_call_wants_a_user(model: Recommender) -> None:
    for call in (model.recommend, model.score, model.scores):
        assert not [name for name in inspect.signature(call).parameters if "user" in name]


def test_lists_hold_what_was_asked_for(model: Recommender) -> None:
    lists = model.recommend(HISTORIES, k=4)
    assert [len(found) for found in lists] == [4] * len(HISTORIES)
    for history, found in zip(HISTORIES, lists, strict=True):
        names = [entry.item_id for entry in found]
        assert len(set(names)) == 4
        assert not set(names) & set(history)
        assert all(entry.title == f"Item {entry.item_id[1:]}" for entry in found)
        scores = [entry.score for entry in found]
        assert scores == sorted(scores, reverse=True)
    assert model.recommend([]) == []


def test_a_list_is_as_long_as_the_offer(model: Recommender) -> None:
    assert len(model.recommend([HISTORIES[4]], k=99)[0]) == NUM_ITEMS - 20
    assert len(model.recommend([HISTORIES[4]], k=99, exclude_seen=False)[0]) == NUM_ITEMS


def test_only_allowed_items_are_offered(model: Recommender) -> None:
    allowed = ["i3", "i9", "i23"]
    for found in model.recommend(HISTORIES, k=5, exclude_seen=False, allow=allowed):
        assert {entry.item_id for entry in found} == set(allowed)
    with pytest.raises(ValueError, match="allow names no item"):
        model.recommend(HISTORIES, allow=[])


def test_the_padding_row_never_competes(model: Recommender, histories: Histories) -> None:
    assert model.scores(histories).shape == (len(HISTORIES), NUM_ITEMS)


def test_unknown_items_are_named_or_skipped_with_a_count(model: Recommender) -> None:
    with pytest.raises(UnknownItemError, match="row 1: item 'x'"):
        model.recommend([["i1"], ["i2", "x"]])
    with pytest.warns(UserWarning, match="2 ids that the catalogue does not have were skipped"):
        skipped = model.recommend([["i1", "y"], ["x", "i2"]], k=3, unknown="skip")
    assert_same_lists(skipped, model.recommend([["i1"], ["i2"]], k=3))


def assert_same_lists(ours: list, theirs: list) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert [entry.item_id for entry in one] == [entry.item_id for entry in other]
        np.testing.assert_allclose(
            [entry.score for entry in one], [entry.score for entry in other], rtol=1e-4, atol=1e-5
        )


def test_a_row_is_answered_alike_in_any_company(model: Recommender, histories: Histories) -> None:
    together = model.scores(histories)
    for row in range(len(histories)):
        np.testing.assert_allclose(
            model.scores(histories[row : row + 1])[0], together[row], rtol=1e-4, atol=1e-5
        )


def test_candidates_score_as_in_the_catalogue(model: Recommender, histories: Histories) -> None:
    candidates = [["i4"], [], ["i0", "i23", "i0"], ["i9", "i1"], ["i2"]]
    whole = model.scores(histories)
    for row, found in enumerate(model.score(HISTORIES, candidates)):
        wanted = [int(item[1:]) for item in candidates[row]]
        np.testing.assert_allclose(found, whole[row, wanted], rtol=1e-4, atol=1e-5)


def test_a_saved_model_scores_the_same(model: Recommender, histories: Histories, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "saved")
    loaded = Recommender.from_pretrained(tmp_path / "saved")
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    np.testing.assert_array_equal(loaded.scores(histories), model.scores(histories))
    assert loaded.recommend(HISTORIES, k=3) == model.recommend(HISTORIES, k=3)


def test_an_altered_model_is_refused(model: Recommender, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "saved")
    weights = tmp_path / "saved" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(CheckpointError, match="not the file that was saved"):
        Recommender.from_pretrained(tmp_path / "saved")


def test_fitting_again_gives_the_same_scores(
    model: Recommender, data: RecommendationData, histories: Histories
) -> None:
    np.testing.assert_array_equal(fit(model.name, data).scores(histories), model.scores(histories))


def test_ids_are_never_shown(model: Recommender, histories: Histories, tmp_path: Path) -> None:
    """Whatever the items are called, their scores are the same."""
    names = [f"{number:x}" for number in np.random.default_rng(0).permutation(9999)[:NUM_ITEMS]]
    renamed = fit(model.name, tiny_data(tmp_path, num_items=NUM_ITEMS, item_ids=names))
    np.testing.assert_array_equal(renamed.scores(histories), model.scores(histories))


def test_another_numbering_changes_no_rank(
    model: Recommender, data: RecommendationData, tmp_path: Path
) -> None:
    """Exactly where nothing is drawn; a drawn start must not make neighbouring numbers alike."""
    if model.name == "recinterpreter":
        return  # its vectors and ranks are those of the model it reads
    numbers = np.random.default_rng(1).permutation(NUM_ITEMS)
    other = tiny_data(tmp_path, num_items=NUM_ITEMS, numbers=numbers)
    if isinstance(model, NeuralRecommender):
        cosines = np.mean([start_cosines(model, other, seed) for seed in range(20)], axis=0)
        near, all_pairs = np.diag(cosines, 1), cosines[np.triu_indices(NUM_ITEMS, 1)]
        assert abs(near.mean() - all_pairs.mean()) < 0.15
        return
    ranks = rank_rows(fit(model.name, other), other.test, filter_seen=False, ties="average")
    expected = rank_rows(model, data.test, filter_seen=False, ties="average")
    np.testing.assert_array_equal(ranks, expected)


def start_cosines(model: NeuralRecommender, data: RecommendationData, seed: int) -> np.ndarray:
    """Cosines of the item vectors that training starts from."""
    fresh = type(model)(model.config)
    fresh.start(data.catalogue, seed)
    fresh.prepare(data.train_interactions)
    centred = fresh.item_vectors() - fresh.item_vectors().mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    return unit @ unit.T


def test_rows_without_history_are_reported_apart(model: Recommender, data: RecommendationData) -> None:
    metrics = evaluate(model, data).metrics()
    assert evaluate(model, data).groups["without history"].sum() == 10
    whole = metrics["all"]["HR@5"].value * 60
    parts = metrics["with history"]["HR@5"].value * 50 + metrics["without history"]["HR@5"].value * 10
    assert whole == pytest.approx(parts)


def test_item_vectors_or_a_clear_refusal(model: Recommender) -> None:
    if isinstance(model, NeuralRecommender):
        vectors = model.item_vectors()
        assert vectors.shape[0] == NUM_ITEMS
        assert np.isfinite(vectors).all()
    else:
        with pytest.raises(ValueError, match="has no item vectors; use sasrec"):
            model.item_vectors()


def test_wrong_settings_are_refused(model: Recommender) -> None:
    with pytest.raises(TypeError, match="takes a"):
        type(model)({"decay": 1})
    with pytest.raises(ValueError, match="k=0"):
        model.recommend(HISTORIES, k=0)
    with pytest.raises(ValueError, match="'error' or 'skip'"):
        model.recommend(HISTORIES, unknown="ignore")
    with pytest.raises(ValueError, match="2 lists of candidates"):
        model.score([["i1"]], [["i1"], ["i2"]])
