"""Fitted Q evaluation (Le, Voloshin & Yue, ICML 2019): what a policy's sessions would be worth from here on.

Q of the policy is regressed on ``r + gamma E Q(s', a')`` with a' drawn from the policy, over and over. It is
linear in the features of state and action here, so that every regression is exact and quick.

Letters: B logged events, F features, d width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graphrec.offline_rl.off_policy import session_groups
from graphrec.offline_rl.values import check_discount
from moltc.bootstrap import Bootstrap, Metric

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

ROUNDS = 200
TOLERANCE = 1e-9


def features(states: Floats, vectors: Floats) -> Floats:
    """``[1, s, e, s * e]``, ``[B, 1 + 3 d]``, of states and item vectors ``[B, d]`` each.

    They are linear in e, so that the features of a policy's mean item vector are the mean of its features.
    """
    return np.concatenate([np.ones((len(states), 1)), states, vectors, states * vectors], axis=1)


def fitted_q(
    taken: Floats,
    next_mean: Floats,
    rewards: Floats,
    done: Mask,
    *,
    gamma: float,
    ridge: float = 1.0,
    weights: Floats | None = None,
) -> Floats:
    """Coefficients of Q, ``[F]``.

    Args:
        taken: features of the logged states and actions, ``[B, F]``.
        next_mean: mean features of the next state under the policy, ``[B, F]``; not read where ``done``.
        rewards: ``[B]``.
        done: whether the session ends with the event, ``[B]``.
        gamma: discount.
        ridge: penalty on the squared coefficients.
        weights: how often each event counts, ``[B]``; default once.

    Raises:
        ValueError: the regressions move apart instead of together.
    """
    check_discount(gamma)
    weighted = taken if weights is None else taken * weights[:, None]
    gram = weighted.T @ taken + ridge * np.eye(taken.shape[1])
    carried = weighted.T @ np.where(done[:, None], 0.0, next_mean)  # [F, F]
    inverse = np.linalg.inv(gram)
    earned, bootstrapped = inverse @ (weighted.T @ rewards), gamma * inverse @ carried
    coefficients = earned
    for _ in range(ROUNDS):
        updated = earned + bootstrapped @ coefficients
        moved = np.abs(updated - coefficients).max()
        coefficients = updated
        if moved <= TOLERANCE * (1 + np.abs(coefficients).max()):
            return coefficients
    raise ValueError(
        f"fitted Q evaluation has not settled after {ROUNDS} rounds (last change {moved:.2g}): raise ridge, "
        "or lower gamma"
    )


def fitted_q_evaluation(
    taken: Floats,
    mean: Floats,
    following: Integers,
    rewards: Floats,
    *,
    gamma: float,
    ridge: float = 1.0,
    sessions: Integers | None = None,
    bootstrap: Bootstrap | None = None,
) -> Metric:
    """Mean over logged states of the discounted reward, were the policy to choose from there on.

    Args:
        taken: features of the logged states and actions, ``[B, F]``.
        mean: mean features of the logged states under the policy, ``[B, F]``.
        following: event that followed in the session, ``[B]``; -1 where it ended.
        rewards: ``[B]``.
        gamma: discount.
        ridge: see :func:`fitted_q`.
        sessions: session of each event, ``[B]``; the interval refits on resampled sessions. Default: events.
        bootstrap: how the interval is drawn; default: 95 % from 100 resamples, seed 0.
    """
    done = following < 0
    next_mean = mean[np.where(done, 0, following)]
    groups = session_groups(sessions, len(rewards))

    def statistic(drawn: Floats) -> dict[str, Floats]:
        values = []
        for weights in drawn[:, groups]:  # one regression for each resample
            fit = fitted_q(taken, next_mean, rewards, done, gamma=gamma, ridge=ridge, weights=weights)
            values.append(weights @ (mean @ fit) / weights.sum())
        return {"value": np.array(values)}

    chosen = bootstrap or Bootstrap(resamples=100)
    return chosen.estimate(statistic, int(groups.max()) + 1)["value"]
