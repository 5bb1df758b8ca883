"""Numbers to log of each batch, under the names that TRL uses.

Each is a sum and a count, so that adding those of micro-batches and processes gives the mean over all rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from align.objective import LossOutput
from align.preferences import Preferences


@dataclass(frozen=True)
class Mean:
    """A mean in the making: ``total`` over ``count`` values, both scalars; no value counts as zero."""

    total: Tensor
    count: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Mean:
        """Of a vector."""
        values = values.detach()
        return cls(values.sum(), values.new_tensor(values.numel()))

    def __add__(self, other: Mean) -> Mean:
        return Mean(self.total + other.total, self.count + other.count)

    def value(self) -> float:
        """The mean; NaN of no values."""
        return float(self.total / self.count)


@torch.no_grad()
def preference_metrics(output: LossOutput) -> dict[str, Mean]:
    """Metrics of one evaluation of a loss, by name.

    Of all rows that can be compared, selected or not; of unpaired data the desirable completions are the
    chosen and the undesirable the rejected ones. All log-probabilities are sums in nats, those named
    ``per_token`` divided by each completion's own length. Rewards are those at the beta of the settings.

    ``loss/per_example`` is the mean before selection and reduction; ``kl`` is the mean log-ratio to the
    reference; ``rewards/accuracies`` counts rows whose chosen reward exceeds all rejected ones. With several
    rejected completions, ``rewards/margins`` counts each of them, ``rewards/least_margins`` the hardest, and
    ``rewards/chosen_mass`` is the softmax of rewards at the chosen one.
    """
    batch = output.batch
    if batch.desirable is not None:
        rows = batch.scored[:, 0]
        good, bad = rows & batch.desirable, rows & ~batch.desirable
        chosen, rejected = torch.zeros_like(batch.exists), torch.zeros_like(batch.exists)
        chosen[:, 0], rejected[:, 0] = good, bad
        metrics = _side("chosen", batch, chosen) | _side("rejected", batch, rejected)
        if output.chosen_rewards is not None and output.rejected_rewards is not None:
            metrics["rewards/chosen"] = Mean.of(output.chosen_rewards)
            metrics["rewards/rejected"] = Mean.of(output.rejected_rewards)
    elif output.chosen_rewards is None or output.rejected_rewards is None:  # no comparison: fine-tuning
        rows = batch.scored[:, 0]
        chosen = torch.zeros_like(batch.exists)
        chosen[:, 0] = rows
        metrics = _side("chosen", batch, chosen)
    else:
        rows = batch.usable
        chosen = batch.scored & rows[:, None]
        rejected = chosen.clone()
        chosen[:, 1:], rejected[:, 0] = False, False
        metrics = _side("chosen", batch, chosen) | _side("rejected", batch, rejected)
        metrics |= _rewards(output.chosen_rewards, output.rejected_rewards, rows, rejected[:, 1:])
    metrics["loss/per_example"] = Mean.of(output.per_example[rows])
    return metrics | {name: Mean.of(value[None].float()) for name, value in output.gauges.items()}


def _side(name: str, batch: Preferences, mask: Tensor) -> dict[str, Mean]:
    """Log-probabilities, lengths and distance to the reference of the completions in ``mask`` [N, 1 + K]."""
    sums, lengths = batch.sums()[mask], batch.lengths[mask]
    metrics = {
        f"logps/{name}": Mean.of(sums),
        f"logps/{name}_per_token": Mean.of(sums / lengths),
        f"length/{name}": Mean.of(lengths.to(sums.dtype)),
    }
    if batch.reference is not None:
        ratios = batch.log_ratios()[mask]
        metrics |= {
            f"logps/ref_{name}": Mean.of(batch.ref_sums()[mask]),
            f"kl/{name}": Mean.of(ratios),
            f"kl/{name}_per_token": Mean.of(ratios / lengths),
        }
    return metrics


def _rewards(chosen: Tensor, rejected: Tensor, rows: Tensor, mask: Tensor) -> dict[str, Mean]:
    """Rewards of ``rows`` (bool [N]), whose rejected completions are ``mask`` (bool [N, K])."""
    margins = chosen[:, None] - rejected  # [N, K]
    least = margins.masked_fill(~mask, torch.inf).amin(1)[rows] if mask.shape[1] else margins.new_zeros(0)
    metrics = {
        "rewards/chosen": Mean.of(chosen[rows]),
        "rewards/rejected": Mean.of(rejected[mask]),
        "rewards/margins": Mean.of(margins[mask]),
        "rewards/accuracies": Mean.of((least > 0).to(margins.dtype)),
    }
    if mask.shape[1] > 1:
        mass = 1 / (1 + torch.exp(-margins.masked_fill(~mask, torch.inf)).sum(1))
        metrics |= {
            "rewards/least_margins": Mean.of(least),
            "rewards/chosen_mass": Mean.of(mass[rows]),
        }
    return metrics


def merged(parts: Iterable[dict[str, Mean]]) -> dict[str, Mean]:
    """Metrics of several batches as those of one; a name may be missing in some."""
    total: dict[str, Mean] = {}
    for part in parts:
        for name, mean in part.items():
            total[name] = total[name] + mean if name in total else mean
    return total


def values(metrics: dict[str, Mean]) -> dict[str, float]:
    """The means by name, without those of no value."""
    return {name: mean.value() for name, mean in metrics.items() if mean.count > 0}
