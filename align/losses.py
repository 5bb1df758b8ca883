"""Preference losses as pure functions of completion log-probabilities.

A completion enters as its *sum* of token log-probabilities S(y) and its length n(y), the number of scored
tokens (EOS included); A(y) = S(y) / n(y) is its average. Every pair loss returns one value per pair, so that
a reduction, a selection or a weighting can be put on top. Nothing here knows a model, a batch layout or a
device.

Shapes: B pairs. ``chosen``, ``rejected`` and their reference twins are sums ``[B]``; lengths are counts
``[B]``. Half precision is raised to float32; float64 stays float64. A length of zero counts as one, so that
an empty completion scores zero instead of 0 / 0: whoever builds the batch keeps such pairs out, or gives
them weight zero.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Reduction = Literal["token_mean", "sequence_sum"]


def sft(
    logps: Tensor,
    lengths: Tensor,
    *,
    reduction: Reduction = "token_mean",
    total_tokens: Tensor | int | None = None,
) -> Tensor:
    """Negative log-likelihood of the target completions, as one number.

    ``token_mean`` divides by the number of scored tokens; ``sequence_sum`` is the mean over completions of
    -S(y).

    Args:
        logps: sums of token log-probabilities, ``[C]``.
        lengths: scored tokens of each completion, ``[C]``.
        reduction: what one unit of the mean is, a token or a completion.
        total_tokens: tokens of the whole optimiser batch, where ``logps`` is only a part of it (several
            ranks, gradient accumulation); the parts' losses then add up to the token mean of the whole.
            Default: the tokens given.

    Raises:
        ValueError: for an unknown reduction, or ``total_tokens`` with ``sequence_sum``, which has no use for
            it.
    """
    logps = _full_precision(logps)
    if reduction == "sequence_sum":
        if total_tokens is not None:
            raise ValueError(
                "total_tokens belongs to reduction='token_mean'; leave it out for 'sequence_sum'"
            )
        return -logps.mean()
    if reduction == "token_mean":
        tokens = lengths.sum() if total_tokens is None else torch.as_tensor(total_tokens, device=logps.device)
        return -logps.sum() / tokens.clamp(min=1)
    raise ValueError(f"reduction={reduction!r} is not known; choose 'token_mean' or 'sequence_sum'")


def dpo(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor | None = None,
    ref_rejected: Tensor | None = None,
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
    reference_free: bool = False,
    length_normalize: bool = False,
    chosen_lengths: Tensor | None = None,
    rejected_lengths: Tensor | None = None,
) -> Tensor:
    """Direct preference optimisation, ``-log sigmoid(beta g)`` for each pair ``[B]``.

    Rafailov et al. 2023 (arXiv 2305.18290), eq. 7, with g the log-ratio gap of :func:`log_ratio_gap`.
    ``label_smoothing`` in (0, 0.5] is conservative DPO: the probability that a pair's preference is flipped.

    Args:
        chosen, rejected: policy sums, ``[B]``.
        ref_chosen, ref_rejected: reference sums, ``[B]``; may be left out with ``reference_free``.
        beta: strength of the pull towards the reference, > 0.
        label_smoothing: probability of a flipped pair, 0 to 0.5.
        reference_free: take the reference margin as zero.
        length_normalize: averages per token instead of sums; needs both lengths (and a beta of 2 to 10).
        chosen_lengths, rejected_lengths: scored tokens, ``[B]``.
    """
    gap = log_ratio_gap(
        chosen,
        rejected,
        ref_chosen,
        ref_rejected,
        reference_free=reference_free,
        length_normalize=length_normalize,
        chosen_lengths=chosen_lengths,
        rejected_lengths=rejected_lengths,
    )
    return logistic(_positive("beta", beta) * gap, label_smoothing=label_smoothing)


def ipo(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    *,
    beta: float = 0.1,
    length_normalize: bool = True,
    chosen_lengths: Tensor | None = None,
    rejected_lengths: Tensor | None = None,
) -> Tensor:
    """Identity preference optimisation, ``(g - 1 / (2 beta))^2`` for each pair ``[B]``.

    Azar et al. 2023 (arXiv 2310.12036), eq. 17, with beta for the paper's tau. The paper writes
    log-probabilities of whole sequences; its authors' own form divides each by its length, which is the
    default here.

    Args:
        chosen, rejected, ref_chosen, ref_rejected: policy and reference sums, ``[B]``.
        beta: > 0; the gap is drawn towards 1 / (2 beta).
        length_normalize: averages per token instead of sums; needs both lengths.
        chosen_lengths, rejected_lengths: scored tokens, ``[B]``.
    """
    gap = log_ratio_gap(
        chosen,
        rejected,
        ref_chosen,
        ref_rejected,
        length_normalize=length_normalize,
        chosen_lengths=chosen_lengths,
        rejected_lengths=rejected_lengths,
    )
    return (gap - 1 / (2 * _positive("beta", beta))).square()


def simpo(
    chosen: Tensor,
    rejected: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    beta: float = 2.0,
    gamma_beta_ratio: float | None = None,
    gamma: float | None = None,
    label_smoothing: float = 0.0,
    hinge: bool = False,
) -> Tensor:
    """SimPO, ``-log sigmoid(beta (A_chosen - A_rejected) - gamma)`` for each pair ``[B]``; no reference.

    Meng et al. 2024 (arXiv 2405.14734), eq. 6. The target margin is given either as gamma, as in the paper,
    or as the ratio gamma / beta, as in its published configurations: exactly one of the two.

    Args:
        chosen, rejected: policy sums, ``[B]``; they are divided by the lengths here.
        chosen_lengths, rejected_lengths: scored tokens, ``[B]``.
        beta: reward scale, > 0.
        gamma_beta_ratio: target margin in units of the average log-probability.
        gamma: target margin of the reward.
        label_smoothing: probability of a flipped pair, 0 to 0.5.
        hinge: ``relu(1 - u)`` in place of the logistic; label smoothing has no meaning there.
    """
    if gamma is None and gamma_beta_ratio is not None:
        gamma = beta * gamma_beta_ratio
    elif gamma is None or gamma_beta_ratio is not None:
        raise ValueError(
            f"give the target margin once: gamma_beta_ratio or gamma, not {gamma_beta_ratio} and {gamma}"
        )
    margin = policy_margin(chosen, rejected, chosen_lengths, rejected_lengths)
    argument = _positive("beta", beta) * margin - gamma
    if hinge:
        if label_smoothing:
            raise ValueError("label_smoothing has no meaning with hinge=True; set one of them only")
        return functional.relu(1 - argument)
    return logistic(argument, label_smoothing=label_smoothing)


def logistic(argument: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """``-(1 - eps) log sigmoid(u) - eps log sigmoid(-u)``, elementwise, exact for any finite u.

    Raises:
        ValueError: when ``label_smoothing`` is outside 0 to 0.5.
    """
    if not 0 <= label_smoothing <= 0.5:
        raise ValueError(
            f"label_smoothing={label_smoothing} is a flip probability; give a number from 0 to 0.5"
        )
    loss = -functional.logsigmoid(argument)
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * functional.logsigmoid(-argument)
    return loss


def log_ratio_gap(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor | None,
    ref_rejected: Tensor | None,
    *,
    reference_free: bool = False,
    length_normalize: bool = False,
    chosen_lengths: Tensor | None = None,
    rejected_lengths: Tensor | None = None,
) -> Tensor:
    """The policy's margin between chosen and rejected less the reference's, ``[B]`` in nats, without beta.

    Raises:
        ValueError: when the reference sums, or the lengths that ``length_normalize`` divides by, are missing.
    """
    lengths = (chosen_lengths, rejected_lengths) if length_normalize else (None, None)
    if length_normalize and (chosen_lengths is None or rejected_lengths is None):
        raise ValueError(
            "length_normalize=True divides by the lengths: give chosen_lengths and rejected_lengths"
        )
    margin = policy_margin(chosen, rejected, *lengths)
    if reference_free:
        return margin
    if ref_chosen is None or ref_rejected is None:
        raise ValueError(
            "give ref_chosen and ref_rejected, or set reference_free=True where the loss offers it"
        )
    return margin - policy_margin(ref_chosen, ref_rejected, *lengths)


def policy_margin(
    chosen: Tensor,
    rejected: Tensor,
    chosen_lengths: Tensor | None = None,
    rejected_lengths: Tensor | None = None,
) -> Tensor:
    """Chosen less rejected ``[B]``: of the sums, or of the averages where lengths are given."""
    return _per_token(chosen, chosen_lengths) - _per_token(rejected, rejected_lengths)


def _per_token(logps: Tensor, lengths: Tensor | None) -> Tensor:
    logps = _full_precision(logps)
    return logps if lengths is None else logps / lengths.clamp(min=1)


def _full_precision(logps: Tensor) -> Tensor:
    return logps.float() if logps.dtype in (torch.float16, torch.bfloat16) else logps


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"{name}={value} must be above zero")
    return value
