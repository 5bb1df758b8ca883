"""Contrastive models of the reward and of the transition, from logged actions and sampled negatives.

A reconstruction: MCRL (arXiv 2310.16566) says in its abstract that it contrasts state-action pairs to model
the reward function and the state transition function of the decision process. The forms below are ours.

Letters: P transitions, N negatives, w state width, d item width. Candidates are the logged action and its
negatives, in that order.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphrec.offline_rl.values import check_temperature


def contrast(similarities: Tensor, *, temperature: float) -> Tensor:
    """``-log softmax(z / tau)[0]``, ``[P]``, of similarities ``[P, 1 + N]`` with the true one in column 0.

    Raises:
        ValueError: unless the temperature is positive.
    """
    check_temperature("temperature", temperature)
    return -functional.log_softmax(similarities / temperature, 1)[:, 0]


def reward_weights(rewards: Tensor, *, largest: float) -> Tensor:
    """``r / max(r_click, r_buy)``, ``[P]``: a purchase pulls as much harder as it is worth more."""
    return rewards / largest


def top_one(similarities: Tensor) -> Tensor:
    """Whether the true candidate, column 0 of ``[P, 1 + N]``, is ahead of all others; bool ``[P]``."""
    return similarities[:, 0] > similarities[:, 1:].max(1).values


class RewardContrast(nn.Module):
    """Which of the candidates was rewarded in this state: ``z_j = cos(s P_R, e_j)``.

    Parameters
    ----------
    state_width, item_width : of states and of item vectors.
    """

    def __init__(self, state_width: int, item_width: int) -> None:
        super().__init__()
        self.projection = nn.Parameter(torch.empty(state_width, item_width))
        nn.init.xavier_uniform_(self.projection)

    def forward(self, states: Tensor, candidates: Tensor) -> Tensor:
        """Similarities ``[P, 1 + N]`` of states ``[P, w]`` and item vectors ``[P, 1 + N, d]``."""
        return functional.cosine_similarity((states @ self.projection)[:, None], candidates, dim=2)


class TransitionContrast(nn.Module):
    """Which of the candidates leads to the state that followed: ``u_j = cos(F([s ; e_j]), sg[s'])``.

    ``F(x) = relu(x W1 + b1) W2 + b2``. Only the prediction learns; the state that followed is a fixed target.

    Parameters
    ----------
    state_width, item_width : of states and of item vectors.
    """

    def __init__(self, state_width: int, item_width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(state_width + item_width, item_width)
        self.output = nn.Linear(item_width, state_width)

    def predict(self, states: Tensor, candidates: Tensor) -> Tensor:
        """Next states ``[P, 1 + N, w]`` of states ``[P, w]`` and item vectors ``[P, 1 + N, d]``."""
        width = states.shape[1]
        # [s ; e] W1 = s W1[:w] + e W1[w:]: the state's half is computed once for all its candidates
        from_state = functional.linear(states, self.hidden.weight[:, :width], self.hidden.bias)
        from_item = functional.linear(candidates, self.hidden.weight[:, width:])
        predicted: Tensor = self.output(functional.relu(from_state[:, None] + from_item))
        return predicted

    def forward(
        self, states: Tensor, candidates: Tensor, next_states: Tensor, *, in_batch: bool = False
    ) -> Tensor:
        """Similarities ``[P, 1 + N]``.

        Args:
            states: ``[P, w]``.
            candidates: item vectors, ``[P, 1 + N, d]``.
            next_states: what followed, ``[P, w]``.
            in_batch: the next states of all other transitions are further negatives of the prediction from
                the logged action: ``[P, N + P]`` in all.
        """
        predicted, reached = self.predict(states, candidates), next_states.detach()
        similarities = functional.cosine_similarity(predicted, reached[:, None], dim=2)  # [P, 1 + N]
        if not in_batch:
            return similarities
        from_taken, others = functional.normalize(predicted[:, 0]), functional.normalize(reached)
        crossed = from_taken @ others.T  # [P, P]
        own = torch.eye(len(crossed), dtype=torch.bool, device=crossed.device)
        return torch.cat([similarities, crossed.masked_fill(own, -torch.inf)], 1)  # [P, 1 + N + P]
