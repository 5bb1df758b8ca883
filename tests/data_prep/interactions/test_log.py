"""Interactions as numbers."""

from __future__ import annotations

import polars as pl
import pytest

from data_prep.errors import DataError
from data_prep.interactions.log import RawLog, drop_rare, encode, in_order, join_logs, number


def raw_log(rows: list[tuple], columns: tuple[str, ...] = ("sequence", "item", "time"), **options) -> RawLog:
    return RawLog(pl.DataFrame(rows, schema=list(columns), orient="row"), **options)


def test_sequences_are_sorted_by_time_and_numbered_as_first_named():
    log = number(raw_log([("bob", "7", 5.0), ("ann", "7", 1.0), ("bob", "9", 2.0), ("ann", "8", 3.0)]))
    assert log.sequence_ids.to_list() == ["bob", "ann"]
    assert log.frame.select("sequence", "item").rows() == [(0, 2), (0, 0), (1, 0), (1, 1)]
    assert log.starts.tolist() == [0, 2]
    assert log.lengths.tolist() == [2, 2]


def test_equal_times_keep_the_order_of_the_source():
    log = number(raw_log([("a", "3", 1.0), ("a", "1", 1.0), ("a", "2", 0.0)]))
    assert log.items["item_id"].gather(log.frame["item"]).to_list() == ["2", "3", "1"]


def test_without_times_the_order_of_the_source_is_that_of_time():
    log = number(raw_log([("a", "3"), ("b", "1"), ("a", "2")], ("sequence", "item")))
    assert log.frame.rows() == [(0, 2), (0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("ids", "ordered"),
    [(["10", "9", "100"], ["9", "10", "100"]), (["10", "9", "x"], ["10", "9", "x"])],
    ids=["numbers by value", "others as text"],
)
def test_items_are_numbered_by_id(ids, ordered):
    assert in_order(pl.Series(ids)).to_list() == ordered


def test_titles_and_groups_stay_with_their_items():
    known = pl.DataFrame({"item_id": ["9", "7"], "title": ["Nine", "Seven"], "genres": [["A", "B"], []]})
    log = number(raw_log([("a", "7", 1.0), ("a", "8", 2.0), ("a", "9", 3.0)], items=known))
    assert log.items.select("item", "item_id", "title").rows() == [
        (0, "7", "Seven"),
        (1, "8", None),
        (2, "9", "Nine"),
    ]
    assert log.items["genres"].to_list() == [[], None, ["A", "B"]]


def test_a_given_catalogue_is_kept_whole_and_in_order():
    known = pl.DataFrame({"item_id": ["9", "7", "1"]})
    log = number(raw_log([("a", "7", 1.0)], items=known, whole_catalogue=True))
    assert log.items["item_id"].to_list() == ["9", "7", "1"]
    assert log.frame["item"].to_list() == [1]


def test_items_outside_a_given_catalogue_are_an_error():
    known = pl.DataFrame({"item_id": ["9"]})
    with pytest.raises(DataError, match="2 items are not in the catalogue, the first '7'"):
        number(raw_log([("a", "7", 1.0), ("a", "8", 1.0)], items=known, whole_catalogue=True))


def test_a_catalogue_with_an_id_twice_is_an_error():
    known = pl.DataFrame({"item_id": ["9", "9"]})
    with pytest.raises(DataError, match="listed twice"):
        number(raw_log([("a", "9", 1.0)], items=known, whole_catalogue=True))


def test_an_empty_log_is_an_error():
    with pytest.raises(DataError, match="No interaction is left"):
        number(raw_log([]))


def test_further_columns_travel_with_their_rows():
    rows = [("a", "1", 2.0, 5, "click"), ("a", "2", 1.0, 3, "buy")]
    log = number(raw_log(rows, ("sequence", "item", "time", "rating", "event")))
    assert log.frame.rows() == [(0, 1, 1.0, 3.0, "buy"), (0, 0, 2.0, 5.0, "click")]
    assert log.frame.schema["rating"] == pl.Float32


def test_numbers_follow_first_occurrence():
    codes, names = encode(pl.Series(["b", "a", "b", "c"]))
    assert codes.to_list() == [0, 1, 0, 2]
    assert names.to_list() == ["b", "a", "c"]


def test_rare_items_and_short_sequences_go_until_none_is_left():
    # dropping item 9 shortens sequence c, and dropping that makes item 2 rare
    rows = [("a", "1"), ("a", "2"), ("b", "1"), ("b", "3"), ("c", "2"), ("c", "9"), ("b", "1"), ("a", "1")]
    kept = drop_rare(raw_log(rows, ("sequence", "item")), min_items=2, min_users=2)
    assert kept.frame.rows() == [("a", "1"), ("b", "1"), ("b", "1"), ("a", "1")]
    assert "4 interactions" in kept.notes[0]


def test_nothing_rare_nothing_said():
    raw = raw_log([("a", "1"), ("a", "1")], ("sequence", "item"))
    assert drop_rare(raw, min_items=2, min_users=2) is raw


def test_logs_of_several_files_follow_each_other():
    first, second = raw_log([("a", "1", 1.0)], notes=("n",)), raw_log([("b", "2", 0.0)], notes=("n", "m"))
    joined = join_logs([first, second])
    assert joined.frame["sequence"].to_list() == ["a", "b"]
    assert joined.notes == ("n", "m")
