"""Losses of the action values Q(s, a): temporal difference, negatives, and the conservative penalty.

Double Q-learning (arXiv 1509.06461) as used by SQN (arXiv 2006.05779) and SNQN (arXiv 2111.03474), and the
discrete form of CQL (arXiv 2006.04779). Every function gives one value per transition.

Letters: P transitions, N negatives, I items.
"""

from __future__ import annotations

import torch
from torch import Tensor


def double_q(target: Tensor, selector: Tensor) -> Tensor:
    """``Q_target(s, argmax_a Q_selector(s, a))`` ``[P]``, without gradient, of two tables ``[P, I]``."""
    best = selector.argmax(1, keepdim=True)
    return target.gather(1, best)[:, 0].detach()


def td_target(rewards: Tensor, done: Tensor, next_values: Tensor, *, gamma: float) -> Tensor:
    """``r + gamma (1 - done) V(s')``, ``[P]``, without gradient.

    Args:
        rewards: ``[P]``.
        done: whether the session ends with this event; what lies behind it is worth nothing. bool ``[P]``.
        next_values: V(s'), from :func:`double_q` or the value of the action that was logged, ``[P]``.
        gamma: discount, from 0 up to, not including, 1.

    Raises:
        ValueError: for another ``gamma``.
    """
    check_discount(gamma)
    return (rewards + gamma * torch.where(done, 0.0, next_values)).detach()


def td_loss(values: Tensor, targets: Tensor) -> Tensor:
    """``0.5 (target - Q(s, a))^2``, elementwise."""
    return 0.5 * (targets - values).square()


def negative_td_loss(values: Tensor, state_values: Tensor, *, gamma: float, reward: float = 0.0) -> Tensor:
    """Loss of actions that were not taken, summed over the negatives ``[P]`` (SNQN, eq. 5).

    A negative changes nothing, so that the state after it is the state before it, also where a session ends.

    Args:
        values: Q(s, b) of the negatives, ``[P, N]``.
        state_values: V(s) from :func:`double_q` at the state itself, ``[P]``.
        gamma: discount.
        reward: what a negative is worth.
    """
    stays = torch.zeros_like(state_values, dtype=torch.bool)
    targets = td_target(torch.full_like(state_values, reward), stays, state_values, gamma=gamma)
    return td_loss(values, targets[:, None]).sum(1)


def conservative_penalty(values: Tensor, taken: Tensor, *, temperature: float = 1.0) -> Tensor:
    """``T log sum_i exp(Q(s, i) / T) - Q(s, a)``, ``[P]``: how far other actions stand above the logged one.

    Args:
        values: Q of all items, ``[P, I]``, or of the taken action and its negatives only, ``[P, 1 + N]``.
        taken: Q(s, a), ``[P]``.
        temperature: T > 0; towards 0 the sum becomes the largest value.

    Raises:
        ValueError: for another ``temperature``.
    """
    check_temperature("temperature", temperature)
    return temperature * torch.logsumexp(values / temperature, 1) - taken


def check_discount(gamma: float) -> None:
    """Raise a ValueError unless the discount is at least 0 and below 1."""
    if not 0 <= gamma < 1:
        raise ValueError(f"gamma={gamma} is a discount; give a number from 0 up to, not including, 1")


def check_temperature(name: str, value: float) -> None:
    """Raise a ValueError unless a temperature is a positive number."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{name}={value} must be a finite number above 0")
