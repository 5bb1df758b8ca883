"""Models side by side: paired differences, seeds, and what is never compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from graphrec.comparison import compare, paired_difference
from graphrec.results import Evaluation, Task
from moltc.backbone.bootstrap import Bootstrap

TASK = Task("a" * 64, "tiny", "loo", "test", "NDCG@10", (1, 10), "sasrec", "sasrec", 0)
RNG = np.random.default_rng(0)
RANKS = RNG.integers(1, 30, 300).astype(float)


def run(ranks: np.ndarray, **changes: object) -> Evaluation:
    return Evaluation(replace(TASK, **changes), ranks)


def test_a_small_but_steady_gain_is_seen_where_intervals_overlap() -> None:
    better = np.where(RNG.random(300) < 0.25, np.maximum(1, RANKS - 8), RANKS)
    first, second = compare([run(RANKS), run(better, label="better")])
    assert first.differences == {}
    gap = second.differences["HR@10"]
    assert gap.metric.value == pytest.approx(second.metrics["HR@10"].value - first.metrics["HR@10"].value)
    assert gap.metric.low > 0
    assert gap.p < 0.01
    assert second.metrics["HR@10"].low < first.metrics["HR@10"].high


def test_chance_gives_differences_too() -> None:
    ps = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        one, other = rng.random((2, 60))
        ps.append(paired_difference(one, other, Bootstrap(seed=seed, resamples=10)).p)
    assert 0.3 < np.mean(ps) < 0.7
    assert np.mean(np.array(ps) < 0.1) < 0.25


def test_p_of_few_rows_is_that_of_all_signs() -> None:
    """Three rows, all better: of eight ways to sign them two are as extreme."""
    gap = paired_difference(np.array([1.0, 1.0, 1.0, 0.0]), np.zeros(4))
    assert gap.p == pytest.approx(0.25, abs=0.03)
    assert paired_difference(np.ones(5), np.ones(5)).p == 1.0


def test_seeds_are_averaged_row_by_row_or_told_apart() -> None:
    runs = [run(RANKS, seed=0), run(np.roll(RANKS, 1), seed=1), run(RANKS, label="other")]
    joined = compare(runs, join_seeds=True)
    assert [(side.label, side.runs) for side in joined] == [("sasrec", 2), ("other", 1)]
    mean = (RANKS <= 10) / 2 + (np.roll(RANKS, 1) <= 10) / 2
    assert joined[0].metrics["HR@10"].value == pytest.approx(mean.mean())
    assert [side.label for side in compare(runs)] == ["sasrec (seed 0)", "sasrec (seed 1)", "other"]


@pytest.mark.parametrize("change", [{"hash": "b" * 64}, {"split": "valid"}], ids=["hash", "split"])
def test_other_tasks_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="different ranking tasks are not compared: sasrec ranked tiny"):
        compare([run(RANKS), run(RANKS, **change)])


def test_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="name at least one run"):
        compare([])
