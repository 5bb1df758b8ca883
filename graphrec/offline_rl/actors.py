"""How much each logged action weighs in the loss of the policy head, -log softmax(y)[a].

One for SQN, SNQN and plain training; the value of the action for SAC (arXiv 2006.05779); for SA2C
(arXiv 2111.03474) its advantage over sampled negatives, corrected for how often it was shown. A weight
carries no gradient, and multiplies its own row before any mean is taken.

Letters: P transitions, N negatives.
"""

from __future__ import annotations

import torch
from torch import Tensor

Range = tuple[float, float]


def value_weight(values: Tensor) -> Tensor:
    """SAC: ``sg[Q(s, a)]``, ``[P]``."""
    return values.detach()


def advantage(values: Tensor, negative_values: Tensor) -> Tensor:
    """``Q(s, a)`` less the mean of it and the negatives' values, ``[P]``, without gradient.

    Args:
        values: Q(s, a), ``[P]``.
        negative_values: Q(s, b), ``[P, N]``.
    """
    around = torch.cat([values[:, None], negative_values], 1)  # [P, 1 + N]
    return (values - around.mean(1)).detach()


def inverse_propensity(logps: Tensor, behaviour: Tensor, *, clip: Range = (0.1, 10.0)) -> Tensor:
    """``softmax(y)[a] / behaviour(a)`` cut to ``clip``, ``[P]``, without gradient.

    Args:
        logps: log softmax(y)[a], ``[P]``.
        behaviour: probability with which the logged system showed the item, here its share of all events,
            ``[P]``.
        clip: smallest and largest ratio.
    """
    return (logps.detach().exp() / behaviour).clamp(*clip)


def advantage_weight(
    advantages: Tensor, propensity_ratios: Tensor, *, smooth: float = 0.0, clip: Range = (0.0, 10.0)
) -> Tensor:
    """SA2C: ``clip(A) ratio^smooth``, ``[P]``; ``smooth = 0`` switches the correction off."""
    return advantages.clamp(*clip) * propensity_ratios.pow(smooth)
