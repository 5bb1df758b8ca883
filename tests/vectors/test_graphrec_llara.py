"""LLaRA's curriculum, learning rate and answers against its released code."""

from __future__ import annotations

from typing import Any

import pytest

from graphrec.llara.curriculum import ReleaseCurriculum, StepCurriculum
from graphrec.llara.matching import answer_metrics
from graphrec.llara.rates import LlaraRates

Case = dict[str, Any]


def test_curriculum(graphrec_llara_curriculum: Case) -> None:
    case = graphrec_llara_curriculum
    batches, epochs = case["n_train"] // case["batch_size"], case["epochs"]
    release = ReleaseCurriculum(batches, epochs, case["workers"])
    assert release.full_count == case["reference_max_step"]
    for row in case["rows"]:
        assert release.threshold(row["counter"]) == pytest.approx(row["threshold"], rel=1e-9)
        found = [release.hybrid_if(draw, row["counter"]) for draw in row["hybrid_if_uniform_is"]]
        assert found == row["hybrid"]
    behaviour = case["release_behaviour"]
    assert release.largest_threshold == pytest.approx(behaviour["max_threshold_reached"], rel=1e-9)
    steps = range(batches * epochs)
    counts = [release.count(step) for step in steps]
    assert (counts[:batches] * epochs == counts) == behaviour["counter_resets_each_epoch"]
    assert max(map(release.threshold, counts)) == release.largest_threshold
    paper = StepCurriculum()
    for point in case["paper_schedule"]:
        assert paper.share(point["tau"], point["total"]) == pytest.approx(point["p_hybrid"], rel=1e-9)


def test_learning_rates(graphrec_llara_lr_schedule: Case) -> None:
    case = graphrec_llara_lr_schedule
    rates = LlaraRates(
        case["peak_lr"], case["warmup_start_lr"], case["min_lr"], case["max_steps"], case["warmup_steps"]
    )
    for point in case["points"]:
        assert rates.rate(point["step"], point["epoch"]) == pytest.approx(point["lr"], rel=1e-9)


def test_hit_ratio(graphrec_llara_hit_ratio: Case) -> None:
    examples = graphrec_llara_hit_ratio["examples"]
    found = answer_metrics(
        [example["generated"] for example in examples],
        [example["candidates"] for example in examples],
        [example["candidates"].index(example["target"]) for example in examples],
        matcher="reference",
    )
    assert found.valid_ratio == pytest.approx(graphrec_llara_hit_ratio["valid_ratio"], rel=1e-9)
    assert found.hits_among_valid == pytest.approx(graphrec_llara_hit_ratio["hit_among_valid"], rel=1e-9)
    assert found.hit_ratio == pytest.approx(graphrec_llara_hit_ratio["hit_ratio_at_1"], rel=1e-9)
