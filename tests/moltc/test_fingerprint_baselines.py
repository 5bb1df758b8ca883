"""Fingerprint learners: features, what they can learn, determinism and bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from graph_samples import joined, random_molecule

from data_prep.graphs import GraphArrays
from moltc.baselines import PairArrays, naive_baselines
from moltc.class_metrics import class_metrics
from moltc.family import FamilyKind
from moltc.fingerprint_baselines import (
    PerceptronSettings,
    _batches,
    boosted_trees,
    build_perceptron,
    pair_features,
    perceptron,
    similar_pairs,
)
from moltc.metrics import binary_metrics, regression_metrics

MOLECULES = 40


def computed_pairs(kind: FamilyKind, n: int = 360) -> tuple[PairArrays, np.ndarray]:
    """Labels that follow from a few bits of either molecule."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, size=(MOLECULES, 512), dtype=np.uint8)
    a, b = rng.integers(MOLECULES, size=(2, n))
    value = 2.0 * bits[a, 0] + 2.0 * bits[b, 0] - 1.0 * bits[a, 1] - 1.0 * bits[b, 1]
    label = (value > 1).astype(float)
    if kind == "number":
        label = value
    if kind == "class":  # depends on the order
        label = 2.0 * bits[a, 0] + bits[b, 1]
    split = rng.choice(["train", "valid", "test", "none"], p=[0.7, 0.1, 0.15, 0.05], size=n)
    return PairArrays(a, b, label, split), np.packbits(bits, axis=1)


def atoms_with(fingerprints: np.ndarray) -> GraphArrays:
    """Molecules of one atom each, always the same, and of these fingerprints."""
    arrays = joined([random_molecule(1, np.random.default_rng(0))] * len(fingerprints))
    return arrays._replace(fingerprint=fingerprints)


@pytest.mark.parametrize("kind", ["number", "class"])
def test_numbers_and_classes_see_both_molecules_in_order(kind: FamilyKind) -> None:
    a, b = np.array([[1, 0]], dtype=np.uint8), np.array([[1, 1]], dtype=np.uint8)
    assert pair_features(kind, a, b).tolist() == [[1, 0, 1, 1]]


def test_yes_or_no_sees_sum_and_difference_in_either_order() -> None:
    a, b = np.array([[1, 0, 0]], dtype=np.uint8), np.array([[1, 1, 0]], dtype=np.uint8)
    assert pair_features("binary", a, b).tolist() == [[2, 1, 0, 0, 1, 0]]
    assert pair_features("binary", b, a).tolist() == [[2, 1, 0, 0, 1, 0]]


@pytest.mark.parametrize("kind", ["number", "binary"])
def test_of_a_single_molecule_the_bits_are_the_features(kind: FamilyKind) -> None:
    bits = np.array([[1, 0, 1]], dtype=np.uint8)
    assert pair_features(kind, bits).tolist() == [[1, 0, 1]]


def test_perceptron_has_its_published_size() -> None:
    assert sum(p.numel() for p in build_perceptron(4096).parameters()) == 2_230_273
    assert sum(p.numel() for p in build_perceptron(4096, 86).parameters()) == 2_252_118


LEARNERS = pytest.mark.parametrize(
    "learner", [boosted_trees, perceptron], ids=["boosted trees", "perceptron"]
)
KINDS = pytest.mark.parametrize("kind", ["number", "binary"], ids=["number", "binary"])


@pytest.mark.parametrize(
    ("learner", "options", "at_least"),
    [
        (boosted_trees, {"max_trees": 30}, 0.95),
        (perceptron, {"settings": PerceptronSettings(10, 64)}, 0.85),
    ],
    ids=["boosted trees", "perceptron"],
)
def test_learners_find_a_rule_about_single_molecules(
    learner: Callable[..., Any], options: dict[str, Any], at_least: float
) -> None:
    pairs, fingerprints = computed_pairs("number")
    bits = np.unpackbits(fingerprints, axis=1)
    label = 2.0 * bits[pairs.mol_a, 0] - bits[pairs.mol_a, 1]
    prediction = learner("number", PairArrays(pairs.mol_a, None, label, pairs.split), fingerprints, **options)
    test = pairs.rows("test")
    assert regression_metrics(label[test], prediction[test], resamples=0)["pearson"].value > at_least


@LEARNERS
@KINDS
def test_learners_predict_scored_rows_alike_each_time(kind: FamilyKind, learner: Callable[..., Any]) -> None:
    pairs, fingerprints = computed_pairs(kind)
    options: dict[str, Any] = (
        {"settings": PerceptronSettings(1, 64)} if learner is perceptron else {"max_trees": 3}
    )
    first = learner(kind, pairs, fingerprints, seed=3, **options)
    again = learner(kind, pairs, fingerprints, seed=3, **options)
    np.testing.assert_array_equal(first, again)
    assert (np.isfinite(first) == np.isin(pairs.split, ["valid", "test"])).all()


@pytest.mark.parametrize(
    ("learner", "options", "at_least"),
    [
        (boosted_trees, {"max_trees": 60}, 0.95),
        (perceptron, {"settings": PerceptronSettings(20, 64)}, 0.85),
    ],
    ids=["boosted trees", "perceptron"],
)
@KINDS
def test_learners_find_the_rule(
    kind: FamilyKind, learner: Callable[..., Any], options: dict[str, Any], at_least: float
) -> None:
    pairs, fingerprints = computed_pairs(kind)
    test = pairs.rows("test")
    prediction = learner(kind, pairs, fingerprints, **options)[test]
    if kind == "number":
        assert regression_metrics(pairs.label[test], prediction, resamples=0)["pearson"].value > at_least
    else:
        assert binary_metrics(pairs.label[test], prediction, resamples=0)["auc_roc"].value > at_least


def test_the_perceptron_learns_classes_that_depend_on_the_order() -> None:
    pairs, fingerprints = computed_pairs("class")
    options: dict[str, Any] = {"settings": PerceptronSettings(20, 64)}
    scores = perceptron("class", pairs, fingerprints, seed=3, **options)
    scored = np.isin(pairs.split, ["valid", "test"])
    assert scores.shape == (len(pairs.label), 4)
    assert (np.isfinite(scores).all(axis=1) == scored).all()
    np.testing.assert_allclose(np.exp(scores[scored]).sum(axis=1), 1.0)
    test = pairs.rows("test")
    assert class_metrics(pairs.label[test], scores[test], resamples=0)["accuracy"].value > 0.8
    np.testing.assert_array_equal(scores, perceptron("class", pairs, fingerprints, seed=3, **options))


def test_boosted_trees_refuse_classes() -> None:
    with pytest.raises(ValueError, match="not kind 'class': take the perceptron"):
        boosted_trees("class", *computed_pairs("class"))


@pytest.mark.parametrize(
    ("train_pairs", "kind", "epochs", "batch_size"),
    [(50_000, "number", 12, 256), (50_000, "class", 10, 1024), (500, "class", 40, 64)],
    ids=["numbers", "many typed pairs", "few typed pairs"],
)
def test_training_length_follows_the_number_of_pairs(
    train_pairs: int, kind: FamilyKind, epochs: int, batch_size: int
) -> None:
    assert PerceptronSettings.for_size(train_pairs, kind) == PerceptronSettings(epochs, batch_size)


@pytest.mark.parametrize("name", ["morgan_hgb", "morgan_mlp"])
def test_learners_are_reached_by_name(name: str) -> None:
    pairs, fingerprints = computed_pairs("binary", n=60)
    result = naive_baselines("binary", pairs, atoms_with(fingerprints), include=[name], resamples=5)[name]
    assert result.title.startswith("Morgan + ")
    assert {"auc_roc", "brier"} <= set(result.metrics["test"])


@pytest.mark.parametrize(
    ("kind", "metric", "at_least"), [("binary", "auc_roc", 0.7), ("class", "accuracy", 0.45)]
)
def test_similar_pairs_vote_without_training(kind: FamilyKind, metric: str, at_least: float) -> None:
    pairs, fingerprints = computed_pairs(kind, n=800)
    found = naive_baselines(kind, pairs, atoms_with(fingerprints), resamples=5)["similar_pairs"]
    assert found.title == "votes of similar pairs"
    assert found.metrics["test"][metric].value > at_least
    assert (np.isfinite(found.prediction) == np.isin(pairs.split, ["valid", "test"])).all()


def test_similar_pairs_see_what_molecules_are_made_of() -> None:
    """Promise: molecules of one fingerprint and other atoms are told apart."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(MOLECULES, size=(2, 800))
    carbon = random_molecule(1, rng)
    kinds = [carbon._replace(atoms=np.full_like(carbon.atoms, number)) for number in (0, 1)]
    graphs = joined([kinds[molecule % 2] for molecule in range(MOLECULES)])
    graphs = graphs._replace(fingerprint=np.full((MOLECULES, 64), 15, np.uint8))
    pairs = PairArrays(
        a, b, ((a + b) % 2).astype(float), np.repeat(["train", "valid", "test"], [600, 100, 100])
    )
    found = naive_baselines("binary", pairs, graphs, resamples=5)["similar_pairs"]
    assert found.metrics["test"]["auc_roc"].value > 0.99


def test_similar_pairs_refuse_numbers() -> None:
    pairs, fingerprints = computed_pairs("number")
    with pytest.raises(ValueError, match="not on kind 'number'"):
        similar_pairs("number", pairs, atoms_with(fingerprints))


def test_perceptron_leaves_the_global_random_state_and_threads() -> None:
    pairs, fingerprints = computed_pairs("number")
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    perceptron("number", pairs, fingerprints, settings=PerceptronSettings(1, 64))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [(9, [4, 5]), (8, [4, 4]), (3, [3]), (10, [4, 4, 2])],
    ids=["one left over", "even", "fewer than a batch", "two left over"],
)
def test_no_batch_holds_a_single_row(rows: int, sizes: list[int]) -> None:
    parts = _batches(np.arange(rows), 4)
    assert [len(part) for part in parts] == sizes
    assert np.concatenate(parts).tolist() == list(range(rows))


@LEARNERS
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda fingerprints: fingerprints.astype(float), "packed bits"),
        (lambda fingerprints: fingerprints[:5], "only 5 fingerprints"),
    ],
    ids=["type", "too few"],
)
def test_bad_fingerprints_are_named(
    learner: Callable[..., Any], change: Callable[..., Any], words: str
) -> None:
    pairs, fingerprints = computed_pairs("number")
    with pytest.raises(ValueError, match=words):
        learner("number", pairs, change(fingerprints))


@LEARNERS
def test_valid_rows_are_needed(learner: Callable[..., Any]) -> None:
    pairs, fingerprints = computed_pairs("number")
    without = PairArrays(
        pairs.mol_a, pairs.mol_b, pairs.label, np.where(pairs.split == "valid", "none", pairs.split)
    )
    with pytest.raises(ValueError, match="valid split"):
        learner("number", without, fingerprints)
