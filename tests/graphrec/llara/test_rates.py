"""LLaRA's learning rates."""

from __future__ import annotations

import pytest

from graphrec.llara.rates import LlaraRates


def test_released_settings() -> None:
    rates = LlaraRates.of_run(8e-4, epochs=5, num_train=10_240)
    assert (rates.max_steps, rates.warmup_steps) == (400, 20)
    assert rates.rate(0, 0) == pytest.approx(8e-6)
    assert rates.rate(200, 2) == pytest.approx((8e-4 + 8e-6) / 2)
    assert rates.rate(400, 4) == pytest.approx(8e-6)


def test_the_first_epoch_ends_the_warm_up() -> None:
    rates = LlaraRates(1.0, 0.01, 0.01, 100, 20)
    assert rates.rate(10, 0) == pytest.approx(0.505)
    assert rates.rate(10, 1) > 0.9


def test_a_run_needs_a_step() -> None:
    with pytest.raises(ValueError, match="make no batch of 128"):
        LlaraRates.of_run(1e-3, epochs=1, num_train=5)
    with pytest.raises(ValueError, match="no negative warm-up"):
        LlaraRates(1.0, 0.1, 0.1, 5, -1)
