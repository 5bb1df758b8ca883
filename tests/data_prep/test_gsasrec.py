"""MovieLens-1M as sequences: what no file tells is worked out."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from data_prep.errors import DataError
from data_prep.readers.gsasrec import read_gsasrec, read_item_mapping

RATED = {1: [1, 2, 3, 4], 2: [2, 5, 1, 3, 6], 3: [6, 4, 2]}  # user 2 validates: two items are left out
FILES = {
    "train_input.txt": "1 2\n2 5\n6\n",
    "test_output.txt": "4\n6\n2\n",
    "val_input.txt": "2 5 1\n",
    "val_output.txt": "3\n",
    "sas_to_original_items.txt": "".join(f"{item} {item + 100}\n" for item in range(1, 7)),
    "sas_to_original_users.txt": "1 30\n2 20\n3 10\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    users = {1: 30, 2: 20, 3: 10}
    pairs = [(users[user], item + 100) for user, items in RATED.items() for item in items] + [(30, 999)]
    pl.DataFrame(pairs, schema=["userID", "movieID"], orient="row").write_parquet(tmp_path / "pairs.parquet")
    return tmp_path


def sequences(folder: Path) -> dict[int, list[int]]:
    frame = read_gsasrec(folder, folder / "pairs.parquet").frame.cast(pl.Int64)
    return dict(frame.group_by("sequence", maintain_order=True).agg("item").iter_rows())


def test_missing_items_are_found(folder):
    assert sequences(folder) == RATED


def test_the_order_of_two_missing_items_comes_from_the_validation_files(folder):
    (folder / "val_input.txt").write_text("2 5 3\n")
    (folder / "val_output.txt").write_text("1\n")
    assert sequences(folder)[2] == [2, 5, 3, 1, 6]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("test_output.txt", "4\n6\n5\n", "never rated"),
        ("val_input.txt", "2 6 1\n", "fit 0 training sequences"),
        ("val_output.txt", "4\n", "what user 2 rated"),
        ("train_input.txt", "1\n2 5\n6\n", "what user 1 rated"),
        ("train_input.txt", "1 2 3\n2 5\n6\n", "what user 1 rated"),
    ],
    ids=["not rated", "no such user", "another target", "two missing", "none missing"],
)
def test_files_that_do_not_fit_are_an_error(folder, name, text, message):
    (folder / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_gsasrec(folder, folder / "pairs.parquet")


def test_items_lead_to_films(folder):
    assert read_item_mapping(folder).rows()[:2] == [("1", "101"), ("2", "102")]


@pytest.mark.real_data
def test_the_recovered_items_are_those_known(real_data, splits):
    folder = real_data / "movielens_1m"
    log = read_gsasrec(folder / "gsasrec", folder / "ratings_pairs_only.parquet")
    assert len(log.frame) == 999_611
    found = log.frame.cast(pl.Int64).group_by("sequence", maintain_order=True).agg("item").sort("sequence")
    tails = [[int(item) for item in line.split()] for line in (splits / "ml1m_tail.txt").open()]
    assert [whole[-len(tail) :] for whole, tail in zip(found["item"].to_list(), tails, strict=True)] == tails
