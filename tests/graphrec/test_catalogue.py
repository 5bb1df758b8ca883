"""Ids and item numbers."""

from __future__ import annotations

from typing import Any

import pytest

from graphrec.catalogue import Catalogue, UnknownItemError

CATALOGUE = Catalogue(["10", "b", "c"], ["Ten", None, "See"], {"genres": [["x"], [], ["x", "y"]]})


def test_numbers_and_titles() -> None:
    assert CATALOGUE.numbers(["c", 10, "10"]).tolist() == [2, 0, 0]
    assert [CATALOGUE.title(number) for number in range(3)] == ["Ten", None, "See"]
    assert Catalogue(["a"]).title(0) is None
    assert CATALOGUE.histories([["b"], [], ["c", "b"]]).lists() == [[1], [], [2, 1]]


def test_an_unknown_id_is_named_with_its_row_and_the_mend() -> None:
    with pytest.raises(UnknownItemError, match=r"row 1: item 'bb' .* Did you mean 'b'\? Leave it out"):
        CATALOGUE.histories([["b"], ["c", "bb"]])
    assert CATALOGUE.histories([["b"], ["c", "bb"]], skip_unknown=True).lists() == [[1], [2]]


@pytest.mark.parametrize("rows", ["bc", ["b", "c"], [10, "b"], [["b"], b"c"]])
def test_letters_of_an_id_are_not_taken_for_ids(rows: Any) -> None:
    for skip in (False, True):
        with pytest.raises(ValueError, match=r"row \d: .* is no list of item ids"):
            CATALOGUE.histories(rows, skip_unknown=skip)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(([],), "at least one item", id="empty"),
        pytest.param((["a", "b"], ["A"]), "titles: 1 entries for 2 items", id="titles"),
        pytest.param((["a"], [], {"genres": []}), "genres: 0 entries for 1 items", id="groups"),
    ],
)
def test_refusals(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Catalogue(*arguments)


def test_an_id_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'a' stands in the catalogue twice"):
        Catalogue(["a", "b", "a"]).numbers(["b"])
