"""Methods as choices of terms, and options that nothing reads."""

from __future__ import annotations

from typing import Any

import pytest

from graphrec.offline_rl.methods import METHODS, ObjectiveConfig


@pytest.mark.parametrize("method", METHODS)
def test_every_method_resolves_to_its_terms(method: Any) -> None:
    objective = ObjectiveConfig(method=method).resolved()
    for name, value in METHODS[method].items():
        assert getattr(objective, name) == value
    assert objective.learns_values == (method != "supervised")


@pytest.mark.parametrize(
    "switch",
    [
        pytest.param({"conservative_weight": 0.0}, id="no-conservative"),
        pytest.param({"reward_contrast_weight": 0.0}, id="no-reward-contrast"),
        pytest.param({"transition_contrast_weight": 0.0}, id="no-transition-contrast"),
        pytest.param({"td_weight": 0.0}, id="no-temporal-difference"),
    ],
)
def test_ablations_change_one_term(switch: dict[str, Any]) -> None:
    whole, without = ObjectiveConfig().resolved(), ObjectiveConfig(**switch).resolved()
    changed = {name for name in vars(whole) if getattr(whole, name) != getattr(without, name)}
    assert changed == set(switch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"method": "dqn"}, "choose one of supervised", id="method"),
        pytest.param({"method": "supervised", "gamma": 0.9}, "gamma=0.9 is not read", id="gamma-unread"),
        pytest.param({"method": "sqn", "in_batch": True}, "transition_contrast_weight", id="in-batch-unread"),
        pytest.param({"method": "sqn", "conservative_sum": "full"}, "conservative_weight", id="sum-unread"),
        pytest.param({"method": "sqn", "negative_reward": -1.0}, "negative_td", id="negative-unread"),
        pytest.param({"method": "sac", "advantage_clip": (0.0, 1.0)}, "actor: advantage", id="clip-unread"),
        pytest.param({"method": "sqn", "warmup_steps": 5}, "actor: plain goes first", id="warmup-unread"),
        pytest.param({"method": "sac", "td_weight": 0.0}, "set td_weight above 0", id="actor-without-values"),
        pytest.param(
            {"method": "snqn", "td_weight": 0.0}, "set td_weight above 0", id="negatives-without-td"
        ),
        pytest.param({"gamma": 1.0}, "is a discount", id="discount"),
        pytest.param({"reward_temperature": 0.0}, "reward_temperature", id="temperature"),
        pytest.param({"td_weight": -1.0}, "td_weight=-1.0", id="weight"),
        pytest.param({"num_negatives": 0}, "num_negatives=0", id="negatives"),
        pytest.param({"click_reward": 0.0, "purchase_reward": 0.0}, "worth anything", id="rewards"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectiveConfig(**options).resolved()
