"""What a test says of a trained model: held-out numbers with bootstrap intervals over examples."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from align.objective import LossOutput
from moltc.backbone.bootstrap import Bootstrap, Floats, Metric, mean_statistic


def held_out_results(output: LossOutput, *, seed: int = 0, resamples: int = 2000) -> dict[str, Metric]:
    """Means over the examples of a split, each with its interval.

    ``rewards/accuracies`` is the share of examples whose chosen reward exceeds all rejected ones (ties count
    as wrong), at the rewards of the method; ``log_ratio/accuracies`` the same by the change of the
    log-probability against the reference, whatever the method, where there is a reference.

    Args:
        output: evaluation of the loss on the whole split.
        seed: of the resamples.
        resamples: how many.
    """
    return Bootstrap(seed, resamples).estimate(mean_statistic(_columns(output)), _count(output))


def _rows(output: LossOutput) -> Tensor:
    """Examples that count, bool [N]."""
    batch = output.batch
    compares = output.rejected_rewards is not None and batch.desirable is None
    return batch.usable if compares else batch.scored[:, 0]


def _count(output: LossOutput) -> int:
    return int(_rows(output).sum())


def _columns(output: LossOutput) -> dict[str, Floats]:
    """One number per example that counts, by name."""
    batch, rows = output.batch, _rows(output)
    chosen = batch.sums()[:, 0]
    columns = {
        "loss/per_example": output.per_example[rows],
        "logps/chosen_per_token": (chosen / batch.lengths[:, 0].clamp(min=1))[rows],
    }
    if output.chosen_rewards is None or output.rejected_rewards is None:
        return _plain(columns)
    if batch.desirable is not None:
        ratios = batch.log_ratios()[:, 0]
        agrees = (ratios > 0) == batch.desirable
        return _plain(columns | {"log_ratio/sign_agrees": agrees[rows].float()})
    margin = output.chosen_rewards - _largest(output.rejected_rewards, batch.scored[:, 1:])
    columns["rewards/margins"] = margin[rows]
    columns["rewards/accuracies"] = (margin > 0)[rows].float()
    if batch.reference is not None:
        ratios = batch.log_ratios()
        ahead = ratios[:, 0] > _largest(ratios[:, 1:], batch.scored[:, 1:])
        columns["log_ratio/accuracies"] = ahead[rows].float()
    return _plain(columns)


def _largest(values: Tensor, exists: Tensor) -> Tensor:
    return values.masked_fill(~exists, -torch.inf).amax(1)


def _plain(columns: dict[str, Tensor]) -> dict[str, Floats]:
    return {name: column.double().cpu().numpy().astype(np.float64) for name, column in columns.items()}
