"""States at all places: strong networks in one pass, published ones prefix by prefix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_recommenders import tiny_data

from graphrec.dreamrec.config import DreamRecConfig
from graphrec.dreamrec.recommender import DreamRec
from graphrec.histories import Histories
from graphrec.recinterpreter.oracle import nearest_items, oracle_noise, with_oracle
from graphrec.recinterpreter.states import checked_source, place_states, prefixes
from graphrec.registry import model_class
from graphrec.sequential.config import SASRecConfig
from graphrec.sequential.network import ReferenceNetwork
from graphrec.sequential.recommender import SASRec
from graphrec.sequential.reference.sasrec import SASRecEncoder
from graphrec.trainer import TrainerConfig

HISTORIES = Histories.from_lists([[3, 1, 4], [], [2], [7, 8, 9, 10, 11, 12]])
SHORT = TrainerConfig(max_epochs=1, validate_every=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("walks")


@pytest.fixture(scope="module")
def dreamrec(folder: Path) -> DreamRec:
    model = DreamRec(DreamRecConfig(width=8, length=5, num_steps=10))
    model.fit(tiny_data(folder), trainer=SHORT)
    return model


def test_prefixes() -> None:
    found = prefixes(Histories.from_lists([[3, 1], [], [2]])).lists()
    assert found == [[3], [3, 1], [2]]


@pytest.mark.parametrize("name", ["sasrec", "gru4rec", "caser"])
def test_the_latest_state_is_that_of_the_history(name: str, folder: Path) -> None:
    cls = model_class(name)
    model = cls(cls.config_class(width=8, length=5))
    model.fit(tiny_data(folder), trainer=SHORT)
    source = checked_source(model, 4)
    states, mask = place_states(source, HISTORIES, 4)
    assert mask.sum(1).tolist() == [3, 0, 1, 4]
    assert not states[~mask].any()
    rows = [0, 2, 3]
    latest = source.states(HISTORIES.last(4).select(np.array(rows)))
    np.testing.assert_allclose(states[rows, -1], latest, rtol=1e-4, atol=1e-5)


def test_published_encoders_give_the_states_of_one_pass(folder: Path) -> None:
    model = SASRec(SASRecConfig.reference(width=8, length=5))
    model.fit(tiny_data(folder), trainer=SHORT)
    states = place_states(model, HISTORIES, 5).states
    assert isinstance(model.network, ReferenceNetwork)
    encoder = model.network.model
    assert isinstance(encoder, SASRecEncoder)
    rows = torch.from_numpy(HISTORIES.padded(5, model.network.num_items))
    with model.inference():
        whole = encoder.all_states(rows).numpy()
    for row, length in enumerate(HISTORIES.last(5).lengths.tolist()):
        np.testing.assert_allclose(
            states[row, 5 - length :], whole[row, :length], rtol=1e-4, atol=1e-5, err_msg=str(row)
        )


@pytest.mark.parametrize(
    ("name", "settings", "length", "message"),
    [
        pytest.param("popularity", {}, 3, "holds no states", id="no-states"),
        pytest.param("sasrec", {"length": 3}, 4, "more than the 3 places", id="too-short"),
    ],
)
def test_what_cannot_be_read_is_refused(name: str, settings: dict, length: int, message: str) -> None:
    cls = model_class(name)
    with pytest.raises(ValueError, match=message):
        checked_source(cls(cls.config_class(**settings)), length)


def test_an_item_as_oracle_gives_the_state_of_the_history_with_it(dreamrec: DreamRec) -> None:
    """A vector that is an item's is read as that item."""
    added = np.array([5, 6, 7, 8])
    longer = Histories.from_lists([[*row, item] for row, item in zip(HISTORIES.lists(), added, strict=True)])
    found = with_oracle(dreamrec, HISTORIES, dreamrec.item_vectors()[added], 4)
    np.testing.assert_allclose(found.states[:, -1], dreamrec.states(longer.last(4)), rtol=1e-4, atol=1e-5)
    assert found.mask.sum(1).tolist() == [4, 1, 2, 4]


def test_noise_is_the_distance_to_the_nearest_item(dreamrec: DreamRec) -> None:
    oracles = dreamrec.oracle_vectors(HISTORIES)
    nearest = nearest_items(dreamrec, oracles, 1)[:, 0]
    distance = oracles - dreamrec.item_vectors()[nearest]
    np.testing.assert_allclose(oracle_noise(dreamrec, HISTORIES), np.sqrt((distance**2).mean(0)), rtol=1e-5)


def test_other_recommenders_make_no_noise(folder: Path) -> None:
    model = SASRec(SASRecConfig(width=8, length=5))
    model.fit(tiny_data(folder), trainer=SHORT)
    assert not oracle_noise(model, HISTORIES).any()
