"""S-DPO's candidate lists."""

from __future__ import annotations

import json

import polars as pl
import pytest

from data_prep.errors import DataError
from data_prep.readers.candidate_lists import read_candidate_lists

ITEMS = pl.DataFrame({"item": [0, 1, 2, 3], "title": ["Abba", "Blur", "Cream", "Doors"]})
RECORD = {"historyList": "Abba::Cream", "itemList": ["Blur", "Doors"], "trueSelection": "Doors"}


def test_titles_become_numbers(write):
    second = {"historyList": "Blur", "itemList": ["The Doors", "Abba"], "trueSelection": "Abba"}
    lists = read_candidate_lists(write(json.dumps([RECORD, second])), ITEMS, renamed={"The Doors": "Doors"})
    assert lists["history"].to_list() == [[0, 2], [1]]
    assert lists["target"].to_list() == [3, 0]
    assert lists["candidates"].to_list() == [[[1, 3]], [[3, 0]]]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (
            [RECORD, RECORD | {"trueSelection": "Eels"}],
            "record 2: no item of the catalogue has the title 'Eels'",
        ),
        ([{"historyList": "Abba"}], "no field 'itemList'"),
    ],
    ids=["unknown title", "missing field"],
)
def test_lists_that_cannot_be_read_say_where(write, records, message):
    with pytest.raises(DataError, match=message):
        read_candidate_lists(write(json.dumps(records)), ITEMS)


def test_other_files_are_told(write):
    with pytest.raises(DataError, match="no JSON list"):
        read_candidate_lists(write("title,item\n"), ITEMS)
