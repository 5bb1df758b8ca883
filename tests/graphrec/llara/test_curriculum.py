"""Curricula: stateless draws, shapes, the release's habits."""

from __future__ import annotations

import numpy as np
import pytest

from graphrec.llara.curriculum import ReleaseCurriculum, StepCurriculum, uniform


def test_a_draw_depends_on_seed_and_step_alone() -> None:
    paper = StepCurriculum()
    forwards = [paper.is_hybrid(step, 200, 5) for step in range(200)]
    assert [paper.is_hybrid(step, 200, 5) for step in reversed(range(200))] == forwards[::-1]
    assert forwards != [paper.is_hybrid(step, 200, 6) for step in range(200)]


def test_draws_are_uniform() -> None:
    draws = np.array([uniform(1, step) for step in range(4_000)])
    assert draws.min() >= 0
    assert draws.max() < 1
    assert np.abs(np.histogram(draws, bins=10, range=(0, 1))[0] - 400).max() < 80


def test_the_last_tenth_is_nearly_all_hybrid() -> None:
    paper, total = StepCurriculum(), 4_000
    tail = np.mean([paper.is_hybrid(step, total, 0) for step in range(int(0.9 * total), total)])
    assert tail == pytest.approx(0.95, abs=0.035)
    assert not paper.is_hybrid(0, total, 0)


@pytest.mark.parametrize(
    ("curriculum", "shares"),
    [
        pytest.param(StepCurriculum(), [0, 0.25, 0.5, 1], id="paper"),
        pytest.param(StepCurriculum(exponent=2), [0, 1 / 16, 1 / 4, 1], id="square"),
        pytest.param(StepCurriculum("step"), [0, 0, 1, 1], id="two-stage"),
        pytest.param(StepCurriculum("constant"), [1, 1, 1, 1], id="direct"),
        pytest.param(StepCurriculum("constant", level=0), [0, 0, 0, 0], id="text-only"),
    ],
)
def test_shapes(curriculum: StepCurriculum, shares: list[float]) -> None:
    assert [curriculum.share(step, 100) for step in (0, 25, 50, 100)] == pytest.approx(shares)


def test_constant_shares_are_certain() -> None:
    assert all(StepCurriculum("constant").is_hybrid(step, 50, 0) for step in range(50))
    assert not any(StepCurriculum("constant", level=0).is_hybrid(step, 50, 0) for step in range(50))


def test_the_release_starts_again_each_epoch() -> None:
    release = ReleaseCurriculum(batches=400, epochs=5, workers=8)
    shares = np.array([release.share(step, 2_000) for step in range(2_000)])
    assert shares.reshape(5, 400).tolist() == [shares[:400].tolist()] * 5
    assert shares.max() == release.largest_threshold == 0.2
    hybrid = np.mean([release.is_hybrid(step, 2_000, 3) for step in range(2_000)])
    assert hybrid == pytest.approx(0.1, abs=0.025)


def test_the_first_release_was_reversed() -> None:
    later, first = (ReleaseCurriculum(40, 5, 4, reversed=reversed) for reversed in (False, True))
    assert first.share(150, 200) == pytest.approx(1 - later.share(150, 200))
    assert [first.is_hybrid(s, 200, 0) for s in range(200)] == [
        not later.is_hybrid(s, 200, 0) for s in range(200)
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"shape": "linear"}, "shape='linear' is not known", id="shape"),
        pytest.param({"exponent": 0.0}, "does not rise", id="exponent"),
        pytest.param({"shape": "constant", "level": 1.5}, "level=1.5 is no share", id="level"),
        pytest.param({"switch": 0.3}, "switch has no effect on shape 'power'", id="without-effect"),
    ],
)
def test_options_that_cannot_be(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StepCurriculum(**options)


def test_steps_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="step 11 of 10"):
        StepCurriculum().share(11, 10)
    with pytest.raises(ValueError, match="the run has 10 steps, not 5 epochs of 40"):
        ReleaseCurriculum(40).share(3, 10)
    with pytest.raises(ValueError, match="no more workers"):
        ReleaseCurriculum(1, epochs=1, workers=8)
