"""Settings that cannot be honoured are refused with what to change."""

from __future__ import annotations

from typing import Any

import pytest

from graphrec.language.config import LanguageSettings

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown-form": ({"form": "index"}, "form='index' is not known; choose from 'hybrid', 'text', 'token'"),
    "no-sources": ({"sources": ()}, "need sources"),
    "states-of-text": ({"form": "text", "states": True}, "states have no effect"),
    "start-of-pretrained": ({"pretrained": "some/model"}, "give token_start 'random'"),
    "line-break-of-words": ({"end_mark": "newline"}, "has no line break"),
    "cut-down-nothing": ({"random_init": True}, "need pretrained"),
    "heads": ({"width": 10, "heads": 4}, "must be a multiple of twice"),
    "no-rate": ({"lr": 0.0}, "lr must be above 0"),
    "no-length": ({"length": 0}, "length must be at least 1"),
    "share": ({"floor": 2.0}, "are shares"),
    "negative": ({"warmup_steps": -1}, "must not be negative"),
}


@pytest.mark.parametrize(("settings", "words"), REFUSED.values(), ids=REFUSED)
def test_refusals(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LanguageSettings(**settings)


def test_the_backbone_gets_what_was_asked_for() -> None:
    small = LanguageSettings(width=32, layers=3, heads=4, dropout=0.3).language_model
    assert (small.name, small.training) == ("tiny", "full")
    assert (small.tiny.hidden, small.tiny.layers, small.tiny.heads, small.tiny.ffn) == (32, 3, 4, 88)
    assert small.tiny.dropout == 0.3
    large = LanguageSettings(pretrained="some/model", token_start="random", lora_rank=4).language_model
    assert (large.name, large.training, large.lora.r, large.dtype) == ("some/model", "lora", 4, "bfloat16")
    assert len(large.lora.target_modules) == 7
