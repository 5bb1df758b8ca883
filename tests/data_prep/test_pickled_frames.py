"""Pickled data frames: read as they are, and never able to run code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pickled_rows import write_frame

from data_prep.errors import DataError
from data_prep.readers import pickled_frames
from data_prep.readers.pickled_frames import read_pickled_frame


def test_columns_of_all_kinds_come_back_in_order(tmp_path):
    columns = {
        "seq": [[1, 2.0], [3]],
        "next": [2.0, 3.0],
        "pair": [(1, 5), (2, 4)],
        "size": [2, 1],
        "kind": ["view", "buy"],
        "more": [7, 8],
    }
    frame = read_pickled_frame(write_frame(tmp_path / "rows.df", **columns))
    assert {name: column.tolist() for name, column in frame.columns.items()} == columns
    assert list(frame.columns) == list(columns)
    assert len(frame) == 2


@pytest.mark.parametrize("protocol", [4, 5])
def test_both_protocols_of_published_frames_are_read(tmp_path, protocol):
    frame = pd.DataFrame({0: [1, 2], 1: [0.5, -1.5]})
    frame.columns = pd.Index(["a", "b"], dtype=object)
    frame.to_pickle(tmp_path / "rows.df", protocol=protocol)
    columns = read_pickled_frame(tmp_path / "rows.df").columns
    assert columns["a"].tolist() == [1, 2]
    assert columns["b"].tolist() == [0.5, -1.5]


class Calls:
    """Asks to be unpickled by calling a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.wanted = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.wanted


def global_of(module: str, name: str) -> bytes:
    """A pickle that is nothing but a name, in the oldest notation."""
    return f"c{module}\n{name}\n.".encode()


def test_a_file_that_runs_a_command_is_refused_and_nothing_runs(tmp_path):
    path, trace = tmp_path / "rows.df", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Calls(os.system, f"touch {trace}")))
    with pytest.raises(DataError, match=r"asks for posix\.system.*Nothing was run"):
        read_pickled_frame(path)
    assert not trace.exists()


def test_a_command_inside_a_good_frame_is_refused(tmp_path):
    trace = tmp_path / "trace"
    path = write_frame(tmp_path / "rows.df", seq=[[1], [2]], hook=[Calls(os.system, f"touch {trace}"), None])
    with pytest.raises(DataError, match="asks for"):
        read_pickled_frame(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("pandas", "read_pickle"),
        ("pandas.core.frame", "DataFrame.query"),
        ("numpy", "load"),
        ("data_prep.readers.pickled_frames", "_STAND_INS"),
    ],
    ids=["eval", "getattr", "read_pickle", "method by a dotted name", "numpy's loader", "our own table"],
)
def test_names_off_the_list_are_refused(tmp_path, module, name):
    (tmp_path / "rows.df").write_bytes(global_of(module, name))
    with pytest.raises(DataError, match="which no plain data frame needs"):
        read_pickled_frame(tmp_path / "rows.df")


@pytest.mark.parametrize(
    ("module", "name"),
    sorted(name for name in pickled_frames._STAND_INS if name != ("builtins", "slice")),
    ids=lambda part: part,
)
def test_a_file_cannot_change_a_stand_in(tmp_path, module, name):
    stand_in = pickled_frames._STAND_INS[module, name]
    before = dict(vars(stand_in)) if isinstance(stand_in, type) else stand_in
    state = pickle.dumps({"__init__": None, "function": None}, protocol=2)[2:-1]
    (tmp_path / "rows.df").write_bytes(f"c{module}\n{name}\n".encode() + state + b"b.")
    with pytest.raises(DataError):
        read_pickled_frame(tmp_path / "rows.df")
    assert (dict(vars(stand_in)) if isinstance(stand_in, type) else stand_in) == before


@pytest.mark.parametrize("code", ["V8", "O,O", "M8[ns]", "i4,O"], ids=["void", "fields", "dates", "mixed"])
def test_data_types_with_pointers_or_fields_are_refused(tmp_path, code):
    (tmp_path / "rows.df").write_bytes(b"cnumpy\ndtype\n(V" + code.encode() + b"\nI0\nI1\ntR.")
    with pytest.raises(DataError, match="the data type"):
        read_pickled_frame(tmp_path / "rows.df")


def test_outside_objects_are_refused(tmp_path):
    (tmp_path / "rows.df").write_bytes(b"Pkey\n.")
    with pytest.raises(DataError, match="outside object"):
        read_pickled_frame(tmp_path / "rows.df")


@pytest.mark.parametrize(
    "content", [b"", b"not a pickle", pickle.dumps([1, 2])], ids=["empty", "text", "a list"]
)
def test_other_files_are_told(tmp_path, content):
    (tmp_path / "rows.df").write_bytes(content)
    with pytest.raises(DataError, match="no pickled data frame"):
        read_pickled_frame(tmp_path / "rows.df")


def test_a_cut_file_is_told(tmp_path):
    path = write_frame(tmp_path / "rows.df", seq=[[1], [2]], next=[1, 2])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="no pickled data frame"):
        read_pickled_frame(path)


def test_a_missing_column_is_told_with_those_there(tmp_path):
    frame = read_pickled_frame(write_frame(tmp_path / "rows.df", seq=[[1]], next=[1]))
    assert frame.column("tgt", "next").tolist() == [1]
    with pytest.raises(DataError, match="no column len_seq or seq_len; its columns are seq, next"):
        frame.column("len_seq", "seq_len")


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name",
    [
        "dreamrec/yc/data_statis.df",
        "dreamrec/zhihu/val_data.df",
        "dreamrec/zhihu_renamed_columns/val_data.df",
        "dros_sessions/rr/test_sessions.df",
        "llara/lastfm/Test_data.df",
        "llara/movielens/Val_data.df",
        "llara/steam/train_data.df1000",
    ],
    ids=["statistics", "protocol four", "protocol five", "events", "lists", "tuples", "labelled rows"],
)
def test_published_frames_equal_what_pandas_reads(real_data: Path, name: str):
    ours, theirs = read_pickled_frame(real_data / name), pd.read_pickle(real_data / name)
    assert list(ours.columns) == list(theirs.columns)
    for column, values in ours.columns.items():
        assert values.tolist() == theirs[column].tolist()
        assert isinstance(values, np.ndarray)
