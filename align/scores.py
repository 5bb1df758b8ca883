"""What a completion is worth: the number whose difference between chosen and rejected a pair loss reads."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from align.preferences import Preferences

Score = Literal["log_ratio", "log_prob", "log_odds"]
LARGEST_MEAN_LOGP = -1e-6  # odds of a probability of one are infinite


def completion_scores(batch: Preferences, score: Score, *, length_normalize: bool) -> Tensor:
    """Score of each completion, ``[B, 1 + K]`` in nats, without beta.

    ``log_ratio`` is L(policy) - L(reference), ``log_prob`` L(policy) alone, and ``log_odds`` the logarithm of
    the odds of the completion's geometric-mean token probability (ORPO). L is the sum, or the average with
    ``length_normalize``.
    """
    if score == "log_ratio":
        return batch.log_ratios(length_normalize=length_normalize)
    values = batch.sums(length_normalize=length_normalize)
    return log_odds(values) if score == "log_odds" else values


def log_odds(mean_logps: Tensor) -> Tensor:
    """``log(p / (1 - p))`` of p = exp(A), for average log-probabilities A; A is held at -1e-6 or below."""
    held = mean_logps.clamp(max=LARGEST_MEAN_LOGP)
    return held - log1mexp(held)


def log1mexp(values: Tensor) -> Tensor:
    """``log(1 - exp(v))`` for v < 0, exact near zero and far from it (Maechler 2012)."""
    near = values > -math.log(2.0)
    return torch.where(near, torch.log(-torch.expm1(values)), torch.log1p(-torch.exp(values)))


def example_gap(batch: Preferences, *, against_reference: bool, length_normalize: bool) -> Tensor:
    """The gap of each example ``[B]``, detached: chosen less the mean of its rejected completions.

    Of log-ratios where the loss reads a reference, of log-probabilities otherwise; statistics, selection and
    dynamic beta are all of this one number. It is zero where there is nothing to compare.
    """
    scores = completion_scores(
        batch, "log_ratio" if against_reference else "log_prob", length_normalize=length_normalize
    ).detach()
    rejected, counted = scores[:, 1:], batch.scored[:, 1:]
    mean = (rejected * counted).sum(1) / counted.sum(1).clamp(min=1)
    return torch.where(batch.usable, scores[:, 0] - mean, 0.0)
