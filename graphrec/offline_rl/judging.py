"""What the networks say about a batch of transitions: the inputs of the losses.

Letters: P learnt events of a batch, N negatives, w state width, d item width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphrec.offline_rl.batches import SessionBatch
from graphrec.offline_rl.methods import Objective
from graphrec.offline_rl.network import StateNetwork, as_target
from graphrec.offline_rl.objective import Judged


def judge(
    main: StateNetwork,
    target: StateNetwork,
    batch: SessionBatch,
    objective: Objective,
    *,
    popularity: Tensor,
    policy_samples: int = 0,
    dropout_in_targets: bool = False,
) -> Judged:
    """Everything that an objective reads of the events that a batch learns.

    Args:
        main: the network that learns.
        target: the one that gives it targets.
        batch: packed sessions; each is encoded as a whole, never prefix by prefix.
        objective: which terms there are.
        popularity: share of each item among all fitted events, ``[I]``.
        policy_samples: items that the policy's softmax is estimated from; 0: all items.
        dropout_in_targets: whether dropout stays on where targets are computed.
    """
    learnt = batch.learnt
    actions = batch.items[learnt]
    candidates = torch.cat([actions[:, None], batch.negatives[learnt]], 1)  # [P, 1 + N]
    states = main.states(batch.items, batch.packing)  # [1 + places, w]
    state, next_state = states[batch.before[learnt]], states[learnt + 1]  # [P, w]
    policy = main.policy(state)
    judged = {
        "logps": policy.sampled_logps(actions, policy_samples) if policy_samples else policy.logps(actions),
        "rewards": batch.rewards[learnt],
        "done": batch.done[learnt],
    }
    if main.value is not None:
        scores = main.value(state)
        values = scores.of(candidates)
        judged |= {"values": values[:, 0], "negative_values": values[:, 1:]}
        if objective.conservative_weight and objective.conservative_sum == "full":
            judged["all_values"] = scores.all()
        if objective.td_weight:
            judged |= target_values(main, target, batch, objective, dropout=dropout_in_targets)
    if objective.propensity_smooth:
        judged["behaviour"] = popularity[actions]
    if main.reward is not None or main.transition is not None:
        vectors = main.items(candidates)  # [P, 1 + N, d]
        if main.reward is not None:
            judged["reward_similarities"] = main.reward(state, vectors)
        if main.transition is not None:
            judged["transition_similarities"] = main.transition(
                state, vectors, next_state, in_batch=objective.in_batch
            )
    return Judged(**judged)


def target_values(
    main: StateNetwork,
    target: StateNetwork,
    batch: SessionBatch,
    objective: Objective,
    *,
    dropout: bool,
) -> dict[str, Tensor]:
    """V of the next states, and where negatives are learnt V of the states themselves, ``[P]`` each.

    V(s) is the target network's value of the action that the learning network likes best (double Q-learning),
    or of the action that was logged next.
    """
    learnt, before = batch.learnt, batch.before[batch.learnt]
    with as_target(target, dropout=dropout):
        states = target.states(batch.items, batch.packing)  # [1 + places, w]

        def value(rows: Tensor, actions: Tensor) -> Tensor:
            return target.values()(states[rows]).of(actions[:, None])[:, 0]

        if objective.bootstrap == "logged":
            next_items = batch.next_items[learnt]
            found = {"next_values": value(learnt + 1, next_items)}
            if objective.negative_td:
                found["state_values"] = value(before, batch.items[learnt])
            return found
    with as_target(main, dropout=dropout):
        best = main.values()(main.states(batch.items, batch.packing)).best()  # [1 + places]
        found = {"next_values": value(learnt + 1, best[learnt + 1])}
        if objective.negative_td:
            found["state_values"] = value(before, best[before])
    return found
