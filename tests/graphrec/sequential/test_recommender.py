"""GRU4Rec, Caser, SASRec and CL4SRec as recommenders, on small walks over a ring of items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_recommenders import tiny_data

from graphrec.data import RecommendationData
from graphrec.histories import Histories
from graphrec.recommender import Recommender
from graphrec.sequential import Caser, CL4SRec, GRU4Rec, SASRec
from graphrec.sequential.cl4srec import CL4SRecConfig
from graphrec.sequential.config import CaserConfig, GRU4RecConfig, SASRecConfig, SequentialConfig
from graphrec.sequential.recommender import SequentialRecommender
from graphrec.trainer import TrainerConfig

SIZES = {"width": 16, "length": 6, "lr": 0.01, "warmup_steps": 4, "batch_size": 16}
STRONG: dict[str, SequentialRecommender] = {
    "sasrec": SASRec(SASRecConfig(**SIZES)),
    "gru4rec": GRU4Rec(GRU4RecConfig(**SIZES)),
    "caser": Caser(CaserConfig(**SIZES, window=4, num_filters=4)),
    "cl4srec": CL4SRec(CL4SRecConfig(**SIZES)),
}
REFERENCE: dict[str, SequentialRecommender] = {
    "sasrec": SASRec(SASRecConfig.reference(width=16, length=6, batch_size=32)),
    "gru4rec": GRU4Rec(GRU4RecConfig.reference(width=16, length=6, batch_size=32)),
    "caser": Caser(CaserConfig.reference(width=16, length=6, batch_size=32)),
}
SHORT = TrainerConfig(max_epochs=2)
HISTORIES = Histories.from_lists([[], [3], [4, 5, 6], list(range(12)), [7, 7, 7]])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return tiny_data(tmp_path_factory.mktemp("walks"))


def fresh(model: SequentialRecommender, **changes: Any) -> SequentialRecommender:
    """The same kind of model, not yet fitted."""
    return type(model)(replace(model.config, **changes))


def started(model: SequentialRecommender, data: RecommendationData) -> SequentialRecommender:
    model.start(data.catalogue, seed=0)
    model.prepare(data.train_interactions)
    return model


@pytest.mark.parametrize("name", STRONG)
def test_strong_models_learn_the_walks(name: str, data: RecommendationData) -> None:
    model = fresh(STRONG[name], dropout=0.0)
    report = model.fit(data, trainer=TrainerConfig(max_epochs=20, validate_every=20))
    assert report.score is not None
    assert report.score[0] == "NDCG@10"
    assert report.score[1] > 0.35  # by chance: 0.19
    top = model.recommend([["i3", "i4", "i5"]], k=1, exclude_seen=False)
    assert top[0][0].item_id == "i6"


@pytest.mark.parametrize("name", REFERENCE)
def test_reference_models_train_and_answer(name: str, data: RecommendationData) -> None:
    model = fresh(REFERENCE[name])
    model.fit(data, trainer=SHORT)
    scores = model.scores(HISTORIES)
    assert scores.shape == (5, 24)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", STRONG)
def test_a_saved_model_scores_alike(name: str, data: RecommendationData, tmp_path: Path) -> None:
    model = started(fresh(STRONG[name], memory_weight=0.5), data)
    model.save_pretrained(tmp_path / "model")
    loaded = Recommender.from_pretrained(tmp_path / "model")
    np.testing.assert_array_equal(loaded.scores(HISTORIES), model.scores(HISTORIES))
    assert loaded.config == model.config


@pytest.mark.parametrize("name", STRONG)
def test_scores_do_not_depend_on_the_other_rows(name: str, data: RecommendationData) -> None:
    model = started(fresh(STRONG[name]), data)
    together = model.scores(HISTORIES)
    alone = np.concatenate([model.scores(HISTORIES[n : n + 1]) for n in range(len(HISTORIES))])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(
    "model", [*STRONG.values(), *REFERENCE.values()], ids=[*STRONG, *(f"{n}_reference" for n in REFERENCE)]
)
def test_batches_depend_on_epoch_and_seed_alone(
    model: SequentialRecommender, data: RecommendationData
) -> None:
    model = started(fresh(model), data)

    def tokens(epoch: int, seed: int) -> list[list[int]]:
        batches = list(model.batches(data.train, epoch, seed))
        assert len(batches) == model.num_batches(data.train)
        return [getattr(batch, "rows", batch).tokens.tolist() for batch in batches]

    assert tokens(1, 0) == tokens(1, 0)
    assert tokens(1, 0) != tokens(2, 0)
    assert tokens(1, 0) != tokens(1, 1)


@pytest.mark.parametrize("rows", ["windows", "latest", "prefixes"])
@pytest.mark.parametrize("first_items", [True, False], ids=["first_items", "later_items"])
def test_each_interaction_is_a_target_once_an_epoch(
    rows: str, first_items: bool, data: RecommendationData
) -> None:
    model = started(fresh(STRONG["sasrec"], rows=rows, first_items=first_items, length=3), data)
    targets = np.concatenate([batch.targets for batch in model.batches(data.train, 0, 0)])
    counted = data.train.items if first_items else data.train.items[data.train.positions > 0]
    if rows == "latest":  # of sequences of seven
        counted = data.train.last(3).items
    assert sorted(targets) == sorted(counted)


@pytest.mark.parametrize("network", ["strong", "reference"])
def test_prefixes_of_windows_lead_to_the_same_states(network: str, data: RecommendationData) -> None:
    model = STRONG["sasrec"] if network == "strong" else REFERENCE["sasrec"]
    model = started(fresh(model, rows="prefixes"), data)
    batch = next(model.batches(data.train, 0, 0))
    shown = Histories.from_lengths(batch.tokens.numpy(), batch.packing.lengths)
    rows = shown.select(np.argsort(batch.packing.order))
    model.network.eval()
    with torch.no_grad():
        states = model.network.last_states(batch.tokens, batch.packing).numpy()
    real = Histories.from_lists([[item for item in row if item < 24] for row in rows.lists()])
    # a start is shown only where a place is left for it, so that shown rows give back what was shown
    again = model.network.rows(real).lists()
    same = [n for n in range(len(rows)) if again[n] == rows.lists()[n]]
    assert len(same) > 0.5 * len(rows)
    np.testing.assert_allclose(states[same], model.states(real)[same], atol=1e-5)


def test_states_at_all_places_end_in_the_state_of_the_row(data: RecommendationData) -> None:
    model = started(fresh(STRONG["sasrec"]), data)
    states, rows = model.all_states(HISTORIES)
    assert rows.lists()[:3] == [[24], [24, 3], [24, 4, 5, 6]]
    assert rows.lists()[3] == list(range(6, 12))
    np.testing.assert_allclose(states[rows.ends - 1], model.states(HISTORIES), atol=1e-5)


def test_reference_networks_have_states_of_rows_only(data: RecommendationData) -> None:
    model = started(fresh(REFERENCE["sasrec"]), data)
    with pytest.raises(ValueError, match="network: strong"):
        model.all_states(HISTORIES)


def test_states_times_output_vectors_are_the_scores(data: RecommendationData) -> None:
    model = started(fresh(STRONG["gru4rec"]), data)
    np.testing.assert_allclose(
        model.states(HISTORIES) @ model.item_vectors().T, model.scores(HISTORIES), atol=1e-5
    )


@pytest.mark.parametrize("vectors", ["input", "output", "mean"])
def test_item_vectors(vectors: str, data: RecommendationData) -> None:
    model = started(fresh(STRONG["sasrec"], tied=False, vectors=vectors), data)
    inputs, outputs = model.network.inputs, model.network.outputs[0]
    expected = {"input": inputs, "output": outputs, "mean": (inputs + outputs) / 2}[vectors]
    np.testing.assert_array_equal(model.item_vectors(), expected.detach().numpy())


def test_tables_start_from_another_model(data: RecommendationData, tmp_path: Path) -> None:
    giver = started(fresh(STRONG["gru4rec"]), data)
    giver.save_pretrained(tmp_path / "giver")
    taker = started(fresh(STRONG["sasrec"], start_vectors=str(tmp_path / "giver")), data)
    given, taken = giver.item_vectors(), taker.item_vectors()
    np.testing.assert_allclose(taken / taken.std(), given / given.std(), rtol=1e-3)
    with pytest.raises(ValueError, match="set width to 16"):
        started(fresh(STRONG["sasrec"], start_vectors=str(tmp_path / "giver"), width=8), data)


def test_tables_start_from_cooccurrence(data: RecommendationData) -> None:
    model = started(fresh(STRONG["sasrec"], start_vectors="cooccurrence"), data)
    vectors = model.item_vectors()
    similar = vectors @ vectors.T
    near = np.mean([similar[n, (n + 1) % 24] for n in range(24)])
    far = np.mean([similar[n, (n + 12) % 24] for n in range(24)])
    assert near > far


def test_a_memory_adds_what_followed(data: RecommendationData) -> None:
    plain, remembering = (
        started(fresh(STRONG["sasrec"], memory_weight=weight), data) for weight in (0.0, 2.0)
    )
    added = remembering.scores(HISTORIES) - plain.scores(HISTORIES)
    assert (added[1:] > -1e-4).all()
    assert added[2].argmax() in (6, 7)  # what mostly comes after 4, 5, 6
    assert remembering.factors(HISTORIES) is None


def test_with_a_memory_empty_histories_get_what_was_frequent_of_late(data: RecommendationData) -> None:
    model = started(fresh(STRONG["sasrec"], memory_weight=1.0, memory_recent=0.1), data)
    latest = data.train[54:]  # of sixty sequences
    counts = np.bincount(latest.items, minlength=24)
    np.testing.assert_allclose(model.scores(HISTORIES)[0], np.log1p(counts), rtol=1e-6)


def test_a_memory_cannot_be_added_afterwards(data: RecommendationData) -> None:
    model = started(fresh(STRONG["sasrec"]), data)
    model.config = replace(model.config, memory_weight=1.0)
    with pytest.raises(ValueError, match="fit it with a weight above 0"):
        model.scores(HISTORIES)


def test_without_first_items_empty_histories_are_level(data: RecommendationData) -> None:
    model = started(fresh(STRONG["sasrec"], first_items=False), data)
    scores = model.scores(HISTORIES)
    assert np.ptp(scores[0]) == 0
    assert np.ptp(scores[1]) > 0


def test_a_resumed_run_ends_where_the_whole_one_does(data: RecommendationData, tmp_path: Path) -> None:
    whole, part, rest = (fresh(STRONG["cl4srec"], dropout=0.3) for _ in range(3))
    whole.fit(data, trainer=TrainerConfig(max_epochs=3, validate_every=0), seed=5)
    part.fit(data, trainer=TrainerConfig(max_epochs=2, validate_every=0), seed=5, folder=tmp_path / "part")
    rest.fit(
        data,
        trainer=TrainerConfig(max_epochs=3, validate_every=0),
        seed=5,
        folder=tmp_path / "rest",
        resume=tmp_path / "part" / "checkpoints" / "last.ckpt",
    )
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(rest.arrays()[name], array, err_msg=name)


def test_the_learning_rate_rises_and_falls() -> None:
    model = fresh(STRONG["sasrec"], warmup_steps=4, decay_steps=104, floor=0.1)
    assert [model.rate_factor(step) for step in (0, 3)] == [0.25, 1.0]
    assert model.rate_factor(54) == pytest.approx(0.55)
    assert model.rate_factor(104) == model.rate_factor(500) == pytest.approx(0.1)
    assert fresh(STRONG["sasrec"], warmup_steps=0).rate_factor(10_000) == 1.0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SASRecConfig(network="reference"), "rows must be 'prefixes'"),
        (lambda: SASRecConfig.reference(tied=True), "tied: false"),
        (lambda: SASRecConfig.reference(num_blocks=2), "one block"),
        (lambda: SASRecConfig(masking="zero_sum"), "no padding"),
        (lambda: SASRecConfig(order="draws"), "rows: prefixes"),
        (lambda: SASRecConfig(vectors="output"), "tied: true"),
        (lambda: SASRecConfig(loss="sampled_softmax", shared_negatives=False), "shared_negatives: true"),
        (lambda: SASRecConfig(warmup_steps=10, decay_steps=10), "beyond warmup_steps"),
        (lambda: SASRecConfig(dropout=1.0), "dropout"),
        (lambda: SASRecConfig(width=0), "width must be at least 1"),
        (lambda: GRU4RecConfig.reference(dropout=0.1), "without dropout"),
        (lambda: CaserConfig.reference(window=4), "one vertical filter"),
        (lambda: CaserConfig(length=4, window=5), "longer than the 4 places"),
        (lambda: CL4SRecConfig(crop_share=0.0), "crop_share"),
        (lambda: CL4SRecConfig(rows="prefixes"), "whole rows"),
    ],
    ids=[
        "reference_windows",
        "reference_tied",
        "reference_blocks",
        "strong_masking",
        "draws_of_windows",
        "tied_output_vectors",
        "own_negatives_of_softmax",
        "decay_within_warmup",
        "all_dropped",
        "no_width",
        "reference_gru_dropout",
        "reference_caser_window",
        "wide_window",
        "empty_crop",
        "views_of_prefixes",
    ],
)
def test_impossible_settings_are_refused(make: object, said: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=said):
        make()


def test_the_reference_preset_takes_changes() -> None:
    config = SASRecConfig.reference(length=20)
    assert isinstance(config, SequentialConfig)
    assert (config.length, config.loss, config.tied, config.num_blocks) == (20, "bce", False, 1)
