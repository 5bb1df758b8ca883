"""Shipped configurations: what their headers promise, and that their settings are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphrec.configuration import chosen_model, fit_parser, model_config
from graphrec.recinterpreter.config import RecInterpreterConfig
from graphrec.registry import MODELS
from graphrec.sdpo.config import SDPOConfig

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "graphrec"
NAMES = sorted(path.stem for kind in ("recinterpreter", "sdpo") for path in CONFIGS.glob(f"{kind}_*.yaml"))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "recinterpreter", "graphrec.recinterpreter.recommender:RecInterpreter")
    monkeypatch.setitem(MODELS, "sdpo", "graphrec.sdpo.recommender:SDPO")


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_known(name: str) -> None:
    arguments = [f"--config={CONFIGS / name}.yaml"]
    options = fit_parser(*chosen_model(arguments)).parse_args(arguments)
    config = model_config(options)
    assert isinstance(config, (RecInterpreterConfig, SDPOConfig))
    assert Path(config.source if isinstance(config, RecInterpreterConfig) else config.start).name == "export"
    assert options.trainer.validate_every == (0 if isinstance(config, RecInterpreterConfig) else 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_header_says_how_to_run_it(name: str) -> None:
    text = (CONFIGS / f"{name}.yaml").read_text()
    assert f"graphrec fit --config configs/graphrec/{name}.yaml --seed_everything 0" in text
    assert f"out: runs/graphrec/{name}\n" in text


def test_the_control_differs_in_its_loss_alone() -> None:
    read = [
        model_config(fit_parser(*chosen_model(given)).parse_args(given))
        for given in ([f"--config={CONFIGS / name}.yaml"] for name in ("sdpo_lastfm", "sdpo_lastfm_sft"))
    ]
    ours, control = ({**vars(config), "method": None} for config in read)
    assert ours == control
    assert [config.method for config in read] == ["sdpo", "sft"]
