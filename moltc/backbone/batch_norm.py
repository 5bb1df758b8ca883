"""Batch normalisation over rows, in one process or over the rows of several.

With several processes the statistics are those of the whole global batch (Ioffe and Szegedy 2015, eqs. 1 to
4, with the sums over processes), on any device, and gradients flow through them. A molecule that several
processes encode counts once: each of them gives its rows a share of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moltc.backbone.processes import sum_over_processes


class BatchNorm(nn.BatchNorm1d):
    """Batch norm over rows; a training batch of a single row uses the running statistics.

    Attributes
    ----------
    shared : statistics over the rows of all processes, see :func:`share_statistics`.
    row_shares : [n], how much each row counts, see :func:`counted`; None: 1.
    """

    shared = False
    row_shares: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        """[n, features] -> [n, features]."""
        if self.training and self.shared:
            return self._over_processes(input)
        if self.training and input.shape[0] < 2:
            return self._as_in_evaluation(input)
        return super().forward(input)

    def _as_in_evaluation(self, input: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        return F.batch_norm(input, mean, var, self.weight, self.bias, training=False, eps=self.eps)

    def _over_processes(self, input: Tensor) -> Tensor:
        x = input.float() if input.dtype.itemsize < 4 else input
        shares = x.new_ones(len(x)) if self.row_shares is None else self.row_shares.to(x.dtype)
        sums = sum_over_processes(torch.cat([shares @ x, shares.sum()[None]]))  # [features + 1]
        count = sums[-1].detach()
        if count < 1.5:  # shares add up to whole rows
            return self._as_in_evaluation(input)
        mean = sums[:-1] / count
        centred = x - mean
        var = sum_over_processes(shares @ centred**2) / count
        self._track(mean.detach(), var.detach() * count / (count - 1))
        normed = centred * torch.rsqrt(var + self.eps) * self.weight + self.bias
        return normed.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor) -> None:
        """Move the running statistics [features] towards those of a batch."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.momentum is not None and self.num_batches_tracked is not None
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(var.to(self.running_var.dtype), self.momentum)
        self.num_batches_tracked += 1


def _norms(module: nn.Module) -> list[BatchNorm]:
    return [part for part in module.modules() if isinstance(part, BatchNorm)]


def share_statistics(module: nn.Module, shared: bool) -> None:
    """Let the batch norms of a module use the rows of all processes, or each process its own.

    Shared statistics need every process to run the module's parts equally often and in the same order.
    """
    for norm in _norms(module):
        norm.shared = shared


@contextmanager
def counted(module: nn.Module, shares: Tensor | None) -> Iterator[None]:
    """Within the block, row i of what enters the batch norms of ``module`` counts ``shares[i]`` (float [n])
    times; None: once."""
    norms = _norms(module) if shares is not None else []
    for norm in norms:
        norm.row_shares = shares
    try:
        yield
    finally:
        for norm in norms:
            norm.row_shares = None
