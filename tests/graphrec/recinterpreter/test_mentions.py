"""Titles found in texts: whole words, the longest first, whatever letters they are made of."""

from __future__ import annotations

import pytest

from graphrec.recinterpreter.mentions import Mentions, TitleIndex

TITLES = ["Batman", "Batman & Robin", "Good, the Bad", "U2", "X", "!!!", "Heat (1995)", None, "Heat (1995)"]


@pytest.fixture(scope="module")
def index() -> TitleIndex:
    return TitleIndex(TITLES)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("U2, Batman", Mentions(["u2", "batman"], []), id="two-titles"),
        pytest.param("batman & robin", Mentions(["batman & robin"], []), id="longest-first"),
        pytest.param("Good, the Bad, X", Mentions(["good, the bad", "x"], []), id="comma-within-a-title"),
        pytest.param("Batmans, xu2", Mentions([], ["batmans", "xu2"]), id="parts-of-words"),
        pytest.param("!!!, HEAT (1995)", Mentions(["!!!", "heat (1995)"], []), id="signs-are-plain-letters"),
        pytest.param("U2, U2", Mentions(["u2", "u2"], []), id="twice"),
        pytest.param("U2 and more , nothing", Mentions(["u2"], ["and more", "nothing"]), id="others"),
        pytest.param("", Mentions([], []), id="empty"),
    ],
)
def test_mentions(index: TitleIndex, text: str, found: Mentions) -> None:
    assert index.mentions(text) == found


def test_items_that_share_a_title_are_all_named(index: TitleIndex) -> None:
    assert index.items["heat (1995)"] == [6, 8]


def test_a_catalogue_without_titles_is_refused() -> None:
    with pytest.raises(ValueError, match="no item has a title"):
        TitleIndex([None, " "])
