"""One number from what the networks say about a batch of transitions.

``L = L_actor + lambda_q (L_td + L_neg) + lambda_c L_con + lambda_r L_rew + lambda_t L_tra``, each the mean
over transitions. SQN, SAC, SNQN, SA2C and the MCRL-style loss are choices of which terms there are.

Letters: P transitions, N negatives, I items.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graphrec.offline_rl.actors import advantage, advantage_weight, inverse_propensity, value_weight
from graphrec.offline_rl.contrast import contrast, reward_weights
from graphrec.offline_rl.methods import Objective
from graphrec.offline_rl.values import conservative_penalty, negative_td_loss, td_loss, td_target


@dataclass(frozen=True)
class Judged:
    """What the networks say about P transitions; what an objective does not read may be left out.

    Attributes:
        logps: log softmax(y)[a] of the policy head, ``[P]``.
        rewards: of the events, ``[P]``.
        done: whether the session ends with the event, bool ``[P]``.
        values: Q(s, a), ``[P]``.
        negative_values: Q(s, b), ``[P, N]``.
        all_values: Q(s, i) of every item, ``[P, I]``; for the full conservative penalty.
        next_values: value of the state that followed, ``[P]``.
        state_values: value of the state itself, ``[P]``; for negatives.
        behaviour: share of the action among all logged events, ``[P]``; for the corrected advantage.
        reward_similarities: of candidates with the state, ``[P, 1 + N]``.
        transition_similarities: of the states predicted from candidates, ``[P, 1 + N]`` or more columns.
    """

    logps: Tensor
    rewards: Tensor
    done: Tensor
    values: Tensor | None = None
    negative_values: Tensor | None = None
    all_values: Tensor | None = None
    next_values: Tensor | None = None
    state_values: Tensor | None = None
    behaviour: Tensor | None = None
    reward_similarities: Tensor | None = None
    transition_similarities: Tensor | None = None


def objective_terms(objective: Objective, judged: Judged, *, step: int) -> dict[str, Tensor]:
    """Each term as its mean over transitions, and ``loss``, their weighted sum.

    Args:
        objective: which terms, and their options.
        judged: what the networks say.
        step: optimiser steps done; the actor is plain while they are fewer than ``warmup_steps``.
    """
    warm = step >= objective.warmup_steps
    terms = {"actor": (actor_loss(objective, judged) if warm else -judged.logps).mean()}
    loss = terms["actor"]
    if objective.td_weight:
        terms["td"] = _value_loss(objective, judged).mean()
        loss = loss + objective.td_weight * terms["td"]
    if objective.conservative_weight:
        terms["conservative"] = _penalty(objective, judged).mean()
        loss = loss + objective.conservative_weight * terms["conservative"]
    if objective.reward_contrast_weight:
        terms["reward_contrast"] = _reward_contrast(objective, judged).mean()
        loss = loss + objective.reward_contrast_weight * terms["reward_contrast"]
    if objective.transition_contrast_weight:
        similarities = _given(judged.transition_similarities, "transition_similarities")
        terms["transition_contrast"] = contrast(
            similarities, temperature=objective.transition_temperature
        ).mean()
        loss = loss + objective.transition_contrast_weight * terms["transition_contrast"]
    return {"loss": loss, **terms}


def actor_loss(objective: Objective, judged: Judged) -> Tensor:
    """Cross-entropy of the logged actions times the weight of each, ``[P]``."""
    if objective.actor == "plain":
        return -judged.logps
    values = _given(judged.values, "values")
    if objective.actor == "value":
        return -value_weight(values) * judged.logps
    ratios = torch.ones_like(judged.logps)
    if objective.propensity_smooth:
        ratios = inverse_propensity(
            judged.logps, _given(judged.behaviour, "behaviour"), clip=objective.propensity_clip
        )
    weights = advantage_weight(
        advantage(values, _given(judged.negative_values, "negative_values")),
        ratios,
        smooth=objective.propensity_smooth,
        clip=objective.advantage_clip,
    )
    return -weights * judged.logps


def _value_loss(objective: Objective, judged: Judged) -> Tensor:
    next_values = _given(judged.next_values, "next_values")
    targets = td_target(judged.rewards, judged.done, next_values, gamma=objective.gamma)
    losses = td_loss(_given(judged.values, "values"), targets)
    if not objective.negative_td:
        return losses
    return losses + negative_td_loss(
        _given(judged.negative_values, "negative_values"),
        _given(judged.state_values, "state_values"),
        gamma=objective.gamma,
        reward=objective.negative_reward,
    )


def _penalty(objective: Objective, judged: Judged) -> Tensor:
    values = _given(judged.values, "values")
    if objective.conservative_sum == "full":
        summed = _given(judged.all_values, "all_values")
    else:
        negative_values = _given(judged.negative_values, "negative_values")
        summed = torch.cat([values[:, None], negative_values], 1)  # [P, 1 + N]
    return conservative_penalty(summed, values, temperature=objective.conservative_temperature)


def _reward_contrast(objective: Objective, judged: Judged) -> Tensor:
    similarities = _given(judged.reward_similarities, "reward_similarities")
    losses = contrast(similarities, temperature=objective.reward_temperature)
    if not objective.reward_weighted:
        return losses
    return reward_weights(judged.rewards, largest=objective.largest_reward) * losses


def _given(values: Tensor | None, name: str) -> Tensor:
    if values is None:
        raise ValueError(f"this objective reads {name}; give it")
    return values
