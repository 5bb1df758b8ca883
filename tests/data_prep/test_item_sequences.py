"""Text files of item sequences."""

from __future__ import annotations

import pytest

from data_prep.errors import DataError
from data_prep.readers.item_sequences import numbered_catalogue, read_sequences


@pytest.mark.parametrize(
    ("layout", "text", "expected"),
    [
        ("user then items", "7 1 2\n9 3\n", [("7", "1"), ("7", "2"), ("9", "3")]),
        ("items", "1 2\n3\n", [("1", "1"), ("1", "2"), ("2", "3")]),
        ("user item", "7 1\n7 2\n9 3\n", [("7", "1"), ("7", "2"), ("9", "3")]),
    ],
)
def test_layouts(write, layout, text, expected):
    log = read_sequences(write(text), layout)
    assert log.frame.rows() == expected
    assert log.findings.is_empty()


def test_blanks_around_items_do_not_count(write):
    assert read_sequences(write(" 1  2 \n"), "items").frame["item"].to_list() == ["1", "2"]


def test_lines_of_another_layout_are_left_out_and_told(write):
    log = read_sequences(write("7 1\nseven 2\n\n8\n9 3 4\n9 3\n"), "user item")
    assert log.frame.rows() == [("7", "1"), ("9", "3")]
    assert log.findings.select("row", "value").rows() == [(2, "seven 2"), (3, ""), (4, "8"), (5, "9 3 4")]
    assert not log.findings["kept"].any()


def test_a_file_of_nothing_else_is_an_error(write):
    with pytest.raises(DataError, match="no line of the layout 'items'"):
        read_sequences(write("a b\nc\n"), "items")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match="is not a file"):
        read_sequences(tmp_path / "none.txt", "items")


def test_numbered_catalogues_begin_where_they_are_told():
    assert numbered_catalogue(3)["item_id"].to_list() == ["1", "2", "3"]
    assert numbered_catalogue(2, first=0)["item_id"].to_list() == ["0", "1"]
