"""LLaRA in its layouts and forms: what prompts show, what is drawn, what the log says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tiny_language import NUM_ITEMS, SMALL, fitted, listed_data, llara

from graphrec.data import RecommendationData
from graphrec.histories import Histories
from graphrec.llara.config import LlaraConfig
from graphrec.llara.rates import LlaraRates
from graphrec.llara.recommender import Llara
from graphrec.ranking import candidate_ranks
from graphrec.trainer import TrainerConfig

QUESTIONS: dict[str, Any] = {"layout": "candidates", "num_candidates": 4, "open_share": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return listed_data(tmp_path_factory.mktemp("lists"))


def text(model: Llara, ids: np.ndarray) -> str:
    return str(model.network.language_model.tokenizer.decode(ids))


# -- the curriculum --------------------------------------------------------------------------------------


def test_the_logged_share_is_the_drawn_one(data: RecommendationData, tmp_path: Path) -> None:
    model = Llara(LlaraConfig(**{**SMALL, "planned_epochs": 6}, curriculum="power"))
    trainer = TrainerConfig(max_epochs=6, validate_every=0, log_every=1)
    report = model.fit(data, trainer=trainer, folder=tmp_path, seed=2)
    log = pl.read_csv(tmp_path / "logs/version_0/metrics.csv", infer_schema_length=None)
    drawn = log["train/hybrid"].drop_nulls().to_numpy()
    assert len(drawn) == model.total_steps
    assert drawn.tolist() == [float(model.shows(step)) for step in range(len(drawn))]
    means = np.cumsum(drawn) / np.arange(1, len(drawn) + 1)
    np.testing.assert_allclose(log["train/hybrid_share"].drop_nulls().to_numpy(), means, atol=1e-6)
    progress = np.arange(len(drawn)) / len(drawn)
    np.testing.assert_allclose(log["train/curriculum"].drop_nulls().to_numpy(), progress, atol=1e-6)
    assert report.notes == (
        f"{drawn.mean():.1%} of {len(drawn)} batches were hybrid; the curriculum is planned for {len(drawn)}",
    )


def test_the_projector_learns_from_hybrid_batches_alone(data: RecommendationData) -> None:
    model = llara(data, curriculum="step", switch=0.5)
    batch = next(iter(model.batches(data.train, 0, 0)))
    steps = model.total_steps
    grads = {}
    for name, step in (("text", 0), ("hybrid", steps - 1)):
        model.network.zero_grad()
        model.loss(batch, step)["loss"].backward()
        grads[name] = [weight.grad for weight in model.network.towers.parameters()]
    assert all(grad is None for grad in grads["text"])
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads["hybrid"])
    assert not model.network.towers.placeholder.requires_grad


def test_beyond_the_planned_run_all_is_as_at_its_end(data: RecommendationData) -> None:
    model = llara(data, curriculum="constant", level=1.0)
    batch = next(iter(model.batches(data.train, 0, 0)))
    assert float(model.loss(batch, model.total_steps + 50)["curriculum"]) == 1.0
    assert model.rate_factor(model.total_steps + 50) == pytest.approx(model.config.floor)


def test_the_published_learning_rates(data: RecommendationData) -> None:
    model = llara(data, rates="llara", lr=1e-3, planned_epochs=5)
    steps, epoch = model.total_steps, model.epoch_steps
    rates = LlaraRates(1e-3, 1e-5, 1e-5, steps, steps // 20)
    for step in (0, 1, steps // 20, epoch, steps - 1):
        assert model.rate_factor(step) * 1e-3 == pytest.approx(rates.rate(step, step // epoch))


# -- questions about candidates -----------------------------------------------------------------------------


def test_questions_show_history_candidates_and_the_answer(data: RecommendationData) -> None:
    model = llara(data, **QUESTIONS, wording="B", domain="films")
    tree = model.prompt([3, 9], [5, 4, 11])
    words = text(model, tree.prompt_ids)
    assert "seen, oldest first: Item 3 <pad> , Item 9 <pad> . From the 3 titles Item 5 <pad>" in words
    assert words.endswith("Recommended title:")
    assert [run.entity for run in tree.slots] == [3, 9, 5, 4, 11]
    batch = next(iter(model.batches(data.train, 0, 0)))
    assert len(batch.targets) == batch.packed.input_ids.shape[0] == len(batch.packed.lengths)


def test_states_stand_in_the_history_alone(data: RecommendationData) -> None:
    model = llara(data, **QUESTIONS, states=True)
    tree = model.prompt([3, 9], [9, 4])
    assert [run.entity for run in tree.slots] == [(3,), (3, 9), 9, 4]
    inputs = model.network.inputs({"item": [run.entity for run in tree.slots]})
    assert inputs.items.tolist() == [3, 9, 9, 4]
    assert inputs.states is not None
    assert inputs.states[2:].abs().sum() == 0
    wanted = model._states(Histories.from_lists([[3], [3, 9]]))
    torch.testing.assert_close(inputs.states[:2], wanted)


def test_an_empty_history_and_an_open_question_are_asked(data: RecommendationData) -> None:
    model = llara(data, **QUESTIONS)
    assert "oldest first: nothing yet. Which" in text(model, model.prompt([], [1, 2]).prompt_ids)
    opened = text(model, model.prompt([3]).prompt_ids)
    assert "Pick exactly one" not in opened
    assert model.scores(Histories.from_lists([[], [3, 4]])).shape == (2, NUM_ITEMS)


def test_a_share_of_batches_lists_nothing(data: RecommendationData) -> None:
    model = llara(data, **{**QUESTIONS, "open_share": 0.5}, wording="A")
    listed = []
    for epoch in range(4):
        for batch in model.batches(data.train, epoch, 0):
            listed.append("exactly" in text(model, batch.packed.input_ids[0].numpy()))
    assert 0.25 < np.mean(listed) < 0.75


def test_wordings_are_drawn_for_each_batch(data: RecommendationData) -> None:
    model = llara(data, **QUESTIONS, wording="drawn", domain="films")
    cues = {"Answer:", "title:", "Recommendation:"}
    seen = set()
    for epoch in range(3):
        for batch in model.batches(data.train, epoch, 0):
            seen |= {cue for cue in cues if cue in text(model, batch.packed.input_ids[0].numpy())}
    assert seen == cues


def test_each_draw_is_asked_by_itself(data: RecommendationData) -> None:
    model = llara(data, **QUESTIONS)
    rows = data.test.select(np.arange(6))
    assert rows.candidates is not None
    scores = model.draw_scores(rows.histories, rows.candidates)
    for draw in range(rows.candidates.shape[1]):
        alone = model.candidate_scores(rows.histories, rows.candidates[:, draw])
        np.testing.assert_allclose(scores[:, draw], alone, atol=1e-5)
    assert candidate_ranks(model, rows).shape == (6, 2)
    shown_otherwise = model.candidate_scores(rows.histories, rows.candidates[:, 0, ::-1])[:, ::-1]
    assert np.abs(shown_otherwise - scores[:, 0]).max() > 1e-4


def test_lists_of_any_length_are_shown_as_they_are(data: RecommendationData) -> None:
    model = llara(data, **QUESTIONS)
    histories, candidates = [["i3"], [], ["i5", "i6"]], [["i1", "i2", "i9"], [], ["i8"]]
    found = model.score(histories, candidates)
    assert [len(row) for row in found] == [3, 0, 1]
    alone = model.score(histories[2:], candidates[2:])[0]
    np.testing.assert_allclose(found[2], alone, atol=1e-5)
    beside_another = model.score(histories[2:], [["i8", "i0"]])[0][:1]
    assert abs(beside_another - alone)[0] > 1e-4


def test_windows_do_not_read_the_list(data: RecommendationData) -> None:
    model = llara(data)
    rows = data.test
    assert rows.candidates is not None
    scores = model.draw_scores(rows.histories, rows.candidates)
    whole = model.scores(rows.histories)
    wanted = np.take_along_axis(whole[:, None], rows.candidates, axis=2)
    np.testing.assert_allclose(scores, wanted, atol=1e-5)


# -- what ranks ----------------------------------------------------------------------------------------------


def test_means_and_priors(data: RecommendationData) -> None:
    model = llara(data)
    histories = Histories.from_lists([[3, 4], []])
    sums, nothing = model.scores(histories)
    lengths = model.network.titles.lengths
    np.testing.assert_allclose(with_(model, mean_token=True).scores(histories)[0], sums / lengths, atol=1e-5)
    taken_off = with_(model, prior_share=0.5).scores(histories)
    np.testing.assert_allclose(taken_off[0], sums - 0.5 * nothing, atol=1e-5)


def with_(model: Llara, **settings: Any) -> Llara:
    other = Llara(LlaraConfig(**SMALL, **settings))
    other.catalogue, other.network = model.catalogue, model.network
    return other


def test_it_learns_what_follows_what(data: RecommendationData) -> None:
    """Walks mostly go one item on: a fitted model knows the next item far more often than a new one."""
    settings: dict[str, Any] = {"width": 32, "vector_width": 12, "dropout": 0.0, "lr": 5e-3}
    settings |= {"warmup_steps": 5, "planned_epochs": 12}
    known = data.test.select(np.arange(17))
    hits = []
    for model in (llara(data, **settings), fitted(data, epochs=12, **settings)):
        scores = model.scores(known.histories)
        nexts = [history[-1] + 1 for history in known.histories.lists()]
        hits.append(np.mean(scores.argmax(axis=1) == np.array(nexts) % NUM_ITEMS))
    assert hits[1] > 0.8
    assert hits[1] > hits[0] + 0.3
