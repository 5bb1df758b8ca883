"""Settings of LLaRA, and the published ones."""

from __future__ import annotations

from typing import Any

import pytest

from graphrec.llara.config import LlaraConfig
from graphrec.llara.curriculum import ReleaseCurriculum, StepCurriculum

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "curriculum-of-text": ({"form": "text", "curriculum": "power"}, "form is 'text'"),
    "one-candidate": ({"num_candidates": 1}, "num_candidates must be at least 2"),
    "open-share": ({"open_share": 1.5}, "open_share is a share"),
    "prior-share": ({"prior_share": -0.1}, "prior_share is a share"),
    "domain": ({"domain": "books"}, "domain='books' is not known"),
    "idle-exponent": ({"curriculum": "step", "exponent": 2.0}, "exponent has no effect"),
    "layout": ({"layout": "rows"}, "layout='rows' is not known"),
}


@pytest.mark.parametrize(("settings", "words"), REFUSED.values(), ids=REFUSED)
def test_refusals(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LlaraConfig(**settings)


def test_curricula() -> None:
    assert LlaraConfig().schedule(10) is None
    assert LlaraConfig(curriculum="power").schedule(10) == StepCurriculum()
    two_stage = LlaraConfig(curriculum="step", switch=0.5).schedule(10)
    assert two_stage == StepCurriculum("step", switch=0.5)
    assert LlaraConfig(curriculum="first_release", planned_epochs=5).schedule(80) == ReleaseCurriculum(
        80, 5, 8, reversed=True
    )


def test_the_published_settings() -> None:
    config = LlaraConfig.reference(pretrained="some/model")
    assert (config.lora_rank, config.lora_alpha, config.lora_dropout) == (8, 32, 0.1)
    assert (config.lr, config.batch_size, config.planned_epochs, config.rates) == (7e-4, 128, 5, "llara")
    assert (config.weight_decay, config.projector_decay, config.betas) == (0.0, 1e-5, (0.9, 0.999))
    assert config.projector == "mlp"
    assert config.schedule(100) == StepCurriculum()
