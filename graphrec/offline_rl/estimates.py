"""How off-policy estimates are made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EstimateOptions:
    """Options of :func:`graphrec.offline_rl.report.report`.

    Attributes:
        click_reward, purchase_reward: what events are worth.
        gamma: discount of fitted Q evaluation.
        temperature: of the policies' softmax.
        clip: largest importance weight.
        ridge: of the regressions.
        resamples: of the intervals of ranking metrics and importance sampling.
        refits: of those of fitted Q evaluation, each a regression.
        seed: of the resamples.
    """

    click_reward: float = 0.2
    purchase_reward: float = 1.0
    gamma: float = 0.5
    temperature: float = 1.0
    clip: float = 100.0
    ridge: float = 1.0
    resamples: int = 1000
    refits: int = 50
    seed: int = 0
