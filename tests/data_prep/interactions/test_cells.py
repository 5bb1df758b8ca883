"""Tables of text cells from logs of any make."""

from __future__ import annotations

import polars as pl
import pytest

from data_prep.errors import DataError
from data_prep.interactions.cells import Cells, TextFormat, read_cells


def cells_of(cells: Cells) -> list[tuple]:
    return cells.frame.rows()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a,b\n1,x\n", "t.csv"),
        ("a\tb\n1\tx\n", "t.tsv"),
        ("a;b\n1;x\n", "t.txt"),
        ("\ufeffa, b\n1, x\n", "t.csv"),
    ],
    ids=["commas", "tabs", "semicolons", "byte-order mark and blanks"],
)
def test_separators_are_seen(write, text, name):
    cells = read_cells(write(text, name))
    assert cells.frame.columns == ["a", "b"]
    assert cells_of(cells) == [("1", "x")]
    assert cells.encoding == "utf-8"


def test_long_separators_and_files_without_a_header(write):
    cells = read_cells(write("1::2\n3::4\n", "ratings.dat"), TextFormat("::", ("user", "item")))
    assert cells.frame.columns == ["user", "item"]
    assert cells_of(cells) == [("1", "2"), ("3", "4")]
    assert cells.numbers.to_list() == [1, 2]


def test_empty_cells_are_null(write):
    assert cells_of(read_cells(write("a,b\n ,x\n1,\n"))) == [(None, "x"), ("1", None)]


def test_quoted_cells_may_hold_separators(write):
    assert cells_of(read_cells(write('a,b\n"1,2",x\n'))) == [("1,2", "x")]


def test_broken_lines_are_left_out_and_told(write):
    cells = read_cells(write("a,b\n1,x\n2,y,z\n3\n4,w\n"))
    assert cells_of(cells) == [("1", "x"), ("4", "w")]
    assert cells.numbers.to_list() == [1, 4]
    assert cells.rows == 4
    assert cells.findings.select("row", "value", "kept").rows() == [(2, "2,y,z", False), (3, "3", False)]


def test_lines_that_are_not_utf8_are_kept_and_told(write):
    cells = read_cells(write("a,b\n1,é\n2,ü\n".encode() + "3,ö\n".encode("latin-1")))
    assert cells_of(cells) == [("1", "é"), ("2", "ü"), ("3", "ö")]
    assert cells.encoding == "utf-8 and latin-1"
    assert cells.findings.select("row", "value", "kind", "kept").rows() == [(3, "3,ö", "not UTF-8", True)]


def test_a_given_encoding_is_used(write):
    cells = read_cells(write("a,b\n1,Жук\n".encode("cp1251")), TextFormat(encoding="cp1251"))
    assert cells_of(cells) == [("1", "Жук")]
    assert cells.findings.is_empty()


@pytest.mark.parametrize(
    ("content", "how", "message"),
    [
        (b"a,b\n1,\xe9\n", TextFormat(encoding="ascii"), "line 2 is not ascii: byte 0xe9"),
        (b"a,b\n1,2\n", TextFormat(encoding="klingon"), "no encoding 'klingon'"),
        ("a,b\n1,2\n".encode("utf-16"), TextFormat(), "begins as UTF-16 does; give its encoding"),
        (b" \n", None, "is empty"),
        (b"a,a\n1,2\n", None, "several columns of one name"),
        (b"1::2\n", TextFormat("::", ("a", "b", "c")), "no line of 3 fields"),
    ],
    ids=["wrong encoding", "unknown encoding", "utf-16", "empty", "names twice", "wrong names"],
)
def test_files_that_cannot_be_read_say_why(write, content, how, message):
    with pytest.raises(DataError, match=message):
        read_cells(write(content), how)


def test_parquet_columns_keep_their_type(tmp_path):
    pl.DataFrame({"user": [1, 2], "name": [" a", ""]}).write_parquet(tmp_path / "log.parquet")
    cells = read_cells(tmp_path / "log.parquet")
    assert cells.frame.schema["user"] == pl.Int64
    assert cells.encoding == "parquet"
    with pytest.raises(DataError, match="is a Parquet file"):
        read_cells(tmp_path / "log.parquet", TextFormat(separator=","))
