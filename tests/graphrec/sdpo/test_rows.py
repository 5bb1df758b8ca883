"""Rows of preference training: cut from sequences, or read from a released file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_prep.errors import DataError
from graphrec.histories import Histories
from graphrec.sdpo.config import SDPOConfig
from graphrec.sdpo.rows import cut_rows, released_rows

NAMES = [f"Item {n}" for n in range(20)]
SEQUENCES = Histories.from_lists([[1, 2, 3, 4], [5], [6, 7, 6]])
CONFIG = SDPOConfig(start="somewhere", pool=4, num_negatives=2)


def test_every_item_but_the_first_is_a_target() -> None:
    rows = cut_rows(SEQUENCES, NAMES, 2, CONFIG, seed=0)
    assert rows.histories.lists() == [[1], [1, 2], [2, 3], [6], [6, 7]]
    assert rows.targets.tolist() == [2, 3, 4, 7, 6]
    assert rows.titles.shape == (5, 5)
    np.testing.assert_array_equal(rows.titles[:, 0], rows.targets)
    np.testing.assert_array_equal((rows.shown == rows.targets[:, None]).sum(1), 1)


def test_the_whole_past_is_barred_and_not_only_what_is_shown() -> None:
    long = Histories.from_lists([[*range(15), 16]] * 30)
    rows = cut_rows(long, NAMES, 2, replace(CONFIG, pool=4), seed=0)
    last = rows.pools[rows.targets == 16]
    assert set(last.ravel().tolist()) == {15, 17, 18, 19}


def test_shown_negatives_are_those_of_the_prompt() -> None:
    rows = cut_rows(SEQUENCES, NAMES, 2, replace(CONFIG, negatives="shown"), seed=0)
    np.testing.assert_array_equal(np.sort(rows.shown), np.sort(rows.titles))


def test_other_negatives_do_not_depend_on_the_list() -> None:
    rows = cut_rows(SEQUENCES, NAMES, 2, CONFIG, seed=0)
    assert (np.sort(rows.shown) != np.sort(rows.titles)).any()


def test_so_many_rows_are_drawn() -> None:
    rows = cut_rows(SEQUENCES, NAMES, 2, replace(CONFIG, rows=3), seed=0)
    assert len(rows) == 3
    assert len(cut_rows(SEQUENCES, NAMES, 2, replace(CONFIG, rows=99), seed=0)) == 5


def test_a_digest_names_the_rows() -> None:
    first = cut_rows(SEQUENCES, NAMES, 2, CONFIG, seed=0).digest()
    assert first == cut_rows(SEQUENCES, NAMES, 2, CONFIG, seed=0).digest()
    assert first != cut_rows(SEQUENCES, NAMES, 2, CONFIG, seed=1).digest()


def write_released(folder: Path, rows: list) -> Path:
    path = folder / "released.json"
    path.write_text(json.dumps(rows))
    return path


def test_released_rows_are_read_by_title(tmp_path: Path) -> None:
    path = write_released(
        tmp_path,
        [
            {
                "historyList": "Item 1::item 2::Item 3",
                "itemList": ["Item 7", "Item 8", "Item 9"],
                "trueSelection": "Item 8",
            },
            {
                "historyList": ["Item 4"],
                "itemList": ["Item 5", "Item 6", "Item 7"],
                "trueSelection": "Item 5",
            },
            {"historyList": "Item 1", "itemList": ["nobody", "Item 6", "Item 7"], "trueSelection": "Item 6"},
        ],
    )
    rows = released_rows(path, NAMES, 2)
    assert rows.histories.lists() == [[2, 3], [4]]
    assert rows.targets.tolist() == [8, 5]
    assert rows.shown.tolist() == [[7, 8, 9], [5, 6, 7]]
    assert rows.pools.tolist() == [[7, 9], [6, 7]]
    assert rows.left_out == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param([{"historyList": "Item 1"}], "row 0 lacks 'itemList'", id="column"),
        pytest.param(
            [{"historyList": "Item 1", "itemList": ["Item 2"], "trueSelection": "Item 3"}],
            "must be listed once",
            id="not-listed",
        ),
        pytest.param(
            [{"historyList": "x", "itemList": ["Item 2"], "trueSelection": "Item 2"}],
            "no row is known",
            id="none",
        ),
        pytest.param({"rows": 1}, "is no list of rows", id="no-list"),
    ],
)
def test_files_that_cannot_be_used_are_refused(rows: list, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        released_rows(write_released(tmp_path, rows), NAMES, 2)


def test_the_published_file(real_data: Path) -> None:
    """LastFM, as S-DPO's authors released it: all but a few titles are those of LLaRA's file."""
    names = real_data / "llara" / "lastfm" / "id2name.txt"
    titles = [
        line.split("::", 1)[1] for line in names.read_text(encoding="utf-8").splitlines() if "::" in line
    ]
    rows = released_rows(real_data / "sdpo_lastfm" / "lastfm-val.json", titles, 10)
    assert len(rows) + rows.left_out == 2767
    assert rows.left_out < 90
    assert rows.shown.shape[1] == 20
