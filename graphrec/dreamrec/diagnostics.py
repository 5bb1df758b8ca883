"""Whether the item table has collapsed, and whether the sampler still samples.

Squared error with a trainable target is least when all rows are equal, so a table may shrink to a few
directions or to one point; and a denoiser that ignores its noisy input makes sampling a fixed map of the
history. Both show in a few numbers that are written with every run.

Letters: I items, d width.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.files import replacing

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Collapse:
    """How the item vectors lie, and how far generated vectors spread.

    Attributes:
        item_spread: standard deviation of item vectors along principal directions, largest first, ``[d]``.
        sample_spread: the same of the vectors generated for one history; None where the denoiser has no
            closed form.
        effective_rank: directions in use, exp of the entropy of their shares of the variance: d where all
            count alike, 1 where one is left.
        mean_cosine: of all pairs of items; about 0 in a table without structure, 1 when all point one way.
        norms: least, mean and largest length of a row.
    """

    item_spread: tuple[float, ...]
    sample_spread: tuple[float, ...] | None
    effective_rank: float
    mean_cosine: float
    norms: tuple[float, float, float]

    @property
    def sampling_share(self) -> float | None:
        """Variance of sampling over that between items; near 0 the sampler is a fixed map of the history."""
        between = float(np.square(self.item_spread).sum())
        if self.sample_spread is None or not between:
            return None
        return float(np.square(self.sample_spread).sum()) / between


def collapse(table: Floats, covariance: Floats | None = None) -> Collapse:
    """Measure a table ``[I, d]`` of two items or more, and the covariance ``[d, d]`` of generated vectors."""
    if len(table) < 2:
        raise ValueError(f"a table of {len(table)} items cannot be said to collapse; give at least two")
    table = table.astype(np.float64)
    spread = np.linalg.svd(table - table.mean(0), compute_uv=False) / np.sqrt(len(table))
    lengths = np.linalg.norm(table, axis=1)
    return Collapse(
        item_spread=tuple(spread.tolist()),
        sample_spread=None if covariance is None else _principal(covariance),
        effective_rank=_effective_rank(spread**2),
        mean_cosine=_mean_cosine(table[lengths > 0] / lengths[lengths > 0, None]),
        norms=(float(lengths.min()), float(lengths.mean()), float(lengths.max())),
    )


def _principal(covariance: Floats) -> tuple[float, ...]:
    variances = np.linalg.eigvalsh(covariance.astype(np.float64))[::-1]
    return tuple(np.sqrt(variances.clip(min=0)).tolist())


def _effective_rank(variances: Floats) -> float:
    shares = variances[variances > 0] / variances.sum() if variances.any() else np.ones(1)
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _mean_cosine(directions: Floats) -> float:
    """Of all pairs at once: the squared length of the sum of directions holds each pair twice."""
    count = len(directions)
    if count < 2:
        return 0.0
    return float((np.square(directions.sum(0)).sum() - count) / (count * (count - 1)))


def write_collapse(folder: Path, found: Collapse) -> None:
    """Write ``collapse.json`` and ``collapse.png`` into a run's folder."""
    content = {**asdict(found), "sampling_share": found.sampling_share}
    with replacing(folder / "collapse.json") as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    _draw(folder / "collapse.png", found)


def _draw(path: Path, found: Collapse) -> None:
    """Spread along principal directions, of items and of samples."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.9), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(1, len(found.item_spread) + 1)
    axes.plot(places, found.item_spread, label="between items", color="#2b6ca3")
    if found.sample_spread is not None:
        axes.plot(places, found.sample_spread, label="between samples of one history", color="#d1622b")
    axes.set_yscale("log")
    axes.set_xlabel("principal direction")
    axes.set_ylabel("standard deviation")
    axes.set_title(f"effective rank {found.effective_rank:.1f}, mean cosine {found.mean_cosine:.3f}")
    axes.legend(frameon=False)
    with replacing(path) as partial:
        figure.savefig(partial, format="png")
