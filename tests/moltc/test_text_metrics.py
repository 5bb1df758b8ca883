"""Metrics of written texts: worked examples, an independent BLEU, intervals and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from torchmetrics.functional.text import bleu_score

from moltc.text_metrics import text_metrics, tokens

REFERENCES = [
    "the molecule is a carboxylic acid with two rings",
    "the molecule is an alcohol",
    "a salt of sodium and a long chain of carbon atoms",
]
TEXTS = [
    "the molecule is a carboxylic acid with one ring",
    "the molecule is an alcohol and an acid",
    "a salt of sodium",
]


def values(references: list[str], texts: list[str]) -> dict[str, float]:
    return {name: m.value for name, m in text_metrics(references, texts, resamples=0).items()}


@pytest.mark.parametrize("order", [2, 4], ids=["bleu-2", "bleu-4"])
@pytest.mark.parametrize(
    "texts",
    [TEXTS, [text + " " + text for text in TEXTS], [*TEXTS[:2], ""]],
    ids=["as written", "written twice", "one is empty"],
)
def test_bleu_is_that_of_another_program(texts: list[str], order: int) -> None:
    expected = float(bleu_score(texts, [[reference] for reference in REFERENCES], n_gram=order))
    assert 0 < expected < 1
    assert values(REFERENCES, texts)[f"bleu{order}"] == pytest.approx(expected, abs=1e-6)


def test_a_row_by_hand() -> None:
    """4 of 5 words and 3 of 4 pairs of words are matched, lengths agree."""
    found = values(["an acid with two rings"], ["an acid with two chains"])
    assert found["bleu2"] == pytest.approx((4 / 5 * 3 / 4) ** 0.5)
    assert found["bleu4"] == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert found["token_f1"] == pytest.approx(4 / 5)
    assert found["exact"] == 0.0


def test_repeated_words_are_matched_as_often_as_they_are_wanted() -> None:
    found = values(["acid base"], ["acid acid acid"])
    assert found["token_f1"] == pytest.approx(2 * 1 / 5)
    assert found["bleu2"] == 0.0


def test_the_same_text_is_perfect_whatever_its_case_and_blanks() -> None:
    found = values(["An acid, of course."], [" an acid,  of COURSE ."])
    assert found == {"bleu2": 1.0, "bleu4": 1.0, "token_f1": 1.0, "exact": 1.0, "invalid_rate": 0.0}


def test_nothing_written_is_invalid_and_scores_nothing() -> None:
    assert values(["an acid"], [" "]) == {
        "bleu2": 0.0,
        "bleu4": 0.0,
        "token_f1": 0.0,
        "exact": 0.0,
        "invalid_rate": 1.0,
    }


def test_punctuation_marks_are_tokens() -> None:
    assert tokens("N,N-Dimethyl (2)") == ["n", ",", "n", "-", "dimethyl", "(", "2", ")"]


def test_intervals_are_those_of_resampled_rows() -> None:
    """Promise: sums of per-row counts resample to the same BLEU as the resampled texts themselves."""
    seed, rows = 3, len(REFERENCES)
    drawn = np.random.default_rng(seed).integers(rows, size=(200, rows))
    direct = [
        values([REFERENCES[i] for i in picked], [TEXTS[i] for i in picked])["bleu2"]
        for picked in drawn.tolist()
    ]
    metric = text_metrics(REFERENCES, TEXTS, seed=seed, resamples=200)["bleu2"]
    np.testing.assert_allclose([metric.low, metric.high], np.quantile(direct, [0.025, 0.975]))


@pytest.mark.parametrize(
    ("references", "texts", "words"),
    [
        (["a"], [], "1 references, but 0 texts"),
        (["a", ""], ["a", "b"], "reference of row 1 is empty"),
        ([], [], "at least one"),
    ],
    ids=["lengths", "empty reference", "no rows"],
)
def test_bad_input_is_named(references: list[str], texts: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        text_metrics(references, texts)
