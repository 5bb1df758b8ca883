"""What a policy would have collected, from events that another one was shown.

Self-normalised importance sampling (Swaminathan & Joachims, NeurIPS 2015): the mean reward of the next event,
each logged event weighted by how much likelier the policy would have brought it about.

Letters: B logged events.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from moltc.bootstrap import Bootstrap, Metric

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Snips(NamedTuple):
    """An estimate and how much it rests on.

    Attributes
    ----------
    value : mean reward of the next event, with its interval over sessions.
    effective : size of an unweighted sample of the same precision, (sum w)^2 / sum w^2.
    clipped : share of the events whose weight was cut.
    """

    value: Metric
    effective: float
    clipped: float


def snips(
    rewards: Floats,
    target: Floats,
    behaviour: Floats,
    *,
    clip: float = 100.0,
    sessions: Integers | None = None,
    bootstrap: Bootstrap | None = None,
) -> Snips:
    """``sum w r / sum w`` with ``w = min(target / behaviour, clip)``.

    Args:
        rewards: ``[B]``.
        target: probability of each logged item under the policy in question, ``[B]``.
        behaviour: the same under the policy that was logged, or a model of it, ``[B]``, > 0.
        clip: largest weight; it trades variance for bias.
        sessions: session of each event, ``[B]``; intervals then resample sessions. Default: events.
        bootstrap: how intervals are drawn; default: 95 % from 1000 resamples, seed 0.

    Raises:
        ValueError: for a behaviour that is not positive, or a policy that never shows what was logged.
    """
    if not (behaviour > 0).all():
        place = int(np.flatnonzero(~(behaviour > 0))[0])
        raise ValueError(
            f"event {place} has probability {behaviour[place]} under the logged policy, which cannot be "
            "divided by; smooth it"
        )
    if clip <= 0:
        raise ValueError(f"clip={clip} is no largest weight; give a number above 0")
    ratios = target / behaviour
    weights = np.minimum(ratios, clip)
    if not weights.sum() > 0:
        raise ValueError("the policy never shows any logged item: nothing can be estimated from this log")
    groups = session_groups(sessions, len(rewards))
    earned, shown = (np.bincount(groups, weights=values) for values in (weights * rewards, weights))

    def statistic(drawn: Floats) -> dict[str, Floats]:
        with np.errstate(invalid="ignore"):  # no session of weight drawn: undefined
            return {"value": (drawn @ earned) / (drawn @ shown)}

    value = (bootstrap or Bootstrap()).estimate(statistic, len(earned))["value"]
    effective = float(weights.sum() ** 2 / np.square(weights).sum())
    return Snips(value, effective, float((ratios > clip).mean()))


def session_groups(sessions: Integers | None, count: int) -> Integers:
    """Sessions numbered from 0 without gaps, ``[B]``; each event for itself where there are none."""
    if sessions is None:
        return np.arange(count)
    return np.unique(sessions, return_inverse=True)[1]
