"""Published rows of history and next item."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pickled_rows import write_frame, write_rows

from data_prep.errors import DataError
from data_prep.readers.history_rows import HistoryRows, item_count, read_history_rows

SEQUENCES = [[3, 1, 4, 0], [2], [4, 3]]


@pytest.fixture
def rows(tmp_path: Path) -> HistoryRows:
    return read_history_rows(write_rows(tmp_path / "rows.df", SEQUENCES, width=2, pad=5), 5)


def test_rows_show_the_last_items(rows):
    assert rows.ranked()["history"].to_list() == [[], [3], [3, 1], [1, 4], [], [], [4]]
    assert rows.ranked()["target"].to_list() == [3, 1, 4, 0, 2, 4, 3]
    assert rows.lengths.tolist() == [0, 1, 2, 2, 0, 0, 1]


def test_sequences_are_rebuilt(rows):
    assert rows.sequence_of_row.tolist() == [0, 0, 0, 0, 1, 2, 2]
    assert rows.interactions()["item"].to_list() == [3, 1, 4, 0, 2, 4, 3]
    assert rows.interactions()["sequence"].to_list() == [0, 0, 0, 0, 1, 2, 2]


def test_a_sequence_that_opens_with_a_history_keeps_it(tmp_path):
    path = write_frame(tmp_path / "rows.df", seq=[[1, 2], [0, 5]], len_seq=[2, 1], next=[3, 4])
    interactions = read_history_rows(path, 5).interactions()
    assert interactions.rows() == [(0, 1), (0, 2), (0, 3), (1, 0), (1, 4)]


def test_ids_written_as_floats_are_items(tmp_path):
    path = write_frame(tmp_path / "rows.df", seq=[[1.0, 5], [1.0, 2]], seq_len=[1, 2], tgt=[2.0, 0.0])
    rows = read_history_rows(path, 5)
    assert rows.ranked()["history"].to_list() == [[1], [1, 2]]
    assert rows.targets.tolist() == [2, 0]
    assert rows.targets.dtype == np.int64


def test_pairs_keep_their_ratings(tmp_path):
    path = write_frame(
        tmp_path / "rows.df", seq=[[(1, 4), (5, 0)], [(1, 4), (2, 3)]], len_seq=[1, 2], next=[(2, 3), (0, 5)]
    )
    rows = read_history_rows(path, 5)
    assert rows.ranked()["rating"].to_list() == [3, 5]
    assert rows.rated_items().rows() == [(0, 1, 4), (0, 2, 3), (1, 1, 4), (1, 2, 3), (1, 0, 5)]


def test_items_without_ratings_say_so(rows):
    with pytest.raises(DataError, match="without ratings"):
        rows.rated_items()


@pytest.mark.parametrize(
    ("history", "length", "target", "kind"),
    [
        ([1, 5], 1, 5, "bad target"),
        ([1, 5], 1, 2.5, "bad target"),
        ([1, 5], 1, float("nan"), "bad target"),
        ([1, 9], 2, 2, "bad history"),
        ([5, 1], 1, 2, "bad history"),
        ([1.5, 5], 1, 2, "bad history"),
        ([1, 5], 2, 2, "bad length"),
    ],
    ids=["padding", "fraction", "nothing", "outside", "padding first", "half an item", "wrong length"],
)
def test_rows_that_cannot_be_are_left_out_and_told(tmp_path, history, length, target, kind):
    path = write_frame(
        tmp_path / "rows.df", seq=[[0, 5], history], len_seq=[1, length], next=[1.0, float(target)]
    )
    rows = read_history_rows(path, 5)
    assert len(rows) == 1
    assert rows.findings.select("row", "kind", "kept").row(0) == (2, kind, False)
    assert rows.source.rows == 2


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"seq": [[1, 2], [1]], "len_seq": [2, 1], "next": [1, 2]}, "list of one length"),
        ({"seq": [["a", 2]], "len_seq": [2], "next": [1]}, "of numbers"),
        ({"seq": [[9, 9]], "len_seq": [2], "next": [1]}, "no usable row"),
        ({"seq": [[1, 2]], "next": [1]}, "no column len_seq or seq_len"),
    ],
    ids=["ragged", "text", "all bad", "no lengths"],
)
def test_files_that_cannot_be_read_say_why(tmp_path, columns, message):
    with pytest.raises(DataError, match=message):
        read_history_rows(write_frame(tmp_path / "rows.df", **columns), 5)


def test_the_statistics_record_gives_the_catalogue_size(tmp_path):
    assert item_count(write_frame(tmp_path / "data_statis.df", seq_size=[10], item_num=[4838])) == 4838


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "items", "rows", "sequences", "empty"),
    [
        ("dreamrec/zhihu_renamed_columns/train_data.df", 4838, 61_641, 9_371, 9_371),
        ("dreamrec/zhihu_renamed_columns/val_data.df", 4838, 8_160, 1_171, 1_171),
        ("dreamrec/zhihu_renamed_columns/test_data.df", 4838, 7_911, 1_172, 1_172),
        ("dreamrec/yc/val_data.df", 9514, 57_062, 12_847, 12_847),
        ("dreamrec/yc/test_data.df", 9514, 55_245, 12_847, 12_847),
        ("llara/lastfm/train_data.df", 4606, 50_800, 976, 976),
        ("llara/lastfm/Val_data.df", 4606, 122, 122, 0),
        ("llara/steam/Test_data.df", 3581, 1_194, 1_194, 1),
        ("llara/movielens/Test_data.df", 1682, 95, 95, 0),
    ],
    ids=lambda value: value.replace("/", " ") if isinstance(value, str) else "",
)
def test_published_rows_have_the_published_sizes(real_data, name, items, rows, sequences, empty):
    read = read_history_rows(real_data / name, items)
    assert len(read) == rows == read.source.rows
    assert read.sequence_of_row[-1] + 1 == sequences
    assert (read.lengths == 0).sum() == empty
    assert read.findings.is_empty()


@pytest.mark.real_data
def test_both_releases_of_zhihu_hold_the_same_rows(real_data):
    first = read_history_rows(real_data / "dreamrec/zhihu/test_data.df", 4838)
    second = read_history_rows(real_data / "dreamrec/zhihu_renamed_columns/test_data.df", 4838)
    assert first.ranked().equals(second.ranked())
