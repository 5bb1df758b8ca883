"""Log-probabilities of labels without the full logit matrix.

Only the scored hidden states meet the language-model head, chunk by chunk, so that peak memory is one chunk
of logits whatever the vocabulary. Under a frozen head the forward pass keeps the derivative of each
log-probability with respect to its hidden state, [P, H], and the backward pass scales it. Under a trained
head the backward pass makes each chunk's softmax again. Any loss of the log-probabilities may follow, also
one that couples the whole batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

MOST_LOGITS = {"cpu": 2**23}
"""Logits that exist at one time, at most, by type of device: 32 MB in float32."""
MOST_LOGITS_ELSEWHERE = 2**27
"""The same of all other devices, whose matrix units need more rows at a time: 512 MB in float32."""


class HeadTransform(NamedTuple):
    """What an architecture does to its logits after the head: ``softcap * tanh(scale * z / softcap)``."""

    scale: float = 1.0
    softcap: float | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        if self.scale != 1.0:
            logits = logits * self.scale
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)

    def gradient(self, grad: Tensor, transformed: Tensor) -> Tensor:
        """Gradient with respect to the raw logits, from that with respect to the transformed ones."""
        if self.softcap is not None:
            grad = grad * (1.0 - (transformed / self.softcap) ** 2)
        return grad if self.scale == 1.0 else grad * self.scale


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Where sums are kept: float32, or float64 for float64 inputs."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, transform: HeadTransform) -> Tensor:
    wide = _wide(hidden.dtype)
    logits = (hidden @ weight.T).to(wide)
    if bias is not None:
        logits = logits + bias.to(wide)
    return transform(logits)


class _Softmax(NamedTuple):
    """Rows of logits after :meth:`of`, which leaves no second copy of them.

    Attributes
    ----------
    logps : [n] log-probability of each label.
    weights : [n, V] the softmax times ``total``, except for 0 at the label; stands where the logits stood.
    others, total : [n, 1] sum of ``weights``, and the same with the label's.
    """

    logps: Tensor
    weights: Tensor
    others: Tensor
    total: Tensor

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor) -> _Softmax:
        """Use up logits [n, V]; labels are long [n]."""
        top = logits.amax(-1, keepdim=True)
        own = logits.gather(1, labels[:, None]) - top
        weights = logits.sub_(top).exp_().scatter_(1, labels[:, None], 0.0)
        others = weights.sum(-1, keepdim=True)
        total = others + own.exp()
        return cls((own - total.log()).squeeze(1), weights, others, total)

    def slopes(self, labels: Tensor) -> Tensor:
        """onehot - softmax [n, V], the derivative of ``logps``; uses up ``weights``.

        At the label it is the share of all others, so that nothing cancels where the label is nearly certain.
        """
        return self.weights.scatter_(1, labels[:, None], -self.others).div_(-self.total)


def _scored(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    transform: HeadTransform,
    slopes: bool = True,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities [n], and with ``slopes`` their derivative [n, V] with respect to the raw logits."""
    logits = _logits(hidden, weight, bias, transform)
    transformed = logits.clone() if slopes and transform.softcap is not None else logits
    found = _Softmax.of(logits, labels)
    if not slopes:
        return found.logps, found.weights
    return found.logps, transform.gradient(found.slopes(labels), transformed)


class _LabelLogps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        chunk: int,
        transform: HeadTransform,
        keep_slopes: bool,
    ) -> Tensor:
        out = hidden.new_empty(hidden.shape[0], dtype=_wide(hidden.dtype))
        slopes = torch.empty_like(hidden) if keep_slopes else None  # d logp / d hidden
        for start in range(0, hidden.shape[0], chunk):
            rows = slice(start, start + chunk)
            out[rows], d_logits = _scored(hidden[rows], weight, bias, labels[rows], transform, keep_slopes)
            if slopes is not None:
                slopes[rows] = d_logits.to(hidden.dtype) @ weight
        ctx.save_for_backward(*([hidden, weight, bias, labels] if slopes is None else [slopes]))
        ctx.chunk, ctx.transform, ctx.keeps_slopes = chunk, transform, keep_slopes
        return out

    @staticmethod
    @once_differentiable  # second derivatives would silently be wrong: they are an error
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        if ctx.keeps_slopes:
            (slopes,) = ctx.saved_tensors
            return (slopes * grad[:, None]).to(slopes.dtype), None, None, None, None, None, None
        hidden, weight, bias, labels = ctx.saved_tensors
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        wide = _wide(hidden.dtype)
        d_hidden = torch.empty_like(hidden) if need_hidden else None
        d_weight = torch.zeros_like(weight, dtype=wide) if need_weight else None
        d_bias = torch.zeros_like(bias, dtype=wide) if need_bias else None
        for start in range(0, hidden.shape[0], ctx.chunk):
            rows = slice(start, start + ctx.chunk)
            _, d_logits = _scored(hidden[rows], weight, bias, labels[rows], ctx.transform, True)
            d_logits.mul_(grad[rows, None])
            if d_bias is not None:
                d_bias += d_logits.sum(0)
            d_logits = d_logits.to(hidden.dtype)
            if d_hidden is not None:
                d_hidden[rows] = d_logits @ weight
            if d_weight is not None:
                d_weight += (d_logits.T @ hidden[rows]).to(wide)
        return (
            d_hidden,
            None if d_weight is None else d_weight.to(weight.dtype),
            None if d_bias is None else d_bias.to(bias.dtype),
            None,
            None,
            None,
            None,
        )


def _rows(chunk: int, vocabulary: int, device: torch.device) -> int:
    """Rows of a chunk: as asked for, or fewer under a large vocabulary."""
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1 row, not {chunk}")
    return max(1, min(chunk, MOST_LOGITS.get(device.type, MOST_LOGITS_ELSEWHERE) // vocabulary))


def label_logps(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    bias: Tensor | None = None,
    transform: HeadTransform | None = None,
    chunk: int = 1024,
) -> Tensor:
    """Log-probability of each label under a linear head.

    Parameters
    ----------
    hidden : [P, H], any float dtype.
    weight, bias : [V, H] and [V] or None; gradients flow to both, accumulated in float32.
    labels : long [P], in [0, V).
    transform : what follows the linear map; default nothing.
    chunk : rows whose logits exist at one time; fewer where they would be more than :data:`MOST_LOGITS`.

    Returns
    -------
    float32 [P] (float64 for float64 inputs).
    """
    rows = _rows(chunk, weight.shape[0], hidden.device)
    device = hidden.device.type
    if torch.is_autocast_enabled(device):  # the casts are differentiable, the operator runs outside autocast
        dtype = torch.get_autocast_dtype(device)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    trained = weight.requires_grad or (bias is not None and bias.requires_grad)
    slopes = torch.is_grad_enabled() and hidden.requires_grad and not trained
    with torch.autocast(device, enabled=False):
        return _LabelLogps.apply(hidden, weight, bias, labels, rows, transform or HeadTransform(), slopes)


def is_plain_linear(head: nn.Module) -> bool:
    """Whether a head is one linear map whose whole weight is at hand: not adapted, quantised or sharded."""
    if type(head) is not nn.Linear or "forward" in vars(head):
        return False
    return type(head.weight) is nn.Parameter and head.weight.ndim == 2


def module_label_logps(
    hidden: Tensor,
    head: nn.Module,
    labels: Tensor,
    *,
    transform: HeadTransform | None = None,
    chunk: int = 1024,
) -> Tensor:
    """:func:`label_logps` for a head that is more than a linear map (adapted, quantised, sharded).

    Each chunk runs the head's own forward under activation checkpointing, so whatever gradients the head
    defines are kept.

    Parameters
    ----------
    hidden : [P, H].
    head : maps [n, H] to logits [n, V].
    labels, transform, chunk : as in :func:`label_logps`.

    Returns
    -------
    float32 [P] (float64 for float64 inputs).
    """
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1 row, not {chunk}")
    after = transform or HeadTransform()

    def run(rows: Tensor, targets: Tensor) -> Tensor:
        logits = after(head(rows).to(_wide(rows.dtype)))
        return logits.gather(1, targets[:, None]).squeeze(1) - torch.logsumexp(logits, dim=-1)

    parts = []
    for start in range(0, hidden.shape[0], chunk):
        rows, targets = hidden[start : start + chunk], labels[start : start + chunk]
        if torch.is_grad_enabled():
            parts.append(checkpoint(run, rows, targets, use_reentrant=False))
        else:
            parts.append(run(rows, targets))
    return torch.cat(parts) if parts else hidden.new_zeros(0, dtype=_wide(hidden.dtype))
