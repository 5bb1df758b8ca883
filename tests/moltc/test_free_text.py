"""Free text: given texts are the answers; there is nothing to choose from and little to read."""

from __future__ import annotations

from typing import Any

import pytest

from moltc.chain_of_thought import ChainOfThought
from moltc.free_text import CAPTION, DESCRIPTION, TextFamily

COT = ChainOfThought()
BOTH = pytest.mark.parametrize("family", [CAPTION, DESCRIPTION], ids=["caption", "description"])


@BOTH
def test_answers_are_the_given_texts(family: TextFamily) -> None:
    assert family.answers(["An acid.", "two\nlines"], COT) == ["An acid.", "two\nlines"]
    assert family.answers([], COT) == []


@pytest.mark.parametrize("text", ["", " \n", None, 1.0], ids=["empty", "blank", "none", "number"])
def test_what_is_no_text_is_named(text: Any) -> None:
    with pytest.raises(ValueError, match="position 1 holds"):
        CAPTION.answers(["An acid.", text], COT)


@BOTH
def test_there_is_no_list_of_answers(family: TextFamily) -> None:
    with pytest.raises(ValueError, match="no list of admissible answers"):
        family.answer_space(COT)


@BOTH
def test_any_text_is_an_answer(family: TextFamily) -> None:
    parsed = family.parse("Drug 1: an acid\nDrug 2: a base")
    assert (parsed.value, parsed.valid, parsed.flags) == (None, True, ())
    assert family.parse(" \n").flags == ("empty",)
    assert not family.parse("").valid


def test_descriptions_are_written_like_the_broad_step() -> None:
    text = DESCRIPTION.reasoning("an acid", "a base")
    assert DESCRIPTION.answers([text], COT) == ["Drug 1: an acid\nDrug 2: a base\n"]
