"""Prompts and answers of the three tasks."""

from __future__ import annotations

import pytest

from graphrec.recinterpreter.prompts import (
    TASKS,
    all_texts,
    drawn_wording,
    listed,
    listing,
    named,
    num_wordings,
    pieces,
)
from moltc.backbone.prompt import Soft


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("wording", range(num_wordings()), ids=["first", "second", "third"])
def test_every_wording_shows_the_entities_in_order(task: str, wording: int) -> None:
    found = pieces(task, wording, "films")
    soft = [piece for piece in found if isinstance(piece, Soft)]
    role = "item" if task == "item" else "sequence"
    assert soft == [Soft(role, slot) for slot in range(1, 3 if task == "residual" else 2)]
    assert not any("{" in text or "*" in text for text in found if isinstance(text, str))
    assert "film" in "".join(text for text in found if isinstance(text, str))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("listing",), "task='listing' is not known", id="task"),
        pytest.param(("item", 3), "wording=3 is not known", id="wording"),
        pytest.param(("item", 0, "cars"), "domain='cars' is not known", id="domain"),
    ],
)
def test_unknown_prompts_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pieces(*arguments)


@pytest.mark.parametrize("separator", [pytest.param(", ", id="commas"), pytest.param(" , ", id="words")])
def test_a_listing_is_read_back(separator: str) -> None:
    text = listing(["Heat", "Big"], "films", separator)
    assert text.startswith("The user has seen Heat")
    assert listed(f" {text}\nmore", "films") == separator.join(["Heat", "Big"])


def test_a_name_is_the_first_line() -> None:
    assert named(" Heat\nand more") == "Heat"


def test_wordings_are_drawn_by_place_alone() -> None:
    drawn = [drawn_wording(1, 0, batch) for batch in range(50)]
    assert drawn == [drawn_wording(1, 0, batch) for batch in range(50)]
    assert set(drawn) == set(range(num_wordings()))


def test_all_texts_hold_every_word_of_prompts_and_answers() -> None:
    known = {word for text in all_texts("games") for word in text.split()}
    texts = [text for task in TASKS for text in pieces(task, 2, "games") if isinstance(text, str)]
    assert {word for text in [*texts, listing([], "games", " , ")] for word in text.split()} <= known
