"""Settings of language models: what cannot be honoured is refused when it is written."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from moltc.backbone.language_model_config import LanguageModelConfig, LoraSettings, TinyConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "x", "quantization": "4bit"}, "quantised weights cannot be trained"),
        ({"name": "x", "quantization": "8bit", "training": "lora", "random_init": True}, "not quantised"),
        ({"training": "lora"}, "tiny model starts from random weights"),
        ({"training": "frozen"}, "tiny model starts from random weights"),
        ({"random_init": True}, "leave out random_init"),
        ({"name": "x", "num_layers": 2}, "needs random_init"),
        ({"name": "x", "num_layers": 0, "random_init": True}, "at least 1, not 0"),
        ({"logit_chunk": 0}, "at least 1 row"),
        ({"training": "Full"}, "training must be one of 'full', 'lora', 'frozen', not 'Full'"),
        ({"dtype": "half"}, "dtype must be one of"),
    ],
    ids=[
        "quantised-full",
        "quantised-random",
        "tiny-lora",
        "tiny-frozen",
        "tiny-random",
        "layers-of-stored-weights",
        "no-layers",
        "no-logits",
        "misspelt-training",
        "misspelt-type",
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LanguageModelConfig(**settings)


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="twice the 3 heads"):
        TinyConfig(hidden=32, heads=3)
    with pytest.raises(ValueError, match="use training 'frozen'"):
        LoraSettings(r=0)
    with pytest.raises(ValueError, match="below 1"):
        LoraSettings(dropout=1.0)


def test_settings_survive_json() -> None:
    config = LanguageModelConfig(
        name="x",
        training="lora",
        lora=LoraSettings(r=3, target_modules=("a", "b")),
        tiny=TinyConfig(layers=1),
    )
    assert LanguageModelConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config
