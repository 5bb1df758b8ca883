"""Tokens of titles: read back, told apart, never hidden."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphrec.language.titles import end_mark, title_tokens
from graphrec.language.tokenizer import KnownText, catalogue_tokenizer
from moltc.backbone.language_model import load_tokenizer

TITLES = ["Café Del Mar", "AC/DC", "ac/dc", "P!nk", "The The", "99 Luftballons"]


def builder(vocabulary: str) -> KnownText:
    tokenizer = catalogue_tokenizer(TITLES, ["heard: ,"], vocabulary=vocabulary, size=300)
    return KnownText(tokenizer, lambda role, slot: role, num_queries=1)


@pytest.mark.parametrize("vocabulary", ["words", "titles", "bpe"])
def test_titles_read_back(vocabulary: str) -> None:
    build = builder(vocabulary)
    rows = title_tokens(TITLES, build, end_mark(build, "end")).lists()
    eos = build.tokenizer.eos_token_id
    assert all(row[-1] == eos and eos not in row[:-1] for row in rows)
    assert [build.tokenizer.decode(row[:-1]).strip() for row in rows] == TITLES
    assert len({tuple(row) for row in rows}) == len(TITLES)


def test_every_word_is_one_token() -> None:
    build = builder("words")
    assert [len(build.ids(title)) for title in TITLES] == [3, 1, 1, 1, 2, 2]
    np.testing.assert_array_equal(build.ids("heard: AC/DC"), [*build.ids("heard:"), *build.ids("AC/DC")])


def test_every_title_is_one_token(tmp_path: Path) -> None:
    """Promise: also beside other text, also where one title holds another, also read back from a file."""
    names = [*TITLES, "The", "Air", "!!!"]
    made = catalogue_tokenizer(names, ["heard: , Airplane"], vocabulary="titles")
    made.save_pretrained(tmp_path)
    for tokenizer in (made, load_tokenizer(tmp_path)):
        build = KnownText(tokenizer, lambda role, slot: role, num_queries=1)
        assert [len(build.ids(name)) for name in names] == [1] * len(names)
        assert len(build.ids("heard: The The , Airplane , Air , !!!")) == 8
        with pytest.raises(ValueError, match="no word 'Nena'"):
            build.ids("Nena")


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ValueError, match="no word 'Nena', in 'Nena The'; use vocabulary 'bpe'"):
        builder("words").ids("Nena The")
    assert len(builder("bpe").ids("Nena The")) > 2


def test_end_marks() -> None:
    assert end_mark(builder("bpe"), "newline").shape == (1,)
    with pytest.raises(ValueError, match="no token for a line break"):
        end_mark(builder("words"), "newline")
