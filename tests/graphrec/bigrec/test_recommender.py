"""BIGRec as a whole: weights of samples, grounding of what is written, exports that stand alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tiny_bigrec import INSTRUCTIONS, fitted, settings
from tiny_recommenders import tiny_data, write_folder

from graphrec.bigrec.recommender import BigRec
from graphrec.bigrec.samples import Samples
from graphrec.data import RecommendationData
from graphrec.fairness.groups import ItemGroups
from graphrec.fairness.reweighting import reweight
from graphrec.histories import Histories
from graphrec.language.windows import TitleBatch
from graphrec.neighbours import ItemKNN
from graphrec.recommender import Recommender
from graphrec.trainer import TrainerConfig
from moltc.backbone.checkpoint import CheckpointError

HISTORIES = Histories.from_lists([[3, 4, 5], [], [7, 7, 1]])


def started(data: RecommendationData, **others: Any) -> BigRec:
    """A model that is ready to be trained."""
    model = BigRec(settings(dropout=0.0, **others))
    model.start(data.catalogue, seed=0)
    model.prepare(data.fitted())
    return model


def first_batch(model: BigRec, data: RecommendationData) -> TitleBatch:
    return next(iter(model.batches(data.train, 0, 0)))


def gradients(model: BigRec, batch: TitleBatch) -> dict[str, torch.Tensor]:
    model.network.zero_grad()
    model.loss(batch, 0)["loss"].backward()
    named = model.network.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


# -- weights of samples --------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [{}, INSTRUCTIONS], ids=["windows", "instructions"])
def test_weights_of_one_change_no_bit(walked: RecommendationData, others: dict[str, Any]) -> None:
    model = started(walked, **others)
    batch = first_batch(model, walked)
    plain, grads = model.loss(batch, 0)["loss"], gradients(model, batch)
    model._item_weights = torch.ones(len(walked.catalogue))
    assert model.loss(batch, 0)["loss"].item() == plain.item()
    for name, grad in gradients(model, batch).items():
        assert torch.equal(grad, grads[name]), name


def test_each_sample_has_its_own_weight(walked: RecommendationData) -> None:
    model = started(walked, **INSTRUCTIONS, batch_size=5)
    samples = model._samples
    assert samples is not None
    weights = torch.linspace(0.2, 3.0, len(walked.catalogue))
    rows = [samples.select(np.array([place])) for place in (0, 7, 20, 41, 63)]
    trees = [model.prompts.sample(row.histories.lists()[0], int(row.targets[0])) for row in rows]
    targets = torch.tensor([int(row.targets[0]) for row in rows])
    together = gradients_of(model, trees, targets, weights)
    alone = [gradients_of(model, trees[n : n + 1], targets[n : n + 1], None) for n in range(len(rows))]
    for name, grad in together.items():
        wanted = sum(weights[targets[n]] * one[name] for n, one in enumerate(alone)) / len(rows)
        torch.testing.assert_close(grad, wanted, rtol=1e-4, atol=1e-6)


def gradients_of(
    model: BigRec, trees: list[Any], targets: torch.Tensor, weights: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    model._item_weights = weights
    return gradients(model, TitleBatch(*model.network.batch(trees), targets))


def test_weights_are_those_of_the_trained_samples(walked: RecommendationData) -> None:
    model = started(walked, reweight="popularity:3")
    found = model.reweighting
    assert found is not None
    sequences = walked.train.lists()
    targets = [item for row in sequences for item in row[1:]]
    histories = [row[max(0, n - 5) : n] for row in sequences for n in range(1, len(row))]
    counts = np.bincount(walked.train.items, minlength=24)
    by_hand = reweight(
        ItemGroups.by_popularity(counts, 3), Histories.from_lists(histories), np.array(targets)
    )
    assert found.group_weights.tolist() == by_hand.group_weights.tolist()
    assert found.weights.tolist() == by_hand.weights.tolist()
    assert model._item_weights is not None
    assert model._item_weights.tolist() == pytest.approx(by_hand.item_weights.tolist())


def test_weights_can_oppose_what_a_model_recommends(walked: RecommendationData, tmp_path: Path) -> None:
    fitted(walked).save_pretrained(tmp_path / "plain")
    loaded = Recommender.from_pretrained(tmp_path / "plain")
    model = started(walked, reweight="genres", reweight_model=str(tmp_path / "plain"))
    samples = Samples.of(walked.train, 5)
    groups = ItemGroups.from_catalogue(walked.catalogue, "genres")
    scores = loaded.scores(walked.train)
    scores[walked.train.rows, walked.train.items] = -np.inf
    shown = groups.counts(np.argsort(-scores, axis=1)[:, :10])
    wanted = groups.counts(samples.histories.items)
    ratios = (wanted / wanted.sum() + 0.01) / (shown / shown.sum() + 0.01)
    assert model.reweighting is not None
    np.testing.assert_allclose(model.reweighting.group_weights, ratios)
    assert model.reweighting.weights.mean() == pytest.approx(1)


def test_the_report_tells_what_weights_leave(walked: RecommendationData) -> None:
    model = BigRec(settings(reweight="popularity:3"))
    report = model.fit(walked, trainer=TrainerConfig(max_epochs=1))
    told = report.notes[0]
    assert told.startswith("reweighted by popularity:3: ")
    assert f"of {len(walked.train.items) - len(walked.train)} samples are effective" in told
    assert "titles written on validation rows are in the catalogue" in report.notes[1]


def test_groups_that_are_not_there(walked: RecommendationData) -> None:
    with pytest.raises(ValueError, match="no groups 'studio'; it has genres"):
        fitted(walked, reweight="studio")


# -- batches -------------------------------------------------------------------------------------------------


def test_an_epoch_of_instructions_has_every_sample_once(walked: RecommendationData) -> None:
    model = started(walked, **INSTRUCTIONS, batch_size=50)
    batches = list(model.batches(walked.train, 1, 0))
    assert len(batches) == model.num_batches(walked.train)
    targets = torch.cat([batch.targets for batch in batches])
    assert sorted(targets.tolist()) == sorted(n for row in walked.train.lists() for n in row[1:])
    again = list(model.batches(walked.train, 1, 0))
    assert all(
        torch.equal(a.packed.input_ids, b.packed.input_ids) for a, b in zip(batches, again, strict=True)
    )
    assert not torch.equal(targets, torch.cat([b.targets for b in model.batches(walked.train, 2, 0)]))


def test_drawn_samples_are_the_same_for_every_seed(walked: RecommendationData) -> None:
    model = started(walked, **INSTRUCTIONS, samples=30, batch_size=8)
    assert model.num_batches(walked.train) == 4
    drawn = [
        sorted(torch.cat([batch.targets for batch in model.batches(walked.train, 0, seed)]).tolist())
        for seed in (0, 1)
    ]
    assert len(drawn[0]) == 30
    assert drawn[0] == drawn[1]


def test_trained_prompts_are_those_that_are_asked(walked: RecommendationData) -> None:
    """What precedes a target in a window is what answers are asked for with."""
    model = started(walked)
    window = Histories.from_lists([[4, 9, 2]])
    batch = model.network.windows(window)
    asked = model.prompts.of([4, 9]).prompt_ids
    assert batch.packed.input_ids[0, : len(asked)].tolist() == asked.tolist()


# -- answers -------------------------------------------------------------------------------------------------


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Models write these titles, whatever they would write; the histories they were asked are kept."""
    asked: list[tuple[int, ...]] = []
    answers = {(3, 4, 5): "Item 20", (): "Item 0", (7, 7, 1): "Item 5"}

    def write(self: BigRec, histories: list[tuple[int, ...]]) -> list[str]:
        asked.extend(histories)
        return [answers.get(history, "Item 1") for history in histories]

    monkeypatch.setattr(BigRec, "_write", write)
    return asked


@pytest.mark.usefixtures("taught")
def test_a_written_title_comes_first(walked: RecommendationData) -> None:
    model = fitted(walked)
    scores = model.scores(HISTORIES)
    assert scores.argmax(axis=1).tolist() == [20, 0, 5]
    assert (scores.max(axis=1) == 0).all()
    assert ((scores >= -1) & (scores <= 0)).all()


@pytest.mark.usefixtures("taught")
def test_items_of_one_title_are_as_near(tmp_path: Path) -> None:
    data = tiny_data(tmp_path / "twins")
    titles = list(data.catalogue.titles)
    titles[7] = titles[20]
    data.catalogue = replace(data.catalogue, titles=titles)
    scores = fitted(data).scores(HISTORIES)
    assert scores[0, 20] == scores[0, 7] == 0
    assert (scores[0] == 0).sum() == 2


@pytest.mark.usefixtures("taught")
def test_popularity_moves_all_but_the_exact_title(walked: RecommendationData) -> None:
    model = fitted(walked, weighting="popularity", gamma=2.0)
    plain = fitted(walked)
    counts = np.bincount(walked.train.items, minlength=24)
    weights = (counts - counts.min()) / (counts.max() - counts.min())
    np.testing.assert_allclose(
        model.scores(HISTORIES), plain.scores(HISTORIES) * (1 + weights) ** -2.0, rtol=1e-4, atol=1e-6
    )


def test_gamma_is_chosen_on_validation(walked: RecommendationData) -> None:
    model = BigRec(settings(weighting="popularity", gammas=(0.0, 3.0, 9.0)))
    report = model.fit(walked, trainer=TrainerConfig(max_epochs=1))
    assert model.config.gamma in (0.0, 3.0, 9.0)
    assert f"gamma {model.config.gamma:g} of 3 is best" in report.notes[-1]
    grounding = model._grounding(walked.valid.histories)
    texts = model.written(walked.valid.histories)
    tried = grounding.best_gamma(texts, walked.valid, (0.0, 3.0, 9.0), walked.manifest)
    assert tried.values[model.config.gamma] == max(tried.values.values())
    with pytest.raises(ValueError, match="give one gamma"):
        BigRec(model.config).fit(walked, refit_on_trainval=True)


def test_answers_are_remembered_until_the_weights_change(
    model: BigRec, taught: list[tuple[int, ...]]
) -> None:
    model.after_step(1)
    model.scores(HISTORIES)
    model.scores(HISTORIES)
    assert taught == [(3, 4, 5), (), (7, 7, 1)]
    model.after_step(2)
    model.scores(HISTORIES)
    assert len(taught) == 6
    model.after_step(3)  # other tests share the model


def test_likelihood_ranks_by_log_probabilities(walked: RecommendationData, model: BigRec) -> None:
    other = BigRec(replace(model.config, ranking="likelihood"))
    other.catalogue, other.network = model.catalogue, model.network
    scores = other.scores(HISTORIES)
    with torch.no_grad():
        for row, history in enumerate(HISTORIES.lists()):
            tree = model.prompts.of(history).with_completions([model.prompts.answer(n) for n in range(24)])
            wanted = model.network.log_probs([tree]).logps
            np.testing.assert_allclose(scores[row], wanted.numpy(), rtol=1e-4, atol=1e-4)
    candidates = np.array([[3, 1], [2, 2], [0, 9]])
    np.testing.assert_allclose(
        other.candidate_scores(HISTORIES, candidates), np.take_along_axis(scores, candidates, 1), rtol=1e-4
    )


@pytest.mark.parametrize("others", [{}, INSTRUCTIONS], ids=["windows", "instructions"])
def test_answers_held_to_groups(walked: RecommendationData, others: dict[str, Any]) -> None:
    model = fitted(walked, **others)
    groups = ItemGroups.from_catalogue(walked.catalogue, "genres")  # all, even, odd
    items, logps = model.group_answers(HISTORIES, groups, exclude_seen=True)
    assert items.shape == logps.shape == (3, 3)
    assert (items[:, 1] % 2 == 0).all()
    assert (items[:, [0, 2]] % 2 == 1).all()
    for row, history in enumerate(HISTORIES.lists()):
        assert not set(items[row].tolist()) & set(history)
    assert np.isfinite(logps).all()
    scores = model.scores_of_answers(HISTORIES, items[:, 1])
    assert scores.argmax(axis=1).tolist() == items[:, 1].tolist()


def test_items_without_title_are_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "bare", 4, [[0, 1]], [([0], 1)], [([0], 1)], titles=False)
    with pytest.raises(ValueError, match="item 'i0' has no title"):
        fitted(RecommendationData.load(folder))


# -- files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "others",
    [{}, INSTRUCTIONS, {"sources": (), "token_start": "random"}, {"form": "hybrid"}],
    ids=["windows", "instructions", "without-vectors", "hybrid"],
)
def test_an_export_stands_alone(walked: RecommendationData, tmp_path: Path, others: dict[str, Any]) -> None:
    model = fitted(walked, weighting="popularity", gamma=1.0, **others)
    model.save_pretrained(tmp_path / "export")
    loaded = Recommender.from_pretrained(tmp_path / "export")
    assert isinstance(loaded, BigRec)
    np.testing.assert_array_equal(loaded.scores(HISTORIES), model.scores(HISTORIES))
    assert loaded.written(HISTORIES) == model.written(HISTORIES)


def test_the_collaborator_is_saved_within(walked: RecommendationData, tmp_path: Path) -> None:
    knn = ItemKNN()
    knn.fit(walked)
    knn.save_pretrained(tmp_path / "knn")
    model = fitted(walked, weighting=str(tmp_path / "knn"), gamma=4.0)
    plain = fitted(walked).scores(HISTORIES)
    assert not np.array_equal(model.scores(HISTORIES), plain)
    model.save_pretrained(tmp_path / "export")
    (tmp_path / "knn" / "config.json").unlink()
    loaded = Recommender.from_pretrained(tmp_path / "export")
    np.testing.assert_array_equal(loaded.scores(HISTORIES), model.scores(HISTORIES))


def test_a_missing_weight_is_refused(model: BigRec, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "export")
    arrays = load_file(tmp_path / "export" / "model.safetensors")
    assert "popularity" in arrays
    for name in ("popularity", "towers.vectors", next(n for n in arrays if "embed_tokens" in n)):
        broken = {key: value for key, value in arrays.items() if key != name}
        other = BigRec(model.config)
        other.catalogue, other.folder = model.catalogue, tmp_path / "export"
        with pytest.raises(CheckpointError, match=name.split(".")[-1]):
            other.set_arrays(broken)
    save_file(broken, tmp_path / "export" / "model.safetensors")
    with pytest.raises(CheckpointError):
        Recommender.from_pretrained(tmp_path / "export")


def test_a_run_that_goes_on_ends_alike(walked: RecommendationData, tmp_path: Path) -> None:
    config = settings(planned_epochs=2, reweight="genres")
    once, twice = BigRec(config), BigRec(config)
    once.fit(walked, trainer=TrainerConfig(max_epochs=2, validate_every=0))
    folder = tmp_path / "run"
    twice.fit(walked, trainer=TrainerConfig(max_epochs=1, validate_every=0), folder=folder)
    again = BigRec(config)
    again.fit(
        walked,
        trainer=TrainerConfig(max_epochs=2, validate_every=0),
        folder=folder,
        resume=folder / "checkpoints" / "last.ckpt",
    )
    for name, value in once.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], value, err_msg=name)
