"""Batch norm over two processes beside batch norm in one; each process runs :func:`compare_norms`."""

from __future__ import annotations

import torch
from torch import Tensor

from moltc.backbone.batch_norm import BatchNorm, counted, share_statistics
from moltc.backbone.processes import global_mean, holders


def compare_norms() -> int:
    """Seven rows in two processes; the last two are the first two again."""
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    rank_of_row = torch.tensor([0, 0, 1, 1, 1, 1, 1])
    ids = torch.tensor([4, 9, 7, 2, 5, 4, 9])[rank_of_row == rank]
    assert holders(ids).tolist() == ([2, 2] if rank == 0 else [1, 1, 1, 2, 2])
    assert global_mean(torch.tensor([])) is None
    assert float(global_mean(torch.ones(rank) * 6.0)) == 12.0 * rank  # one value in all, in process 1
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    factor = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    shares = torch.tensor([0.5, 0.5, 1.0, 1.0, 1.0, 0.5, 0.5])
    compare(rank_of_row == rank, shares, torch.cat([x, x[:2]]), factor)

    return 0


def compare(mine: Tensor, shares: Tensor, x: Tensor, factor: Tensor) -> None:
    """Batch norm of the rows ``mine`` (bool [7]) is, for them, batch norm of the five distinct rows."""
    norm, alone = BatchNorm(3).double(), BatchNorm(3).double()
    share_statistics(norm, True)
    part = x[mine].clone().requires_grad_()
    with counted(norm, shares[mine]):
        out = norm(part)
    global_mean((out * factor[mine]).sum(1)).backward()

    distinct = torch.tensor([0, 1, 2, 3, 4])  # rows 5 and 6 are rows 0 and 1 again, in the other process
    copies = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    whole = x[distinct].clone().requires_grad_()
    expected = alone(whole)
    (expected[copies] * factor).sum(1).mean().backward()
    torch.testing.assert_close(out, expected[copies][mine])
    torch.testing.assert_close(norm.running_mean, alone.running_mean)
    torch.testing.assert_close(norm.running_var, alone.running_var)
    for own, wanted in ((norm.weight.grad, alone.weight.grad), (norm.bias.grad, alone.bias.grad)):
        torch.distributed.all_reduce(own)
        torch.testing.assert_close(own / 2, wanted)  # data parallelism averages
    gradient = torch.zeros_like(whole).index_add(0, copies[mine], part.grad)
    torch.distributed.all_reduce(gradient)
    torch.testing.assert_close(gradient / 2, whole.grad)
