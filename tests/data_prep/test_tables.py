from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from data_prep.errors import DataError
from data_prep.tables import column_of, parse_numbers, read_table


@pytest.mark.parametrize(
    ("content", "name", "encoding"),
    [
        ("a,b\nx,é\n", "t.csv", "utf-8"),
        ("a,b\nx,é\n".encode("utf-8-sig"), "t.csv", "utf-8"),
        ("a,b\nx,é\n".encode("latin-1"), "t.csv", "latin-1"),
        ("a\tb\r\nx\té\r\n", "t.tsv", "utf-8"),
        ("a;b\nx;é\n", "t.txt", "utf-8"),
        ('a, b\nx,"é"\n', "t.csv", "utf-8"),
    ],
    ids=["plain", "byte_order_mark", "latin", "tabs_crlf", "semicolons", "spaces_and_quotes"],
)
def test_encodings_and_separators(write, content, name, encoding):
    table = read_table(write(content, name))
    assert table.frame.rows() == [("x", "é")]
    assert table.frame.columns == ["a", "b"]
    assert table.encoding == encoding


def test_parquet_is_read_as_text(tmp_path):
    pl.DataFrame({"a": [1.5, None]}).write_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").frame["a"].to_list() == ["1.5", None]


def test_cells_stay_text_even_when_they_look_like_numbers(write):
    assert read_table(write("a,b\n007,nan\n")).frame.rows() == [("007", "nan")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("a,b\n1,2\n1,2,3\n", "cannot be read as a table: line 3 has 3 fields, the header 2"),
        ("a,b\n" + '"x,1\n', "cannot be read"),
    ],
    ids=["empty", "ragged", "open_quote"],
)
def test_what_is_no_table_is_an_error(write, content, message):
    with pytest.raises(DataError, match=message):
        read_table(write(content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv is not a file"):
        read_table(tmp_path / "nowhere.csv")


def test_a_missing_column_lists_those_there_are(write):
    path = write("smiles,label\nC,1\n")
    with pytest.raises(DataError, match=r"columns are smiles, label\. Did you mean 'smiles'"):
        column_of(read_table(path).frame, "smile", path)


def test_numbers_and_what_is_none():
    parsed = parse_numbers(["1", " -2.5 ", "\u22123", "1e-3", "", None, "NaN", "inf", "abc"])
    np.testing.assert_array_equal(parsed.values, [1, -2.5, -3, 1e-3, *[np.nan] * 5])
    assert parsed.problem == [""] * 4 + ["empty label"] * 3 + ["label is not a number"] * 2


def test_two_columns_of_one_name_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,a,b\nC,CC,O\n")
    with pytest.raises(DataError, match="several columns called 'a'"):
        read_table(tmp_path / "t.csv")
