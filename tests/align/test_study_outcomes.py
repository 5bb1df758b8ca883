"""What held-out examples say of a training, worked out by hand."""

from __future__ import annotations

import polars as pl
import pytest

from align.study_outcomes import outcomes, pooled
from align.study_table import verdict, with_interval
from moltc.backbone.bootstrap import Metric


def scores(*rows: tuple[int, int, int, float, float, float]) -> pl.DataFrame:
    names = ["example_id", "completion", "tokens", "logp", "ref_logp", "reward"]
    return pl.DataFrame([dict(zip(names, row, strict=True)) for row in rows])


def judged(ids: list[int], accuracies: list[float]) -> pl.DataFrame:
    return pl.DataFrame({"example_id": ids, "accuracy": accuracies})


def test_pairs_and_lists() -> None:
    table = scores(
        (9, 0, 2, -4.0, -6.0, 0.1),  # rose by 2
        (9, 1, 4, -5.0, -5.0, -0.2),  # stayed
        (9, 2, 4, -7.0, -8.0, 0.3),  # rose by 1, and its reward is above the chosen one's
        (3, 0, 3, -3.0, -3.0, 0.5),
        (3, 1, 3, -2.0, -2.0, 0.5),  # equal in everything that is compared
    )
    tied, won = outcomes(table).rows(named=True)
    assert (won["example_id"], tied["example_id"]) == (9, 3)
    assert (won["accuracy"], won["log_ratio_accuracy"]) == (0, 1)
    assert (won["margin"], won["chosen"], won["rejected"]) == (1, 2, 0.5)
    assert (won["start_sum"], won["start_mean"], won["shorter"]) == (0, 0, 1)
    assert (tied["accuracy"], tied["log_ratio_accuracy"], tied["shorter"]) == (0, 0, 0)


def test_an_example_of_several_seeds_is_drawn_whole() -> None:
    """Promise: repeating the same examples under another seed does not narrow the interval."""
    once = judged(list(range(40)), [float(n % 2) for n in range(40)])
    assert pooled([once, once])["accuracy"] == pytest.approx(pooled([once])["accuracy"])
    others = judged(list(range(100, 140)), [float(n % 2) for n in range(40)])
    wide, narrow = pooled([once])["accuracy"], pooled([once, others])["accuracy"]
    assert narrow.high - narrow.low < 0.8 * (wide.high - wide.low)


def test_differences_are_taken_example_by_example() -> None:
    ids = list(range(60))
    baseline = judged(ids, [float(n % 2) for n in ids])
    better = judged(ids, [float(n % 2 or n % 6 == 0) for n in ids])
    difference = pooled([better], [baseline])["difference"]
    assert difference.value == pytest.approx(1 / 6)
    assert difference.low > 0
    assert pooled([baseline], [baseline])["difference"] == Metric(0, 0, 0)


def test_other_examples_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="other examples"):
        pooled([judged([1, 2], [0, 1])], [judged([1, 3], [0, 1])])


@pytest.mark.parametrize(
    ("difference", "word"),
    [((0.02, -0.01, 0.05), "tie"), ((0.04, 0.01, 0.07), "better"), ((-0.04, -0.07, -0.01), "worse")],
    ids=["tie", "better", "worse"],
)
def test_a_difference_whose_interval_holds_zero_is_a_tie(
    difference: tuple[float, float, float], word: str
) -> None:
    assert verdict(Metric(*difference)).endswith(word)


def test_shares_are_written_with_three_places() -> None:
    assert with_interval(Metric(0.61234, 0.5, 0.7)) == "0.612 [0.500, 0.700]"
