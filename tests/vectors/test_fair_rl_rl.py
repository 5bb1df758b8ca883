"""Offline RL: sessions as transitions, metrics and losses against values of peer code and of the formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from vector_files import assert_close

from graphrec.evaluation import target_ranks
from graphrec.histories import Histories
from graphrec.offline_rl.actors import advantage
from graphrec.offline_rl.contrast import RewardContrast, TransitionContrast, contrast
from graphrec.offline_rl.event_metrics import event_metrics
from graphrec.offline_rl.methods import ObjectiveConfig
from graphrec.offline_rl.objective import Judged, objective_terms
from graphrec.offline_rl.transitions import done, read_lengths, windows
from graphrec.offline_rl.values import (
    conservative_penalty,
    double_q,
    negative_td_loss,
    td_loss,
    td_target,
)
from moltc.bootstrap import Bootstrap

Case = dict[str, Any]


def test_replay(fair_rl_rl_replay: Case) -> None:
    given = fair_rl_rl_replay["inputs"]
    sessions = Histories.from_lists([session["items"] for session in given["sessions"]])
    length, pad = given["length"], given["pad_item"]
    got = {
        "state": windows(sessions, length, pad, after=False),
        "len_state": read_lengths(sessions, length, after=False),
        "action": sessions.items,
        "is_buy": np.concatenate([session["is_buy"] for session in given["sessions"]]),
        "next_state": windows(sessions, length, pad, after=True),
        "len_next_states": read_lengths(sessions, length, after=True),
        "is_done": done(sessions),
    }
    assert {name: values.tolist() for name, values in got.items()} == fair_rl_rl_replay["expected"]


def test_metrics(fair_rl_rl_metrics: Case) -> None:
    given = fair_rl_rl_metrics["inputs"]
    ranks = target_ranks(np.array(given["scores"]), np.array(given["targets"]))
    found = event_metrics(
        ranks,
        np.array(given["is_buy"], dtype=bool),
        given["ks"],
        click=given["r_click"],
        purchase=given["r_buy"],
        bootstrap=Bootstrap(resamples=0),
    )
    for k, expected in fair_rl_rl_metrics["expected"].items():
        for name, value in expected.items():
            ours = "reward" if name == "cumulative_reward" else name
            assert found[f"{ours}@{k}"].value == pytest.approx(value, abs=fair_rl_rl_metrics["tol"]), name


class TestValueLosses:
    def test_terms(self, fair_rl_rl_value_losses: Case) -> None:
        given, expected = tensors(fair_rl_rl_value_losses), fair_rl_rl_value_losses["expected"]
        judged = judge(given)
        next_values = double_q(given["q_next_target"], given["q_next_selector"])
        targets = td_target(given["rewards"], judged.done, next_values, gamma=given["gamma"])
        assert judged.values is not None and judged.negative_values is not None
        assert judged.state_values is not None
        double = {
            "best_action": given["q_next_selector"].argmax(1),
            "target": targets,
            "td_error": targets - judged.values,
            "loss_per_sample": td_loss(judged.values, targets),
        }
        negative = negative_td_loss(
            judged.negative_values, judged.state_values, gamma=given["gamma"], reward=given["r_negative"]
        )
        gains = advantage(judged.values, judged.negative_values)
        found = {
            "double_q": double,
            "negative_q_loss_per_sample": negative,
            "advantage": gains,
            "advantage_clipped": gains.clamp(*given["advantage_clip"]),
        }
        close(fair_rl_rl_value_losses, found, {name: expected[name] for name in found})

    @pytest.mark.parametrize("method", ["sqn", "sac", "snqn"])
    def test_totals(self, fair_rl_rl_value_losses: Case, method: str) -> None:
        given = tensors(fair_rl_rl_value_losses)
        loss = total(given, method)
        close(fair_rl_rl_value_losses, loss, fair_rl_rl_value_losses["expected"][f"{method}_loss"])
        if method == "sac":
            wrong = fair_rl_rl_value_losses["expected"]["sac_loss_wrong_mean_reduced"]
            assert abs(loss.item() - wrong) > 1e-3

    def test_advantage_actor(self, fair_rl_rl_value_losses: Case) -> None:
        given = tensors(fair_rl_rl_value_losses)
        found = {
            str(smooth): total(
                given,
                "sa2c",
                advantage_clip=tuple(given["advantage_clip"]),
                propensity_clip=tuple(given["ips_clip"]),
                propensity_smooth=smooth,
            )
            for smooth in given["smooth_values"]
        }
        close(fair_rl_rl_value_losses, found, fair_rl_rl_value_losses["expected"]["sa2c_loss"])

    def test_gradients_of_the_value_weighted_actor(self, fair_rl_rl_value_losses: Case) -> None:
        given = tensors(fair_rl_rl_value_losses)
        free = {name: given[name].requires_grad_() for name in ("q_s", "logits")}
        total(given, "sac").backward()
        found = {name: values.grad for name, values in free.items()}
        close(fair_rl_rl_value_losses, found, fair_rl_rl_value_losses["expected"]["sac_grad"])


class TestMcrlLosses:
    def test_terms(self, fair_rl_mcrl_losses: Case) -> None:
        case = fair_rl_mcrl_losses
        given, hyper = tensors(case), case["inputs"]["hyper"]
        judged = judge(given)
        reward, transition = models(given)
        candidates = given["item_embeddings"][candidate_items(given)]
        assert judged.values is not None and judged.negative_values is not None
        sampled = torch.cat([judged.values[:, None], judged.negative_values], 1)
        warm = {"temperature": hyper["conservative_temperature"]}
        similarity = reward(given["state"], candidates)
        moved = transition(given["state"], candidates, given["next_state"])
        widened = transition(given["state"], candidates, given["next_state"], in_batch=True)
        per_reward = contrast(similarity, temperature=hyper["reward_temperature"])
        tau = hyper["transition_temperature"]
        found = {
            "conservative_full_per_sample": conservative_penalty(given["q_s"], judged.values, **warm),
            "conservative_sampled_per_sample": conservative_penalty(sampled, judged.values, **warm),
            "reward_similarity": similarity,
            "reward_contrast_per_sample": per_reward,
            "reward_contrast_loss_unweighted": per_reward.mean(),
            "predicted_next_state": transition.predict(given["state"], candidates),
            "transition_similarity": moved,
            "transition_contrast_per_sample": contrast(moved, temperature=tau),
            "transition_contrast_in_batch_loss": contrast(widened, temperature=tau).mean(),
        }
        close(case, found, {name: case["expected"][name] for name in found})

    def test_totals_and_gradients(self, fair_rl_mcrl_losses: Case) -> None:
        case = fair_rl_mcrl_losses
        expected, given = case["expected"], tensors(case)
        free = ("q_s", "logits", "state", "item_embeddings")
        for name in (*free, "next_state"):
            given[name].requires_grad_()
        full, sampled = (mcrl_terms(given, case["inputs"]["hyper"], kind) for kind in ("full", "sampled"))
        full["loss"].backward()
        assert given["next_state"].grad is None
        found = {
            "total_full": full["loss"],
            "total_sampled": sampled["loss"],
            "ce_loss": full["actor"],
            "td_loss": full["td"],
            "reward_contrast_loss": full["reward_contrast"],
            "transition_contrast_loss": full["transition_contrast"],
            "grad_total_full": {name: given[name].grad for name in free},
        }
        close(case, found, {name: expected[name] for name in found})


def tensors(case: Case) -> Case:
    """Inputs as float64 tensors, but for items (long), options and the reward of a negative."""
    kept = ("gamma", "smooth_values", "advantage_clip", "ips_clip", "r_negative", "hyper", "transition_mlp")
    items = ("actions", "negatives")
    return {
        name: value
        if name in kept
        else torch.tensor(value, dtype=torch.long if name in items else torch.float64)
        for name, value in case["inputs"].items()
    } | {"gamma": case["inputs"].get("gamma", case["inputs"].get("hyper", {}).get("gamma"))}


def judge(given: Case, **more: Tensor) -> Judged:
    """What the matrices of a case say about its transitions."""

    def taken(table: Tensor) -> Tensor:
        return table.gather(1, given["actions"][:, None])[:, 0]

    at_state = None
    if "q_s_target" in given:
        at_state = double_q(given["q_s_target"], given["q_s_selector"])
    return Judged(
        logps=taken(given["logits"].log_softmax(1)),
        rewards=given["rewards"],
        done=given["done"].bool(),
        values=taken(given["q_s"]),
        negative_values=given["q_s"].gather(1, given["negatives"]),
        all_values=given["q_s"],
        next_values=double_q(given["q_next_target"], given["q_next_selector"]),
        state_values=at_state,
        behaviour=given.get("behaviour_prob"),
        **more,
    )


def total(given: Case, method: Any, **options: Any) -> Tensor:
    """The loss of a method of the SQN line behind its warm-up."""
    config = ObjectiveConfig(method=method, gamma=given["gamma"], **options)
    if method in ("snqn", "sa2c"):
        config = ObjectiveConfig(
            method=method, gamma=given["gamma"], negative_reward=given["r_negative"], **options
        )
    objective = config.resolved()
    return objective_terms(objective, judge(given), step=objective.warmup_steps)["loss"]


def candidate_items(given: Case) -> Tensor:
    return torch.cat([given["actions"][:, None], given["negatives"]], 1)  # [P, 1 + N]


def models(given: Case) -> tuple[RewardContrast, TransitionContrast]:
    """Both contrastive models with the weights of a case."""
    width = given["state"].shape[1]
    reward, transition = RewardContrast(width, width).double(), TransitionContrast(width, width).double()
    weights = {
        name: torch.tensor(value, dtype=torch.float64) for name, value in given["transition_mlp"].items()
    }
    reward.load_state_dict({"projection": given["reward_projection"]})
    transition.load_state_dict(
        {
            "hidden.weight": weights["W1"].T,
            "hidden.bias": weights["b1"],
            "output.weight": weights["W2"].T,
            "output.bias": weights["b2"],
        }
    )
    return reward, transition


def mcrl_terms(given: Case, hyper: Case, conservative_sum: Any) -> dict[str, Tensor]:
    reward, transition = models(given)
    candidates = given["item_embeddings"][candidate_items(given)]
    config = ObjectiveConfig(
        method="mcrl",
        gamma=hyper["gamma"],
        td_weight=hyper["lambda_q"],
        conservative_weight=hyper["lambda_c"],
        conservative_sum=conservative_sum,
        conservative_temperature=hyper["conservative_temperature"],
        reward_contrast_weight=hyper["lambda_r"],
        reward_temperature=hyper["reward_temperature"],
        transition_contrast_weight=hyper["lambda_t"],
        transition_temperature=hyper["transition_temperature"],
        click_reward=hyper["r_click"],
        purchase_reward=hyper["r_buy"],
    )
    judged = judge(
        given,
        reward_similarities=reward(given["state"], candidates),
        transition_similarities=transition(given["state"], candidates, given["next_state"]),
    )
    return objective_terms(config.resolved(), judged, step=0)


def close(case: Case, found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            close(case, found[name], value)
        return
    assert_close(case["id"], found, expected, rtol=0.0, atol=case["tol"])
