"""Drift, repeats, leaks, and what item numbers give away."""

from __future__ import annotations

import polars as pl
import pytest

from data_prep.interactions.drift import drift, id_rules, leaks, repeats
from data_prep.interactions.splits import Parts


def interactions(*sequences: list[int], first: int = 0, **columns: list) -> pl.DataFrame:
    rows = [(first + n, item) for n, items in enumerate(sequences) for item in items]
    frame = pl.DataFrame(rows, schema={"sequence": pl.Int64, "item": pl.Int64}, orient="row")
    return frame.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def rows(*pairs: tuple[list[int], int], first: int = 0, **columns: list) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "row": range(len(pairs)),
            "sequence": range(first, first + len(pairs)),
            "history": pl.Series([history for history, _ in pairs], dtype=pl.List(pl.Int64)),
            "target": pl.Series([target for _, target in pairs], dtype=pl.Int64),
        }
    )
    return frame.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def test_cold_targets_are_counted_against_both_fits():
    train, added = interactions([0, 1], [1, 2]), interactions([3], first=2)
    parts = Parts(train, pl.concat([train, added]), rows(([0], 3)), rows(([0], 3), ([1], 4), ([1], 2)))
    found = drift(parts, 6)
    assert found["items"] == {"catalogue": 6, "in train": 3, "in train or valid": 4}
    assert found["cold targets"]["valid, not in train"] == {"count": 1, "share": 1.0}
    assert found["cold targets"]["test, not in train"]["count"] == 2
    assert found["cold targets"]["test, not in train or valid"] == {"count": 1, "share": pytest.approx(1 / 3)}


def test_popular_targets_share_ties_at_the_border():
    train = interactions(*[[item] * (30 if item < 19 else 1) for item in range(40)])
    parts = Parts(train, train, rows(([0], 0)), rows(([0], 0), ([0], 25), ([0], 39)))
    top = drift(parts, 40)["popular targets"]["top 20"]
    # nineteen items are frequent; the twentieth place is one of 21 tied items
    assert top["of train"]["share"] == pytest.approx((1 + 2 / 21) / 3)
    assert top["of test"]["share"] == 1.0


def test_popularity_that_turns_round_has_a_correlation_of_minus_one():
    train = interactions([0, 0, 0, 1, 1, 2])
    parts = Parts(train, train, rows(), rows(([0], 2), ([0], 2), ([0], 2), ([0], 1), ([0], 1), ([0], 0)))
    assert drift(parts, 3)["popularity correlation"] == pytest.approx(-1)


def test_repeats():
    found = repeats(rows(([1, 2], 2), ([1, 2], 1), ([1, 2], 3), ([], 1)))
    assert found["rows"] == 4
    assert found["without history"] == {"count": 1, "share": 0.25}
    assert found["target in history"]["count"] == 2
    assert found["target is the last item"]["count"] == 1


def test_an_empty_part_has_nothing_to_repeat():
    assert repeats(rows())["target in history"] == {"count": 0, "share": 0.0}


def test_rows_that_return_and_sequences_that_are_shared():
    train = interactions([1, 2], [3])
    valid = rows(([1], 2), ([], 5), first=1)
    test = rows(([1], 2), ([1], 2), ([], 5), ([], 5), first=5)
    found = leaks(Parts(train, train, valid, test))
    assert found["rows with a history twice in test"] == 1
    assert found["rows with a history in valid and test"] == 2
    assert found["sequences in train and test"] == 0
    assert leaks(Parts(train, train, valid, valid))["sequences in train and test"] == 1


def test_the_future_in_the_fitted_part_is_counted():
    train = interactions([1, 2], [3], time=[1.0, 2.0, 9.0])
    found = leaks(Parts(train, train, rows(time=pl.Series([], dtype=pl.Float64)), rows(([1], 2), time=[5.0])))
    assert found["fitted interactions later than the earliest test target"] == {
        "count": 1,
        "share": pytest.approx(1 / 3),
    }


def test_rules_on_item_numbers():
    found = id_rules(rows(([3, 1], 4), ([3], 10), ([3], 60), ([], 1)), 101)
    assert found["next numbers, HR@1"] == 0.25
    assert found["next numbers, HR@10"] == 0.5
    assert found["nearest to the last, share within 10"] == pytest.approx(2 / 3)
    assert found["chance of that"] == 0.2


def test_the_nearest_candidate_shares_ties():
    lists = [[[4, 9], [2, 4]], [[7, 90], [90, 7]]]
    frame = rows(([3], 4), ([50], 90)).with_columns(
        candidates=pl.Series(lists, dtype=pl.List(pl.List(pl.Int64)))
    )
    assert id_rules(frame, 101)["nearest candidate, HitRatio@1"] == [1.0, 0.75]
