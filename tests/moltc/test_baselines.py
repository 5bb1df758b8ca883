"""Naive baselines: worked examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from moltc.baselines import (
    PairArrays,
    additive_effects,
    baseline_names,
    best_threshold,
    degree_product,
    degree_ratio,
    naive_baselines,
    solvent_mean,
    train_log_odds,
    train_mean,
    type_frequencies,
    type_frequencies_of_drugs,
)


def make_pairs(rows: list[tuple[int, int, float, str]]) -> PairArrays:
    a, b, label, split = zip(*rows, strict=True)
    return PairArrays(np.array(a), np.array(b), np.array(label, dtype=float), np.array(split))


def zip_rows(pairs: PairArrays) -> list[tuple[int, int, float, str]]:
    """The rows that :func:`make_pairs` takes."""
    columns = (pairs.mol_a, pairs.mol_b, pairs.label, pairs.split)
    return list(zip(*(column.tolist() for column in columns), strict=True))


SOLUTIONS = make_pairs(
    [
        (0, 3, 1.0, "train"),
        (1, 3, 3.0, "train"),
        (0, 4, 8.0, "train"),
        (1, 4, 9.0, "test"),
        (2, 3, 2.0, "test"),
        (0, 5, 2.5, "valid"),
        (2, 5, 9.9, "none"),
    ]
)
INTERACTIONS = make_pairs(
    [
        (0, 1, 1, "train"),
        (0, 2, 1, "train"),
        (1, 2, 0, "train"),
        (0, 3, 0, "train"),
        (1, 0, 1, "valid"),
        (2, 3, 0, "valid"),
        (0, 4, 1, "test"),
        (1, 2, 0, "test"),
    ]
)


TYPES = make_pairs(
    [
        (0, 1, 2, "train"),
        (0, 2, 2, "train"),
        (0, 3, 1, "train"),
        (1, 0, 2, "train"),
        (4, 3, 0, "train"),
        (0, 3, 1, "valid"),
        (1, 2, 2, "test"),
        (5, 6, 2, "test"),
        (3, 0, 0, "none"),
    ]
)


# --- worked examples --------------------------------------------------------------------------------------


def test_train_mean_ignores_other_splits() -> None:
    assert train_mean(SOLUTIONS).tolist() == [4.0] * 7


def test_solvent_mean_falls_back_to_the_overall_mean() -> None:
    assert solvent_mean(SOLUTIONS).tolist() == [2.0, 2.0, 8.0, 8.0, 2.0, 4.0, 4.0]


def test_one_sweep_of_additive_effects_by_hand() -> None:
    prediction = additive_effects(SOLUTIONS, shrinkage=1.0, sweeps=1)
    solvent_3, solvent_4 = (-3 - 1) / (2 + 1), 4 / (1 + 1)
    solute_0 = ((-3 - solvent_3) + (4 - solvent_4)) / (2 + 1)
    solute_1 = (-1 - solvent_3) / (1 + 1)
    expected = [4 + solute_0 + solvent_3, 4 + solute_1 + solvent_4, 4 + solvent_3, 4 + solute_0, 4]
    np.testing.assert_allclose(prediction[[0, 3, 4, 5, 6]], expected)


def test_additive_effects_solve_an_additive_table() -> None:
    effect_a, effect_b = np.array([0.0, 1.0, -2.0, 4.0]), np.array([3.0, -1.0, 0.5])
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(4), np.arange(3), indexing="ij"))
    split = np.where(np.arange(12) % 5 == 4, "test", "train")
    pairs = PairArrays(a, b + 4, effect_a[a] + effect_b[b], split)
    np.testing.assert_allclose(additive_effects(pairs, shrinkage=1e-9, sweeps=500), pairs.label, atol=1e-6)


def test_degrees_count_training_pairs_of_either_end() -> None:
    assert degree_product(INTERACTIONS).tolist() == [2, 2, 1, 0, 2, 0, 0, 1]
    expected = np.log(3 / 2) + np.log(2 / 2)
    np.testing.assert_allclose(degree_ratio(INTERACTIONS)[[0, 1, 4]], expected)


def test_log_odds_of_the_training_rate_stay_finite() -> None:
    assert train_log_odds(INTERACTIONS)[0] == 0.0
    only_yes = make_pairs([(0, 1, 1, "train"), (0, 2, 1, "test")])
    assert train_log_odds(only_yes)[0] == pytest.approx(np.log(1.5 / 0.5))


def test_shares_of_the_types_are_smoothed_by_half_a_pair() -> None:
    expected = np.log(np.array([1.5, 1.5, 3.5]) / 6.5)
    np.testing.assert_allclose(type_frequencies(TYPES), np.tile(expected, (9, 1)))


def test_naive_bayes_of_the_two_drugs_by_hand() -> None:
    """Drug 0 has types 2, 2, 1 in the first slot, drug 3 has types 1, 0 in the second."""
    overall = np.array([1.5, 1.5, 3.5]) / 6.5
    first, second = (np.array([0, 1, 2]) + overall) / 4, (np.array([1, 1, 0]) + overall) / 3
    joint = first * second / overall
    np.testing.assert_allclose(np.exp(type_frequencies_of_drugs(TYPES)[5]), joint / joint.sum())


def test_drugs_unseen_in_their_slot_say_nothing() -> None:
    found = type_frequencies_of_drugs(TYPES)
    np.testing.assert_allclose(found[[7]], type_frequencies(TYPES)[[7]])  # neither drug was seen
    only_second = np.array([0, 0, 1]) + np.array([1.5, 1.5, 3.5]) / 6.5  # drug 2, which was second once
    one_unseen = type_frequencies_of_drugs(make_pairs([*zip_rows(TYPES), (9, 2, 2.0, "test")]))[-1]
    np.testing.assert_allclose(np.exp(one_unseen), only_second / 2)


def test_best_threshold_splits_separable_scores() -> None:
    scores = np.arange(11.0)
    threshold = best_threshold(scores, (scores > 6).astype(float))
    assert 6 <= threshold < 7


def test_constant_scores_are_never_answered_yes() -> None:
    assert best_threshold(np.zeros(5), np.array([1.0, 1, 1, 1, 0])) == 0.0


# --- single molecules -------------------------------------------------------------------------------------


def single(pairs: PairArrays) -> PairArrays:
    """The rows without their second molecule."""
    return PairArrays(pairs.mol_a, None, pairs.label, pairs.split)


def test_only_the_constant_is_instant_for_single_molecules() -> None:
    assert baseline_names("number", single=True) == baseline_names("binary", single=True) == ("constant",)
    assert baseline_names("number", slow=True, single=True) == ("constant", "morgan_hgb", "morgan_mlp")
    (found,) = naive_baselines("number", single(SOLUTIONS), resamples=20).values()
    assert (found.title, found.metrics["test"]["mae"].value) == ("mean of train", pytest.approx(3.5))
    (found,) = naive_baselines("binary", single(INTERACTIONS), resamples=20).values()
    assert found.title == "share of yes in train"


@pytest.mark.parametrize(
    "predict",
    [solvent_mean, additive_effects, degree_product, degree_ratio],
    ids=["solvent", "additive", "degree", "ratio"],
)
def test_baselines_of_pairs_refuse_single_molecules(predict: Any) -> None:
    with pytest.raises(ValueError, match="looks at two molecules, but the rows name one"):
        predict(single(INTERACTIONS))
    with pytest.raises(ValueError, match="unknown baseline 'additive'"):
        naive_baselines("number", single(SOLUTIONS), include=["additive"])


# --- the whole table --------------------------------------------------------------------------------------


def test_instant_baselines_of_numbers() -> None:
    results = naive_baselines("number", SOLUTIONS, resamples=20)
    assert list(results) == ["constant", "solvent_mean", "additive"]
    constant = results["constant"]
    assert constant.metrics["test"]["mae"].value == pytest.approx((5 + 2) / 2)
    assert constant.metrics["valid"]["mae"].value == pytest.approx(1.5)
    assert np.isnan(constant.prediction).tolist() == [True, True, True, False, False, False, True]


def test_instant_baselines_of_yes_or_no() -> None:
    announced: list[str] = []
    results = naive_baselines("binary", INTERACTIONS, resamples=20, announce=announced.append)
    assert list(results) == ["constant", "degree", "degree_ratio"]
    assert announced == [result.title for result in results.values()]
    assert "brier" in results["constant"].metrics["test"]
    assert "brier" not in results["degree"].metrics["test"]
    assert results["degree"].metrics["valid"]["accuracy"].value == 1.0


def test_instant_baselines_of_types() -> None:
    results = naive_baselines("class", TYPES, resamples=20)
    assert list(results) == ["constant", "drug_types"] == list(baseline_names("class"))
    assert [result.title for result in results.values()] == [
        "most frequent type",
        "type frequencies of the two drugs",
    ]
    assert results["constant"].prediction.tolist()[5:8] == [2, 2, 2]
    assert np.isnan(results["constant"].prediction).tolist() == [True] * 5 + [False] * 3 + [True]
    assert results["constant"].metrics["test"]["accuracy"].value == 1.0
    assert results["constant"].metrics["valid"]["accuracy"].value == 0.0
    assert {"macro_f1", "kappa", "nll"} <= set(results["drug_types"].metrics["test"])
    assert baseline_names("class", slow=True) == ("constant", "drug_types", "similar_pairs", "morgan_mlp")


def test_degree_products_of_zero_and_one_are_scores_not_decisions() -> None:
    rows: list[tuple[int, int, float, str]] = [(0, 1, 1, "train"), (2, 3, 0, "train")]
    rows += [(a, b, y, s) for s in ("valid", "test") for a, b, y in ((0, 1, 1), (2, 3, 0), (1, 0, 1))]
    result = naive_baselines("binary", make_pairs(rows), include=["degree"], resamples=20)["degree"]
    assert result.metrics["test"]["auc_roc"].value == 1.0
    assert result.metrics["test"]["accuracy"].value == 1.0


@pytest.mark.parametrize(
    ("kind", "pairs", "options", "words"),
    [
        ("number", SOLUTIONS, {"include": ["degree"]}, "unknown baseline 'degree'"),
        ("number", SOLUTIONS, {"include": ["morgan_hgb"]}, "needs molecules"),
        ("binary", SOLUTIONS, {}, "label of row 1 is 3"),
        ("class", SOLUTIONS, {}, "label of row 5 is 2.5"),
        ("class", TYPES, {"include": ["morgan_hgb"]}, "unknown baseline 'morgan_hgb'"),
        ("text", SOLUTIONS, {}, "number, binary, class"),
        ("binary", make_pairs([(0, 1, 1, "train"), (0, 2, 0, "test")]), {}, "valid split, which has no rows"),
    ],
    ids=["unknown", "no fingerprints", "label", "no type", "trees of types", "kind", "no valid rows"],
)
def test_impossible_tables_are_refused(kind: Any, pairs: PairArrays, options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        naive_baselines(kind, pairs, **options)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(0, 1, np.nan, "train")], "label of row 0 is nan"),
        ([(0, 1, 1.0, "train"), (0, -1, 1.0, "train")], "row 1 names a negative"),
        ([(0, 1, 1.0, "dev")], "split of row 0 is 'dev'"),
        ([(0, 1, 1.0, "test")], "train split"),
    ],
    ids=["label", "molecule", "split", "no train"],
)
def test_bad_pairs_are_named(rows: list[tuple[int, int, float, str]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_pairs(rows)


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="mol_b has shape"):
        PairArrays(np.zeros(2, int), np.zeros(1, int), np.zeros(2), np.array(["train", "train"]))
