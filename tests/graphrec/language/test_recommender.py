"""Recommenders on a language model: whole exports, exact resumes, titles that are odd or missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tiny_language import NUM_ITEMS, SMALL, fitted, listed_data, llara
from tiny_recommenders import tiny_data

from graphrec.catalogue import Catalogue
from graphrec.data import RecommendationData
from graphrec.histories import Histories
from graphrec.llara.config import LlaraConfig
from graphrec.llara.recommender import Llara
from graphrec.recommender import Recommender
from graphrec.sequential import SASRec
from graphrec.sequential.config import SASRecConfig
from graphrec.trainer import TrainerConfig
from moltc.backbone.checkpoint import CheckpointError, sha256

HISTORIES = Histories.from_lists([[3, 4, 5], [], [7, 7, 1, 7], list(range(9))])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return listed_data(tmp_path_factory.mktemp("lists"))


@pytest.fixture(scope="module")
def source(data: RecommendationData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved SASRec."""
    model = SASRec(SASRecConfig(width=8, length=4))
    model.fit(data, trainer=TrainerConfig(max_epochs=1, validate_every=0))
    folder = tmp_path_factory.mktemp("source") / "export"
    model.save_pretrained(folder)
    return folder


FORMS: dict[str, dict[str, Any]] = {
    "hybrid": {},
    "text-alone": {"form": "text", "sources": (), "token_start": "random"},
    "token": {"form": "token", "projector": "linear"},
    "whole-titles": {"vocabulary": "titles"},
    "candidates-of-whole-titles": {"layout": "candidates", "num_candidates": 4, "vocabulary": "titles"},
    "pieces-of-words": {"vocabulary": "bpe", "vocabulary_size": 280, "tied": False},
    "candidates": {"layout": "candidates", "num_candidates": 4},
}


@pytest.mark.parametrize("settings", FORMS.values(), ids=FORMS)
def test_exports_are_whole(data: RecommendationData, settings: dict[str, Any], tmp_path: Path) -> None:
    model = fitted(data, **settings)
    model.save_pretrained(tmp_path / "saved")
    loaded = Recommender.from_pretrained(tmp_path / "saved")
    assert isinstance(loaded, Llara)
    np.testing.assert_array_equal(loaded.scores(HISTORIES), model.scores(HISTORIES))
    stored = load_file(tmp_path / "saved" / "model.safetensors")
    trained = {name for name, weight in model.network.named_parameters() if weight.requires_grad}
    assert trained <= stored.keys()
    assert {"towers.vectors", "towers.placeholder"} <= stored.keys()


def test_a_missing_key_is_refused(data: RecommendationData, tmp_path: Path) -> None:
    fitted(data).save_pretrained(tmp_path / "saved")
    weights = tmp_path / "saved" / "model.safetensors"
    whole = load_file(weights)
    for name in whole:
        save_file({key: value for key, value in whole.items() if key != name}, weights)
        vouch_for(weights)
        with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
            Recommender.from_pretrained(tmp_path / "saved")


def vouch_for(file: Path) -> None:
    """Let the folder's config hold the hash of an altered file."""
    path = file.parent / "config.json"
    config = json.loads(path.read_text())
    config["files"][file.name] = sha256(file)
    path.write_text(json.dumps(config))


def test_a_missing_tokenizer_is_refused(data: RecommendationData, tmp_path: Path) -> None:
    fitted(data).save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="tokenizer/tokenizer.json is missing"):
        Recommender.from_pretrained(tmp_path / "saved")


@pytest.mark.parametrize("layout", ["windows", "candidates"])
def test_states_come_with_the_model(
    data: RecommendationData, source: Path, tmp_path: Path, layout: str
) -> None:
    sources = (str(source), "cooccurrence")
    model = fitted(data, states=True, sources=sources, layout=layout, num_candidates=4)
    model.save_pretrained(tmp_path / "saved")
    moved = (tmp_path / "saved").rename(tmp_path / "moved")
    hidden = source.rename(source.parent / "elsewhere")
    try:
        loaded = Recommender.from_pretrained(moved)
        np.testing.assert_array_equal(loaded.scores(HISTORIES), model.scores(HISTORIES))
        loaded.save_pretrained(tmp_path / "again")
        again = Recommender.from_pretrained(tmp_path / "again")
        np.testing.assert_array_equal(again.scores(HISTORIES), model.scores(HISTORIES))
    finally:
        hidden.rename(source)


def test_a_source_that_has_no_states_is_named(data: RecommendationData, tmp_path: Path) -> None:
    fitted(data).save_pretrained(tmp_path / "other")
    model = llara(data, sources=(str(tmp_path / "other"),))
    assert model.item_vectors().shape == (NUM_ITEMS, 8)
    states = llara(data, sources=(str(tmp_path / "other"),), states=True)
    with pytest.raises(ValueError, match="is a llara, which has no states"):
        states.scores(HISTORIES)


def test_a_source_of_other_items_is_refused(data: RecommendationData, source: Path, tmp_path: Path) -> None:
    other = tiny_data(tmp_path, num_items=NUM_ITEMS + 1)
    with pytest.raises(ValueError, match="knows another catalogue"):
        llara(other, sources=(str(source),))


class StoppedError(Exception):
    """The run was killed."""


class Killed(Llara):
    """Dies at a step, and keeps what its losses were."""

    def __init__(self, config: Any = None, dies_at: int | None = None) -> None:
        super().__init__(config)
        self.dies_at = dies_at
        self.losses: dict[int, dict[str, float]] = {}

    def loss(self, batch: Any, step: int) -> dict[str, torch.Tensor]:
        if step == self.dies_at:
            raise StoppedError
        parts = super().loss(batch, step)
        self.losses[step] = {name: float(value.detach()) for name, value in parts.items()}
        return parts


@pytest.mark.parametrize("layout", ["windows", "candidates"])
def test_a_resumed_run_is_the_uninterrupted_one(
    data: RecommendationData, source: Path, tmp_path: Path, layout: str
) -> None:
    config = LlaraConfig(
        **SMALL, sources=(str(source),), layout=layout, num_candidates=4, curriculum="power", dropout=0.2
    )
    trainer = TrainerConfig(max_epochs=2, max_steps=9, validate_every=0, checkpoint_every=1)
    whole = Killed(config)
    whole.fit(data, trainer=trainer, folder=tmp_path / "whole", seed=3)
    broken = Killed(config, dies_at=4)
    with pytest.raises(StoppedError):
        broken.fit(data, trainer=trainer, folder=tmp_path / "broken", seed=3)
    resumed = Killed(config)
    last = tmp_path / "broken/checkpoints/last.ckpt"
    report = resumed.fit(data, trainer=trainer, folder=tmp_path / "broken", resume=last, seed=3)
    assert resumed.losses == {step: whole.losses[step] for step in range(4, 9)}
    assert whole.arrays().keys() == resumed.arrays().keys()
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(array, resumed.arrays()[name], err_msg=name)
    assert "of 9 batches were hybrid" in report.notes[-1]


def test_another_numbering_changes_nothing(tmp_path: Path) -> None:
    """Items are told apart by titles and vectors; their numbers are nowhere to be seen."""
    numbers = np.random.default_rng(1).permutation(NUM_ITEMS)
    plain = tiny_data(tmp_path / "plain", num_items=NUM_ITEMS)
    other = tiny_data(tmp_path / "other", num_items=NUM_ITEMS, numbers=numbers)
    names = np.array([f"Item {number}" for number in range(NUM_ITEMS)])
    ours = titled(plain, names.tolist())
    theirs = titled(other, names[np.argsort(numbers)].tolist())
    alike = ours.item_vectors() @ ours.item_vectors().T
    renumbered = theirs.item_vectors() @ theirs.item_vectors().T
    np.testing.assert_allclose(renumbered[np.ix_(numbers, numbers)], alike, atol=0.1)  # a drawn factorisation
    with torch.no_grad():
        theirs.network.load_state_dict(ours.network.state_dict())
        theirs.network.towers.vectors[torch.from_numpy(numbers)] = ours.network.towers.vectors
    histories = [np.array([3, 4, 5]), np.array([], dtype=int), np.array([7, 7, 1])]
    found = theirs.scores(Histories.from_lists([numbers[history] for history in histories]))
    np.testing.assert_allclose(found[:, numbers], ours.scores(Histories.from_lists(histories)), atol=1e-5)


def titled(data: RecommendationData, titles: list[str]) -> Llara:
    """A new model of a catalogue whose items have other titles."""
    model = Llara(LlaraConfig(**SMALL))
    model.start(Catalogue(data.catalogue.item_ids, titles), seed=0)
    model.prepare(data.train_interactions)
    return model


def test_titles_that_differ_in_case_alone_are_two_items(data: RecommendationData) -> None:
    model = titled(data, ["Heat", "HEAT", *(f"Item {n}" for n in range(2, NUM_ITEMS))])
    scores = model.scores(HISTORIES)
    assert (scores[:, 0] != scores[:, 1]).all()
    lists = model.recommend([["i3"]], k=NUM_ITEMS)
    assert {"Heat", "HEAT"} <= {entry.title for entry in lists[0]}


def test_items_that_share_a_title_score_alike(data: RecommendationData) -> None:
    model = titled(data, ["Heat", "Heat", *(f"Item {n}" for n in range(2, NUM_ITEMS))])
    scores = model.scores(HISTORIES)
    np.testing.assert_allclose(scores[:, 0], scores[:, 1], atol=1e-5)


def test_items_without_title_are_named(data: RecommendationData) -> None:
    titles: list[str | None] = [f"Item {n}" for n in range(NUM_ITEMS)]
    titles[4], titles[9] = None, " "
    with pytest.raises(ValueError, match="item 'i4' has no title, and so have 1 others"):
        Llara(LlaraConfig(**SMALL)).start(Catalogue(data.catalogue.item_ids, titles), seed=0)


def test_long_histories_are_cut_alike_everywhere(data: RecommendationData) -> None:
    model = llara(data)
    long, short = [0, 9, 1, 2, 3, 4], [1, 2, 3, 4]
    found = model.scores(Histories.from_lists([long, short]))
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_scores_are_the_sums_of_title_tokens(data: RecommendationData) -> None:
    model = llara(data)
    tree = model.prompt([3, 4]).with_completions([model.network.title(7)])
    with torch.no_grad():
        alone = model.network.log_probs([tree])
    found = model.scores(Histories.from_lists([[3, 4]]))[0, 7]
    assert found == pytest.approx(float(alone.token_logps.sum()), abs=1e-5)
    assert len(model.network.title(7)) == len(alone.token_logps)


def test_free_answers_end_where_a_title_ends(data: RecommendationData) -> None:
    model = fitted(data)
    with model.inference():
        texts = model.network.generate([model.prompt([3, 4]), model.prompt([])], max_new_tokens=6)
    assert all("<" not in text and len(text.split()) <= 6 for text in texts)
    assert model.network.text(np.append(model.network.title(7), 5)) == "Item 7"


def test_hidden_states_of_texts(data: RecommendationData) -> None:
    model = llara(data)
    with model.inference():
        states = model.network.hidden_of(["Item 3", "Item 3", "Item 4"])
        assert states.shape == (3, 16)
        torch.testing.assert_close(states[0], states[1])
        assert not torch.allclose(states[0], states[2])
    with pytest.raises(ValueError, match="has no word 'Ring'"):
        model.network.hidden_of(["Ring 3"])


def test_accelerators_get_the_whole_batch(data: RecommendationData) -> None:
    batch = llara(data, states=True).network.windows(HISTORIES.select(np.array([0, 2])))
    moved = batch.to("meta")
    assert moved.packed.input_ids.is_meta
    assert moved.inputs.items.is_meta
    assert moved.inputs.states is not None
    assert moved.inputs.states.is_meta
