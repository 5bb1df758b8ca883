"""What a training did to the held-out examples, each by itself and pooled over seeds, with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from moltc.backbone.bootstrap import Bootstrap, Floats, Metric

RESAMPLES = 10_000


def outcomes(table: pl.DataFrame) -> pl.DataFrame:
    """What a cell did to each held-out example, ordered by id, from the rows of a scores table.

    ``accuracy``: the chosen reward exceeds all rejected ones; ``log_ratio_accuracy``: so does the change of
    its log-probability; ``margin``: that change less the largest rejected one, in nats; ``chosen`` and
    ``rejected``: the changes themselves, the mean of several rejected ones. ``start_sum``, ``start_mean`` and
    ``shorter`` say whether the chosen completion was the likelier one before, as a whole or per token, and
    whether it is the shorter one.
    """
    change, chosen = pl.col("logp") - pl.col("ref_logp"), pl.col("completion") == 0

    def lead(value: pl.Expr) -> pl.Expr:
        return (value.filter(chosen).first() - value.filter(~chosen).max()).cast(pl.Float64)

    def ahead(value: pl.Expr) -> pl.Expr:
        return (lead(value) > 0).cast(pl.Float64)

    found = table.group_by("example_id").agg(
        accuracy=ahead(pl.col("reward")),
        log_ratio_accuracy=ahead(change),
        margin=lead(change),
        chosen=change.filter(chosen).first().cast(pl.Float64),
        rejected=change.filter(~chosen).mean().cast(pl.Float64),
        start_sum=ahead(pl.col("ref_logp")),
        start_mean=ahead(pl.col("ref_logp") / pl.col("tokens")),
        shorter=ahead(-pl.col("tokens").cast(pl.Int64)),
    )
    return found.sort("example_id")


def pooled(
    seeds: Sequence[pl.DataFrame],
    baseline: Sequence[pl.DataFrame] | None = None,
    *,
    resamples: int = RESAMPLES,
) -> dict[str, Metric]:
    """Means with 95 % intervals of the columns of :func:`outcomes`, over the examples of all seeds.

    Args:
        seeds: outcomes of a method, one frame for each seed.
        baseline: those of another one on the same examples; adds ``difference`` of the accuracies.
        resamples: of the bootstrap.
    """
    frame = pl.concat(seeds)
    if baseline is not None:
        other = pl.concat(baseline)
        if not frame["example_id"].equals(other["example_id"]):
            raise ValueError("a method and its baseline were held out on other examples: train both again")
        frame = frame.with_columns(difference=frame["accuracy"] - other["accuracy"])
    _, unit, counts = np.unique(frame["example_id"].to_numpy(), return_inverse=True, return_counts=True)
    columns = frame.drop("example_id")
    totals = {name: np.bincount(unit, columns[name].to_numpy()) for name in columns.columns}

    def statistic(weights: Floats) -> dict[str, Floats]:
        size = weights @ counts
        return {name: weights @ total / size for name, total in totals.items()}

    return Bootstrap(resamples=resamples).estimate(statistic, len(counts))
