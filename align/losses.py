"""Preference losses as pure functions of completion log-probabilities.

A completion enters as its *sum* of token log-probabilities S(y) and its length n(y), the number of scored
tokens (EOS included); A(y) = S(y) / n(y) is its average. Every function returns one value per example, so
that a reduction, a selection or a weighting can be put on top: beta-DPO is :func:`dpo` at the beta of
:class:`align.policies.BatchBeta` on what :class:`align.selectors.GaussianSelector` keeps, and Dr. DPO is
:func:`align.reductions.soft_minimum` of :func:`dpo`. :func:`align.loss_config.build_loss` puts such
combinations together for training.

Shapes: B pairs. ``chosen``, ``rejected`` and their reference twins are sums ``[B]``; lengths are counts
``[B]``. Half precision is raised to float32; float64 stays float64. A length of zero counts as one, so that
an empty completion scores zero instead of 0 / 0: whoever builds the batch keeps such pairs out, or gives
them weight zero.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from align.gap_statistics import Spread
from align.kto import kto as kto
from align.kto import kto_reference_point as kto_reference_point
from align.margins import AdaptiveMargin, AlphaScale
from align.pair_losses import logistic, robust_logistic, softmax
from align.pair_losses import paired_kto as paired_kto
from align.policies import check_positive
from align.preferences import full_precision
from align.scores import log_odds

SftReduction = Literal["token_mean", "sequence_sum"]


def sft(
    logps: Tensor,
    lengths: Tensor,
    *,
    reduction: SftReduction = "token_mean",
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
    logps = full_precision(logps)
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
    beta: float | Tensor = 0.1,
    label_smoothing: float = 0.0,
    robust: bool = False,
    reference_free: bool = False,
    length_normalize: bool = False,
    chosen_lengths: Tensor | None = None,
    rejected_lengths: Tensor | None = None,
) -> Tensor:
    """Direct preference optimisation, ``-log sigmoid(beta g)`` for each pair ``[B]``.

    Rafailov et al. 2023 (arXiv 2305.18290), eq. 7, with g the log-ratio gap of :func:`log_ratio_gap`.
    ``label_smoothing`` in (0, 0.5] is conservative DPO: the probability that a pair's preference is flipped.
    With ``robust`` the loss is unbiased under such flips (arXiv 2403.00409, eq. 12).

    Args:
        chosen, rejected: policy sums, ``[B]``.
        ref_chosen, ref_rejected: reference sums, ``[B]``; may be left out with ``reference_free``.
        beta: strength of the pull towards the reference, > 0.
        label_smoothing: probability of a flipped pair, 0 to 0.5.
        robust: the unbiased form; label_smoothing must then be below 0.5.
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
    form = robust_logistic if robust else logistic
    return form(_positive("beta", beta) * gap, label_smoothing=label_smoothing)


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


def cpo(chosen: Tensor, rejected: Tensor, *, beta: float = 0.1, label_smoothing: float = 0.0) -> Tensor:
    """CPO's contrast, ``-log sigmoid(beta (S_chosen - S_rejected))`` for each pair ``[B]``; no reference.

    Xu et al. 2024 (arXiv 2401.08417), eq. 5. Its second term is :func:`sft` of the chosen completions.
    """
    margin = policy_margin(chosen, rejected)
    return logistic(_positive("beta", beta) * margin, label_smoothing=label_smoothing)


def orpo(
    chosen: Tensor, rejected: Tensor, chosen_lengths: Tensor, rejected_lengths: Tensor, *, beta: float = 0.1
) -> Tensor:
    """ORPO's contrast, ``-beta log sigmoid(log odds ratio)`` for each pair ``[B]``; no reference.

    Hong et al. 2024 (arXiv 2403.07691), eq. 7, with beta for the paper's lambda. The odds are those of the
    averages A; see :func:`align.scores.log_odds`. Its other term is :func:`sft` of the chosen completions.
    """
    chosen, rejected = _per_token(chosen, chosen_lengths), _per_token(rejected, rejected_lengths)
    return _positive("beta", beta) * logistic(log_odds(chosen) - log_odds(rejected))


def alpha_dpo(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    spread: Spread | None,
    *,
    beta: float = 10.0,
    alpha: float = 0.1,
    alpha_scale: AlphaScale = "code",
    gamma_beta_ratio: float | None = None,
    gamma: float | None = None,
    length_normalize: bool = True,
    chosen_lengths: Tensor | None = None,
    rejected_lengths: Tensor | None = None,
) -> Tensor:
    """Alpha-DPO, ``-log sigmoid(beta (m - c))`` for each pair ``[B]``, m the margin of the policy alone.

    Wu et al. 2024 (arXiv 2410.10148). The target c is ``gamma / beta + alpha z``, constant for the gradient,
    with z the gap to the reference in units of ``spread`` (None: no estimate yet, z = 0).

    Args:
        chosen, rejected, ref_chosen, ref_rejected: policy and reference sums, ``[B]``.
        spread: mean and deviation of the gaps; see :class:`align.gap_statistics.GapStatistics`.
        beta: reward scale, > 0.
        alpha, alpha_scale, gamma_beta_ratio, gamma: see :class:`align.margins.AdaptiveMargin`.
        length_normalize: averages per token instead of sums; needs both lengths.
        chosen_lengths, rejected_lengths: scored tokens, ``[B]``.
    """
    margin = AdaptiveMargin(alpha, alpha_scale, gamma_beta_ratio, gamma)
    pair, options = (chosen, rejected), _lengths(length_normalize, chosen_lengths, rejected_lengths)
    gap = log_ratio_gap(*pair, ref_chosen, ref_rejected, **options).detach()
    policy = log_ratio_gap(*pair, None, None, reference_free=True, **options)
    scale = policy.new_tensor(_positive("beta", beta))
    return logistic(scale * (policy - margin.offset(gap, spread, scale)))


def sdpo(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    *,
    beta: float = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    """Softmax-DPO, ``-log softmax(beta r)`` at the chosen completion, for each prompt ``[B]``.

    Chen et al. 2024 (arXiv 2406.09215), eq. 8, with log-ratios r. One rejected completion makes it DPO.

    Args:
        chosen, ref_chosen: policy and reference sums, ``[B]``.
        rejected, ref_rejected: ``[B, K]``.
        beta: > 0.
        mask: bool ``[B, K]``, which rejected completions exist; default all. A prompt without any has loss 0.
    """
    ratio = full_precision(chosen) - full_precision(ref_chosen)
    margins = ratio[:, None] - (full_precision(rejected) - full_precision(ref_rejected))
    if mask is not None:
        margins = margins.masked_fill(~mask, torch.inf)
    return softmax(_positive("beta", beta) * margins)


def sdpo_flat(logps: Tensor, ref_logps: Tensor, owner: Tensor, *, beta: float = 1.0) -> Tensor:
    """:func:`sdpo` of completions in one row, for each prompt ``[B]``.

    Args:
        logps, ref_logps: sums ``[C]``, prompt after prompt, the chosen completion first in each.
        owner: long ``[C]``, the prompt of each: 0, 0, 0, 1, 1, ...
        beta: > 0.

    Raises:
        ValueError: when owners do not count up from 0 without a gap.
    """
    steps = owner.diff(prepend=owner.new_tensor([-1]))
    if not ((steps == 0) | (steps == 1)).all() or (len(steps) and steps[0] != 1):
        raise ValueError("owner must count up from 0 without a gap; sort the completions by their prompt")
    rewards = _positive("beta", beta) * (full_precision(logps) - full_precision(ref_logps))
    first = steps.nonzero().squeeze(1)
    top = rewards.new_full((len(first),), -torch.inf).scatter_reduce(0, owner, rewards.detach(), "amax")
    total = torch.zeros_like(top).scatter_add(0, owner, torch.exp(rewards - top[owner]))
    return top + torch.log(total) - rewards[first]


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


def _lengths(length_normalize: bool, chosen: Tensor | None, rejected: Tensor | None) -> dict[str, Any]:
    return {
        "length_normalize": length_normalize,
        "chosen_lengths": chosen,
        "rejected_lengths": rejected,
    }


def _per_token(logps: Tensor, lengths: Tensor | None) -> Tensor:
    logps = full_precision(logps)
    return logps if lengths is None else logps / lengths.clamp(min=1)


def _positive(name: str, value: float | Tensor) -> float | Tensor:
    return value if isinstance(value, Tensor) else check_positive(name, value)
