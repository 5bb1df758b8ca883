"""Losses of next-item prediction, as small functions of scores.

Letters: P trained positions, K negatives, I items. Each returns one value for each position, ``[P]``, unless
it says otherwise; which positions there are, and where negatives come from, is decided elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus


def binary_cross_entropy(positive: Tensor, negatives: Tensor) -> Tensor:
    """Mean over one positive ``[P]`` and K negatives ``[P, K]`` of the log loss (SASRec, ICDM 2018, with
    K = 1)."""
    total = softplus(-positive) + softplus(negatives).sum(-1)
    return total / (1 + negatives.shape[-1])


def gbce_beta(num_negatives: int, num_items: int, calibration: float) -> float:
    """Power on the positive's probability: gSASRec (arXiv 2308.07192), eq. 9; 1 at calibration 0.

    Args:
        num_negatives: K.
        num_items: I.
        calibration: t from 0, plain cross-entropy, to 1, scores as calibrated as a full softmax.
    """
    if not 0 <= calibration <= 1:
        raise ValueError(f"calibration is a share between 0 and 1, not {calibration}")
    if not 0 < num_negatives < num_items:
        raise ValueError(f"{num_negatives} negatives out of {num_items} items: give 1 to {num_items - 1}")
    rate = num_negatives / (num_items - 1)
    return rate * (calibration * (1 - 1 / rate) + 1 / rate)


def gbce(positive: Tensor, negatives: Tensor, beta: float) -> Tensor:
    """Binary cross-entropy with the positive's probability to the power ``beta`` (gSASRec, eq. 8).

    ``-beta log sigma(s)`` is what the transformed logit of the paper gives, computed without its powers.
    """
    total = -beta * logsigmoid(positive) + softplus(negatives).sum(-1)
    return total / (1 + negatives.shape[-1])


def gbce_logit(positive: Tensor, beta: float) -> Tensor:
    """The positive's logit whose probability is ``sigma(positive) ** beta``, in float64: ``[P]``."""
    log_probability = beta * logsigmoid(positive.double())
    return log_probability - torch.log(-torch.expm1(log_probability))


def sampled_softmax(positive: Tensor, negatives: Tensor, *, correction: Tensor | None = None) -> Tensor:
    """Cross-entropy of the positive ``[P]`` among itself and its negatives ``[P, K]``.

    Args:
        positive, negatives: scores; a negative that is the target itself has to be -inf.
        correction: log of how often each negative is expected in the sample, ``[K]``; subtracted from the
            negatives, so that the sum over them estimates the sum over the catalogue (logQ correction,
            Bengio & Senécal 2008; the positive is always there, so it is not corrected).
    """
    if correction is not None:
        negatives = negatives - correction
    return torch.logaddexp(positive, negatives.logsumexp(-1)) - positive


def info_nce(first: Tensor, second: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Contrast of two views of B sequences, ``[B, d]`` each: one value for each of the 2B views, ``[2B]``.

    The other view of a sequence is its positive, the 2B - 2 views of other sequences are its negatives
    (CL4SRec, arXiv 2010.14395, eq. 3).
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    views = torch.cat([first, second])  # [2B, d]
    scores = (views @ views.T / temperature).fill_diagonal_(-torch.inf)
    partners = torch.arange(len(views), device=views.device).roll(len(first))
    return torch.nn.functional.cross_entropy(scores, partners, reduction="none")
