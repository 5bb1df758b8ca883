"""Settings of BIGRec, and what cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graphrec.bigrec.config import BigRecConfig
from graphrec.configuration import chosen_model, fit_parser, model_config

CONFIGS = Path(__file__).parents[3] / "configs" / "graphrec"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"domain": "books"}, "domain='books' is not known", id="domain"),
        pytest.param({"layout": "pages"}, "layout='pages' is not known", id="layout"),
        pytest.param({"form": "token"}, "writes titles that it reads", id="form"),
        pytest.param({"samples": 10}, "need layout 'instructions'", id="samples"),
        pytest.param({"learn_instruction": True}, "need layout 'instructions'", id="instruction"),
        pytest.param({"reweight_model": "runs/plain"}, "need groups to weigh by", id="reweight"),
        pytest.param({"reweight": "genres", "reweight_power": 0.0}, "weighs nothing", id="power"),
        pytest.param({"most_tokens": 0}, "most_tokens=0 and samples=None", id="tokens"),
        pytest.param({"layout": "instructions"}, "give vocabulary 'bpe'", id="words"),
        pytest.param(
            {"layout": "instructions", "vocabulary": "bpe", "form": "hybrid"}, "shows titles alone", id="soft"
        ),
        pytest.param(
            {"layout": "instructions", "vocabulary": "bpe", "ranking": "likelihood"}, "as windows", id="order"
        ),
        pytest.param({"gamma": 1.0}, "no effect without weighting", id="gamma"),
        pytest.param({"weighting": "popularity"}, "no effect with gamma 0", id="weighting"),
        pytest.param({"weighting": "popularity", "gammas": (-1.0,)}, "gamma is 0 or more", id="negative"),
        pytest.param(
            {"ranking": "likelihood", "weighting": "popularity", "gamma": 1.0},
            "moves distances",
            id="ranking",
        ),
    ],
)
def test_refusals(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BigRecConfig(**settings)


def test_the_published_settings() -> None:
    found = BigRecConfig.reference()
    assert (found.layout, found.samples, found.batch_size) == ("instructions", 65_536, 128)
    assert found.language_model.is_tiny  # until pretrained names a model


def shipped(name: str) -> BigRecConfig:
    given = ["--config", str(CONFIGS / f"{name}.yaml")]
    found: BigRecConfig = model_config(fit_parser(*chosen_model(given)).parse_args(given))
    return found


def test_the_shipped_settings_differ_in_the_weights_alone() -> None:
    plain, weighted = shipped("bigrec_movielens"), shipped("ifairlrs_movielens")
    assert weighted.reweight == "popularity"
    assert replace(weighted, reweight=None) == plain
