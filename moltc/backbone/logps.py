"""Log-probabilities of labels without the full logit matrix.

Only the scored hidden states meet the language-model head, chunk by chunk. The forward pass keeps one
log-sum-exp per row; the backward pass makes each chunk's softmax again. Peak memory is one chunk of logits
whatever the vocabulary. Any loss of the log-probabilities may follow, also one that couples the whole batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint


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
    ) -> Tensor:
        out = hidden.new_empty(hidden.shape[0], dtype=_wide(hidden.dtype))
        lse = torch.empty_like(out)
        for start in range(0, hidden.shape[0], chunk):
            rows = slice(start, start + chunk)
            logits = _logits(hidden[rows], weight, bias, transform)
            lse[rows] = torch.logsumexp(logits, dim=-1)
            out[rows] = logits.gather(1, labels[rows, None]).squeeze(1) - lse[rows]
        ctx.save_for_backward(hidden, weight, bias, labels, lse)
        ctx.chunk, ctx.transform = chunk, transform
        return out

    @staticmethod
    @once_differentiable  # second derivatives would silently miss the log-sum-exp: they are an error
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        hidden, weight, bias, labels, lse = ctx.saved_tensors
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        d_hidden = torch.empty_like(hidden) if need_hidden else None
        d_weight = torch.zeros_like(weight, dtype=lse.dtype) if need_weight else None
        d_bias = torch.zeros_like(bias, dtype=lse.dtype) if need_bias else None
        for start in range(0, hidden.shape[0], ctx.chunk):
            rows = slice(start, start + ctx.chunk)
            logits = _logits(hidden[rows], weight, bias, ctx.transform)
            # d logp / d logits = onehot - softmax
            d_logits = torch.exp(logits - lse[rows, None]).mul_(-grad[rows, None])
            d_logits.scatter_add_(1, labels[rows, None], grad[rows, None])
            d_logits = ctx.transform.gradient(d_logits, logits)
            if d_bias is not None:
                d_bias += d_logits.sum(0)
            d_logits = d_logits.to(hidden.dtype)
            if d_hidden is not None:
                d_hidden[rows] = d_logits @ weight
            if d_weight is not None:
                d_weight += (d_logits.T @ hidden[rows]).to(lse.dtype)
        return (
            d_hidden,
            None if d_weight is None else d_weight.to(weight.dtype),
            None if d_bias is None else d_bias.to(bias.dtype),
            None,
            None,
            None,
        )


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
    chunk : rows whose logits exist at one time.

    Returns
    -------
    float32 [P] (float64 for float64 inputs).
    """
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1 row, not {chunk}")
    device = hidden.device.type
    if torch.is_autocast_enabled(device):  # the casts are differentiable, the operator runs outside autocast
        dtype = torch.get_autocast_dtype(device)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    with torch.autocast(device, enabled=False):
        return _LabelLogps.apply(hidden, weight, bias, labels, chunk, transform or HeadTransform())


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
