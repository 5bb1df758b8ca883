"""Logs of the user's own: every row that cannot be used as it stands is told."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from data_prep.errors import DataError
from data_prep.readers.interaction_columns import LogColumns, canonical_ids, read_interactions, seconds_of

COLUMNS = LogColumns("user", "item", "time")


def told(log) -> list[tuple]:
    return log.findings.select("row", "value", "kind", "kept").rows()


def test_columns_take_their_roles(write):
    text = "when,who,what,stars,did\n5,ann,x,3.5,click\n6,bob,y,4,buy\n"
    log = read_interactions(write(text), LogColumns("who", "what", "when", "stars", "did"))
    assert log.frame.rows() == [("ann", "x", 5.0, 3.5, "click"), ("bob", "y", 6.0, 4.0, "buy")]
    assert log.sources[0].rows == 2


def test_without_a_time_the_order_of_the_file_counts(write):
    log = read_interactions(write("user,item\na,1\na,1\n"), LogColumns("user", "item"))
    assert log.frame.rows() == [("a", "1"), ("a", "1")]


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (",1,5", "no user"),
        ("a,,5", "no item"),
        ("a,1,", "bad time"),
        ("a,1,soon", "bad time"),
        ("a,1,inf", "bad time"),
        ("a,1,nan", "bad time"),
        ("a,1,2024-01-05", "bad time"),
        ("a,1,5,7", "broken line"),
    ],
    ids=["user", "item", "time", "word", "infinity", "nan", "date among numbers", "too many fields"],
)
def test_rows_without_what_they_need_are_left_out(write, row, kind):
    log = read_interactions(write(f"user,item,time\nb,1,1\nb,2,2\n{row}\n"), COLUMNS)
    assert len(log.frame) == 2
    assert [(number, what, kept) for number, _, what, kept in told(log)] == [(3, kind, False)]


def test_numbers_among_dates_are_no_times(write):
    log = read_interactions(write("user,item,time\na,1,2024-01-05\na,2,2024-01-06\na,3,17\n"), COLUMNS)
    assert told(log) == [(3, "17", "bad time", False)]


def test_repeated_rows_are_left_out_unless_kept(write):
    path = write("user,item,time\na,1,5\na,1,5\na,1,6\n")
    log = read_interactions(path, COLUMNS)
    assert log.frame["time"].to_list() == [5, 6]
    assert told(log) == [(2, "a,1,5", "duplicate", False)]
    assert len(read_interactions(path, COLUMNS, keep_duplicates=True).frame) == 3


def test_whole_numbers_written_as_floats_are_one_item(write):
    log = read_interactions(write("user,item,time\n1,12,1\n1.0,13.0,2\n1,14.00,3\n"), COLUMNS)
    assert log.frame["item"].to_list() == ["12", "13", "14"]
    assert log.frame["sequence"].to_list() == ["1", "1", "1"]
    assert told(log) == [
        (2, "1.0", "id written as a float", True),
        (2, "13.0", "id written as a float", True),
        (3, "14.00", "id written as a float", True),
    ]


def test_a_column_of_floats_is_noted_once():
    found: list[pl.DataFrame] = []
    ids, notes = canonical_ids(pl.Series("item", [1.0, 2.0]), pl.Series([1, 2]), "log", found)
    assert ids.to_list() == ["1", "2"]
    assert "written as floats" in notes[0]
    assert not found


def test_names_like_floats_stay_among_names():
    ids, notes = canonical_ids(pl.Series("item", ["3.0", "alpha"]), pl.Series([1, 2]), "log", [])
    assert ids.to_list() == ["3.0", "alpha"]
    assert not notes


NEW_YEAR = datetime(2024, 1, 1, 10, 30, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "written",
    [
        "2024-01-01T10:30:00Z",
        "2024-01-01T12:30:00+02:00",
        "2024-01-01T10:30:00",
        "2024-01-01 10:30:00.000",
        "2024-01-01 10:30",
        "2024/01/01 10:30:00",
    ],
)
def test_dates_are_seconds(written):
    assert seconds_of(pl.Series("t", [written, "?"]))[0].to_list() == [NEW_YEAR, None]


def test_other_types_of_times():
    assert seconds_of(pl.Series("t", ["2024-01-01"]))[0].to_list() == [NEW_YEAR - 37_800]
    assert seconds_of(pl.Series("t", [datetime(2024, 1, 1, 10, 30)]))[0].to_list() == [NEW_YEAR]
    assert seconds_of(pl.Series("t", [7, None]))[0].to_list() == [7.0, None]


def test_milliseconds_are_seen_and_noted():
    seconds, notes = seconds_of(pl.Series("t", [1_704_105_000_000, 1_704_105_001_500]))
    assert seconds.to_list() == [NEW_YEAR, NEW_YEAR + 1.5]
    assert "milliseconds" in notes[0]


def test_low_ratings_can_be_left_out(write):
    columns = LogColumns("user", "item", "time", rating="stars")
    log = read_interactions(write("user,item,time,stars\na,1,1,5\na,2,2,3\na,3,3,?\n"), columns, min_rating=4)
    assert log.frame["item"].to_list() == ["1"]
    assert told(log) == [(3, "?", "bad rating", False)]
    assert log.notes == ("1 rows with a rating below 4 are left out.",)


def test_titles_and_groups(write):
    titles = write("item_id,title,genres\n1.0,One,A|B\n2,Two,\n", "titles.csv")
    log = read_interactions(write("user,item,time\na,1,1\na,2,2\n"), COLUMNS, titles=titles)
    assert log.items.rows() == [("1", "One", ["A", "B"]), ("2", "Two", [])]


def test_missing_titles_are_told_by_the_first_row_of_the_item(write):
    titles = write("item,title\n1,\n2,Two\n2,Again\n,None\n", "titles.csv")
    log = read_interactions(write("user,item,time\na,2,1\na,3,2\na,1,3\nb,3,3\n"), COLUMNS, titles=titles)
    assert log.findings.select("row", "value", "kind", "source").rows() == [
        (2, "3", "no title", "table.csv"),
        (3, "1", "no title", "table.csv"),
        (3, "2", "title not used", "titles.csv"),
        (4, "", "title not used", "titles.csv"),
    ]
    assert len(log.frame) == 4


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        (
            "user,item,time\na,1,1\n",
            LogColumns("usr", "item", "time"),
            "no column 'usr'.*Did you mean 'user'",
        ),
        ("user,item,time\na,1,soon\n", COLUMNS, "no usable row. The first: row 1, 'soon': the time"),
        ("user,item,time\n", COLUMNS, "has a header and no row"),
    ],
    ids=["no column", "no usable row", "no row"],
)
def test_logs_that_cannot_be_used_say_why(write, text, columns, message):
    with pytest.raises(DataError, match=message):
        read_interactions(write(text), columns)


def test_titles_need_their_columns(write):
    titles = write("id,name\n1,One\n", "titles.csv")
    with pytest.raises(DataError, match=r"needs a column item .* it has id, name"):
        read_interactions(write("user,item,time\na,1,1\n"), COLUMNS, titles=titles)
