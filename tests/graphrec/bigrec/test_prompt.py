"""The prompt of BIGRec."""

from __future__ import annotations

import pytest

from graphrec.bigrec.prompt import bigrec_prompt, quoted, unquoted


def test_blocks_stand_in_order() -> None:
    prompt = bigrec_prompt(["Heat", "Batman & {Robin}"], "films")
    assert 'has seen, oldest first: "Heat", "Batman & {Robin}"\n' in prompt
    heads = [prompt.index(f"### {name}:") for name in ("Instruction", "Input", "Response")]
    assert heads == sorted(heads)
    assert prompt.endswith("### Response:\n")
    assert "film that the user has not seen" in prompt


def test_an_empty_history_is_said_to_be_empty() -> None:
    assert "### Input:\nThe user has played nothing yet\n" in bigrec_prompt([], "games")


@pytest.mark.parametrize("title", ["Heat", 'The "Burbs', "Twelve Monkeys"])
def test_responses_are_read_back(title: str) -> None:
    assert unquoted(f" {quoted(title)}\nand more") == title


@pytest.mark.parametrize(
    ("titles", "domain", "message"),
    [
        pytest.param(["Heat", " "], "films", "item 1 of the history has no title", id="no-title"),
        pytest.param(["Heat"], "books", "domain='books' is not known", id="domain"),
    ],
)
def test_refusals(titles: list[str], domain: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bigrec_prompt(titles, domain)
