"""Items of a history behind all others: where a log never repeats an item, and refused where it does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tiny_recommenders import walks, write_folder

from graphrec.catalogue import Catalogue
from graphrec.data import RecommendationData
from graphrec.histories import Histories
from graphrec.neural import NeuralRecommender
from graphrec.recommender import Recommender
from graphrec.registry import model_class
from graphrec.repeats import check_no_repeats, seen_behind
from graphrec.trainer import TrainerConfig

MODELS = {
    "item_knn": {},
    "ease": {"l2": 10.0},
    "sasrec": {"width": 8, "length": 5},
    "dreamrec": {"width": 8, "length": 5, "num_steps": 10},
}
NUM_ITEMS = 24
WALKS = walks(NUM_ITEMS, count=60, length=7)


def test_seen_items_come_last_in_their_own_order() -> None:
    scores = np.array([[3.0, 1.0, 2.0, 0.5], [3.0, 1.0, 2.0, 0.5]], dtype=np.float32)
    found = seen_behind(scores.copy(), Histories.from_lists([[0, 2, 0], []]))
    assert (-found[0]).argsort().tolist() == [1, 3, 0, 2]
    assert found[1].tolist() == scores[1].tolist()


def test_the_message_names_sequence_and_item() -> None:
    catalogue = Catalogue(["a", "b", "c", "d", "e"])
    check_no_repeats(Histories.from_lists([[0, 1], [], [2, 1]]), catalogue)
    with pytest.raises(ValueError, match="sequence 1 .* item 'e' .* 1 interactions"):
        check_no_repeats(Histories.from_lists([[0, 1], [4, 2, 4]]), catalogue)


@pytest.mark.parametrize("name", MODELS)
def test_models_rank_their_histories_last(name: str, tmp_path: Path) -> None:
    model = fitted(name, tmp_path, [list(dict.fromkeys(walk)) for walk in WALKS])
    histories = model.catalogue.histories([["i3", "i4"], ["i7"]])
    order = (-model.scores(histories)).argsort(axis=1)
    assert set(order[0, -2:].tolist()) == {3, 4}
    assert order[1, -1] == 7
    assert model.recommend([["i7"]], k=NUM_ITEMS, exclude_seen=False)[0][-1].item_id == "i7"


@pytest.mark.parametrize("name", MODELS)
def test_a_log_with_repeats_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sequence 0 .* item 'i5'"):
        fitted(name, tmp_path, [[5, 6, 5], *WALKS])


def fitted(name: str, folder: Path, train: Sequence[Sequence[int]]) -> Recommender:
    rows = [([1, 2], 3)]
    data = RecommendationData.load(write_folder(folder, NUM_ITEMS, train, rows, rows, filter_seen=False))
    cls = model_class(name)
    model = cls(cls.config_class(**MODELS[name], seen_last=True))
    trainer = TrainerConfig(max_epochs=1, validate_every=0) if issubclass(cls, NeuralRecommender) else None
    model.fit(data, trainer=trainer)
    return model
