"""Terms added up: methods that must coincide, warm-up, and inputs that are missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from graphrec.offline_rl.methods import ObjectiveConfig
from graphrec.offline_rl.objective import Judged, actor_loss, objective_terms

ROWS, NEGATIVES, ITEMS = 6, 4, 9


@pytest.fixture
def judged() -> Judged:
    all_values = torch.randn(ROWS, ITEMS)
    return Judged(
        logps=torch.randn(ROWS, ITEMS).log_softmax(1)[:, 0],
        rewards=torch.tensor([1.0, 0.2, 0.2, 1.0, 0.2, 0.2]),
        done=torch.tensor([False, True, False, False, True, False]),
        values=all_values[:, 0],
        negative_values=all_values[:, 1 : 1 + NEGATIVES],
        all_values=all_values,
        next_values=torch.randn(ROWS),
        state_values=torch.randn(ROWS),
        behaviour=torch.rand(ROWS) + 0.05,
        reward_similarities=torch.rand(ROWS, 1 + NEGATIVES),
        transition_similarities=torch.rand(ROWS, 1 + NEGATIVES),
    )


def loss(judged: Judged, step: int = 0, **options: Any) -> float:
    return objective_terms(ObjectiveConfig(**options).resolved(), judged, step=step)["loss"].item()


def test_without_its_own_terms_the_whole_is_sqn_and_then_plain(judged: Judged) -> None:
    own = ("conservative_weight", "reward_contrast_weight", "transition_contrast_weight")
    bare = dict.fromkeys(own, 0.0)
    assert loss(judged, method="mcrl", **bare) == loss(judged, method="sqn")
    assert loss(judged, method="mcrl", td_weight=0.0, **bare) == loss(judged, method="supervised")
    assert loss(judged, method="cql", conservative_weight=0.0) == loss(judged, method="sqn")


def test_weighted_sum_of_the_named_terms(judged: Judged) -> None:
    weights = {
        "td": ("td_weight", 0.5),
        "conservative": ("conservative_weight", 0.3),
        "reward_contrast": ("reward_contrast_weight", 0.7),
        "transition_contrast": ("transition_contrast_weight", 0.2),
    }
    options: dict[str, Any] = dict(weights.values())
    terms = objective_terms(ObjectiveConfig(**options).resolved(), judged, step=0)
    total = terms["actor"] + sum(weight * terms[name] for name, (_, weight) in weights.items())
    torch.testing.assert_close(terms["loss"], total)


@pytest.mark.parametrize(("method", "plain"), [("sac", "sqn"), ("sa2c", "snqn")])
def test_the_actor_is_plain_in_its_warmup(judged: Judged, method: str, plain: str) -> None:
    options = {"method": method, "warmup_steps": 3}
    assert loss(judged, step=2, **options) == loss(judged, method=plain)
    assert loss(judged, step=3, **options) != loss(judged, method=plain)


def test_products_are_made_before_the_mean(judged: Judged) -> None:
    objective = ObjectiveConfig(method="sac").resolved()
    assert judged.values is not None
    per_row = [float(-value * logp) for value, logp in zip(judged.values, judged.logps, strict=True)]
    assert actor_loss(objective, judged).tolist() == pytest.approx(per_row)


def test_unweighted_rewards_count_alike(judged: Judged) -> None:
    equal = replace(judged, rewards=torch.full((ROWS,), 1.0))
    terms = [
        objective_terms(ObjectiveConfig(reward_weighted=flag).resolved(), equal, step=0)["reward_contrast"]
        for flag in (True, False)
    ]
    torch.testing.assert_close(terms[0], terms[1])


@pytest.mark.parametrize(
    ("missing", "options"),
    [
        pytest.param("next_values", {"method": "sqn"}, id="next"),
        pytest.param("state_values", {"method": "snqn"}, id="state"),
        pytest.param("all_values", {"conservative_sum": "full"}, id="all"),
        pytest.param("negative_values", {"method": "cql"}, id="negatives"),
        pytest.param("reward_similarities", {}, id="reward"),
        pytest.param("transition_similarities", {}, id="transition"),
        pytest.param(
            "behaviour", {"method": "sa2c", "warmup_steps": 0, "propensity_smooth": 0.5}, id="behaviour"
        ),
    ],
)
def test_what_is_missing_is_named(judged: Judged, missing: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"reads {missing}"):
        loss(replace(judged, **{missing: None}), **options)
