"""Candidate lists."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from data_prep.errors import DataError
from data_prep.interactions.candidates import draw_candidates
from data_prep.interactions.row_tasks import unnamed_items
from data_prep.readers.history_rows import read_history_rows


@pytest.fixture
def rows() -> pl.DataFrame:
    return pl.DataFrame({"row": [0, 1, 2], "history": [[1, 2], [], [5]], "target": [3, 4, 3]})


def test_lists_hold_the_target_once_and_nothing_of_the_history(rows):
    lists = draw_candidates(rows, 12, split="test", size=6, draws=5)
    for candidates, history, target in zip(lists, rows["history"], rows["target"], strict=True):
        for shown in candidates.to_list():
            assert len(set(shown)) == 6
            assert target in shown
            assert not set(shown) & set(history)
            assert all(0 <= item < 12 for item in shown)


def test_a_list_depends_on_seed_split_row_and_draw_alone(rows):
    lists = draw_candidates(rows, 50, split="test", size=6, draws=2)
    assert lists.to_list()[2] == draw_candidates(rows[2:], 50, split="test", size=6, draws=2).to_list()[0]
    assert lists.to_list() == draw_candidates(rows, 50, split="test", size=6, draws=2).to_list()
    assert lists.to_list() != draw_candidates(rows, 50, split="valid", size=6, draws=2).to_list()
    assert lists.to_list() != draw_candidates(rows, 50, split="test", size=6, draws=2, seed=1).to_list()


def test_rows_with_one_target_have_different_lists(rows):
    lists = draw_candidates(rows, 50, split="test", size=6).to_list()
    assert sorted(lists[0][0]) != sorted(lists[2][0])
    draws = draw_candidates(rows, 50, split="test", size=6, draws=2).to_list()[0]
    assert sorted(draws[0]) != sorted(draws[1])


def test_the_target_stands_anywhere():
    rows = pl.DataFrame({"row": range(2_000), "history": [[0]] * 2_000, "target": [7] * 2_000})
    lists = np.array(draw_candidates(rows, 40, split="test", size=10).to_list())[:, 0]
    places = np.bincount((lists == 7).argmax(1), minlength=10)
    assert ((places - 200) ** 2 / 200).sum() < 27.9  # chi-square with 9 degrees of freedom, p = 0.001


def test_too_small_a_catalogue_names_the_row(rows):
    with pytest.raises(DataError, match=r"row 0: 4 items .* too few for 5"):
        draw_candidates(rows, 7, split="test", size=6)


@pytest.mark.real_data
def test_the_stored_lists_of_lastfm_are_drawn_again(real_data, splits):
    stored: dict[tuple[str, int], list[list[int]]] = {}
    for line in (splits / "llara_lastfm_candidates.jsonl").read_text().splitlines():
        entry = json.loads(line)
        lists = stored.setdefault((entry["split"], entry["row"]), [])
        assert entry["draw"] == len(lists)
        lists.append(entry["candidates"])
    for name, file, split in (("val", "Val_data.df", "valid"), ("test", "Test_data.df", "test")):
        rows = read_history_rows(real_data / "llara/lastfm" / file, 4606).ranked()
        drawn = draw_candidates(rows, len(unnamed_items(4606)), split=split, draws=10)
        assert drawn.to_list() == [stored[name, row] for row in range(122)]
