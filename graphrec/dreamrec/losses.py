"""What DreamRec is trained on, and the terms that later work adds: small functions of vectors.

Letters: B rows, d width. Each gives one number, the mean over rows.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid, mse_loss


def reconstruction(predicted: Tensor, x0: Tensor) -> Tensor:
    """Mean squared error over rows and features of ``x̂0`` and ``x0`` ``[B, d]``: DreamRec, equation 8."""
    return mse_loss(predicted, x0)


def preference(
    predicted: Tensor, x0: Tensor, predicted_negative: Tensor, negative: Tensor, *, scale: float = 1.0
) -> Tensor:
    """Targets should be rebuilt better than items nobody chose (PreferDiff, ICLR 2025).

    ``-log σ(-scale (|x̂0 - x0|² - |x̂0' - x0'|²))``, where ``x0'`` is the mean of some negatives. All are
    ``[B, d]``, and squared errors are means over features.
    """
    chosen = (predicted - x0).square().mean(1)
    rejected = (predicted_negative - negative).square().mean(1)
    return -logsigmoid(scale * (rejected - chosen)).mean()


def consistency(predicted: Tensor, predicted_before: Tensor, has_before: Tensor) -> Tensor:
    """Neighbouring steps should predict the same (TA-Rec, NeurIPS 2025): what lets one step do for all.

    Args:
        predicted: from ``x_t``, ``[B, d]``.
        predicted_before: from ``x_{t-1}`` of the same noise, ``[B, d]``.
        has_before: which rows have t > 0, ``[B]``; the others count as 0.
    """
    gap = (predicted - predicted_before).square().mean(1)
    return (gap * has_before).mean()
