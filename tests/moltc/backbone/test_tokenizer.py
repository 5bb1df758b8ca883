"""The tiny tokenizer: every text is read back, phrases and digits are single entries, training repeats."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from moltc.backbone.tokenizer import SPECIAL, train_tokenizer, wrap

TEXTS = ["What is the solvation free energy of CC(=O)Oc1ccccc1 in water?", "It is -3.12 kcal/mol."] * 5
PHRASES = ("What is the solvation", " kcal/mol.", "It is", "It is above", "\nAnswer:", "Δ of 20 °C")


@cache
def reader() -> Any:
    """The tokenizer of these tests."""
    return train_tokenizer(TEXTS, vocab_size=320, phrases=PHRASES)


@pytest.fixture
def trained() -> Any:
    return reader()


@given(st.text(max_size=60))
@example("line\r\n\ttab\x00 and\u2028more")
@example("C[C@@H](N)C(=O)O.[Na+].c1cc2ccccc2[nH]1/C=C\\F")
@example("It is above It isabove kcal/mol.  ")
@example("ΔG = −3.1 ± 0.2 kcal·mol⁻¹ 漢字 🧪 é e\u0301")
@settings(max_examples=150, deadline=None)
def test_every_text_is_read_back(text: str) -> None:
    assert reader().decode(reader().encode(text, add_special_tokens=False)) == text


def test_phrases_are_single_entries(trained: Any) -> None:
    for phrase in PHRASES:
        ids = trained.encode(phrase, add_special_tokens=False)
        assert len(ids) == 1
        assert trained.decode(ids) == phrase


def test_the_longest_phrase_is_taken(trained: Any) -> None:
    ids = trained.encode("It is above kcal/mol.", add_special_tokens=False)
    assert trained.convert_ids_to_tokens(ids) == ["It is above", " kcal/mol."]


@pytest.mark.parametrize("number", ["-12.3456", "1999", "0.07", "10:30"])
def test_digits_stand_alone(trained: Any, number: str) -> None:
    pieces = [trained.decode([i]) for i in trained.encode(number, add_special_tokens=False)]
    assert [piece for piece in pieces if piece.isdigit()] == [c for c in number if c.isdigit()]


def test_training_is_repeatable() -> None:
    first, second = (train_tokenizer(TEXTS, vocab_size=300, phrases=p) for p in (PHRASES, PHRASES[::-1]))
    assert first.get_vocab() == second.get_vocab()
    assert first.encode(TEXTS[0]) == second.encode(TEXTS[0])


def test_sizes(trained: Any) -> None:
    many = train_tokenizer(
        [f"word{n} and{n * n}" for n in range(200)] + TEXTS, vocab_size=270, phrases=PHRASES
    )
    assert len(many) == 270 + len(PHRASES)
    assert len(trained) <= 320 + len(PHRASES)
    assert len(train_tokenizer([], vocab_size=10)) == 256 + len(SPECIAL)


def test_special_tokens_are_known(trained: Any) -> None:
    tokens = [trained.pad_token, trained.bos_token, trained.eos_token, *SPECIAL[3:]]
    assert tuple(tokens) == SPECIAL
    assert [trained.convert_tokens_to_ids(token) for token in SPECIAL] == [0, 1, 2, 3]
    assert trained.encode("yes", add_special_tokens=False) == trained.encode("yes")


def test_phrases_that_look_like_bytes_stay_text(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        tokenizer = train_tokenizer(TEXTS, vocab_size=300, phrases=["±", "25°C", "25 °C"])
    assert "2 phrases stay ordinary text" in caplog.text
    assert len(tokenizer) == 301
    assert tokenizer.decode(tokenizer.encode("25°C ± 25 °C")) == "25°C ± 25 °C"


def test_a_saved_tokenizer_is_the_same(trained: Any, tmp_path: Path) -> None:
    trained.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    again = wrap(Tokenizer.from_file(str(tmp_path / "tokenizer.json")))
    for text in (*TEXTS, *PHRASES):
        assert again.encode(text) == trained.encode(text)
