"""Running mean and spread of gaps: by hand, without bias, and as published."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from align.gap_statistics import FRESH, GapState, GapStatistics, Spread, Stats, resolution_of

DEBIASED = GapStatistics()
AUTHORS = GapStatistics(ema="authors")


def gaps(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def spread_after(statistics: GapStatistics, *batches: torch.Tensor) -> Spread | None:
    state, spread = FRESH, None
    for batch in batches:
        state, spread = statistics.observe(state, batch, training=True)
    return spread


class TestDebiased:
    @settings(max_examples=20, deadline=None)
    @given(mean=st.floats(-50, 50), half=st.floats(0.1, 10), updates=st.integers(1, 30))
    def test_of_equal_batches_it_is_exact_from_the_start(
        self, mean: float, half: float, updates: int
    ) -> None:
        spread = spread_after(DEBIASED, *[gaps(mean - half, mean + half)] * updates)
        assert spread is not None
        assert spread.mean == pytest.approx(mean, abs=1e-9)
        assert spread.std == pytest.approx(half * math.sqrt(2))

    def test_two_unequal_batches_by_hand(self) -> None:
        statistics = GapStatistics(momentum=0.5)
        spread = spread_after(statistics, gaps(0.0, 2.0), gaps(3.0, 3.0))
        assert spread is not None
        # mean (0.25 * 1 + 0.5 * 3) / 0.75, std (0.25 * sqrt 2 + 0.5 * 0) / 0.75
        assert spread.mean == pytest.approx(1.75 / 0.75)
        assert spread.std == pytest.approx(math.sqrt(2) / 3)

    def test_one_example_moves_the_mean_only(self) -> None:
        before, _ = DEBIASED.observe(FRESH, gaps(1.0, 2.0), training=True)
        after, spread = DEBIASED.observe(before, gaps(9.0), training=True)
        assert (after.std, after.std_updates) == (before.std, 1)
        assert after.updates == 2 and spread is not None and spread.std == pytest.approx(math.sqrt(0.5))

    def test_one_example_at_first_has_no_spread(self) -> None:
        spread = spread_after(DEBIASED, gaps(5.0))
        assert spread is not None and spread.z_scores(gaps(5.0, 7.0)).tolist() == [0, 0]

    def test_gaps_that_are_not_finite_stay_out(self) -> None:
        assert spread_after(DEBIASED, gaps(1.0, math.nan, 3.0, math.inf)) == spread_after(
            DEBIASED, gaps(1.0, 3.0)
        )

    def test_evaluation_leaves_it_alone(self) -> None:
        state, _ = DEBIASED.observe(FRESH, gaps(1.0, 2.0), training=True)
        assert DEBIASED.observe(state, gaps(100.0, 200.0), training=False)[0] == state
        assert DEBIASED.observe(FRESH, gaps(1.0, 2.0), training=False) == (FRESH, None)


class TestAuthors:
    def test_starts_at_zero_uncorrected(self) -> None:
        spread = spread_after(AUTHORS, gaps(1.0, 3.0))
        assert spread is not None
        assert (spread.mean, spread.std) == pytest.approx((0.2, 0.1 * math.sqrt(2)))

    def test_agrees_with_the_debiased_ones_after_many_updates(self) -> None:
        batches = [torch.randn(8, dtype=torch.float64) + 5 for _ in range(44)]
        theirs, ours = spread_after(AUTHORS, *batches), spread_after(DEBIASED, *batches)
        assert theirs is not None and ours is not None
        assert (theirs.mean, theirs.std) == pytest.approx((ours.mean, ours.std), rel=0.01)

    def test_evaluation_moves_it(self) -> None:
        assert AUTHORS.observe(FRESH, gaps(1.0, 2.0), training=False)[0].mean == pytest.approx(0.15)

    def test_one_example_poisons_the_spread(self) -> None:
        spread = spread_after(AUTHORS, gaps(1.0), gaps(1.0, 2.0))
        assert spread is not None and math.isnan(spread.std)
        assert spread.z_scores(gaps(1.0)).isnan().all()

    def test_no_spread_divides_by_zero(self) -> None:
        spread = spread_after(AUTHORS, gaps(0.0, 0.0))
        assert spread is not None and spread.log_weights(gaps(0.0)).isnan().all()


class TestSpread:
    def test_weights_are_one_without_a_spread(self) -> None:
        assert Spread(3.0, 1e-9).log_weights(gaps(0.0, 90.0)).exp().tolist() == [1, 1]

    def test_log_weights_do_not_underflow(self) -> None:
        assert Spread(0.0, 1.0).log_weights(gaps(100.0)).item() == -5000

    def test_of_this_batch_alone(self) -> None:
        statistics = GapStatistics(stats="batch")
        state = GapState(9.0, 9.0, 3, 3)
        assert statistics.observe(state, gaps(1.0, 3.0), training=True) == (state, Spread(2.0, math.sqrt(2)))


class TestState:
    def test_survives_a_checkpoint(self) -> None:
        state = GapState(0.1, 0.2, 3, 2)
        assert GapState.from_state_dict(state.state_dict()) == state

    def test_missing_numbers_are_named(self) -> None:
        with pytest.raises(ValueError, match="updates"):
            GapState.from_state_dict({"mean": 0.0, "std": 1.0})

    @pytest.mark.parametrize(
        "options",
        [{"momentum": 1.0}, {"momentum": -0.1}, {"ema": "mine"}, {"stats": "epoch"}],
        ids=["momentum-one", "momentum-negative", "ema", "stats"],
    )
    def test_wrong_settings_are_refused(self, options: dict) -> None:
        with pytest.raises(ValueError, match=next(iter(options))):
            GapStatistics(**options)


@pytest.mark.parametrize("stats", ["running", "batch"])
def test_gaps_that_are_rounding_errors_have_no_z_scores(stats: Stats) -> None:
    """Promise: a policy that is its own reference, to rounding, gives every pair the same margin."""
    sums = -50 * torch.rand(8, 2, generator=torch.Generator().manual_seed(0))
    noise = 4e-6 * torch.randn(8, generator=torch.Generator().manual_seed(1))
    resolution = resolution_of(sums)
    _, spread = GapStatistics(stats=stats).observe(FRESH, noise, training=True, resolution=resolution)
    assert spread is not None
    assert spread.z_scores(noise).abs().max() == 0
    _, spread = GapStatistics(stats=stats).observe(FRESH, 1e3 * noise, training=True, resolution=resolution)
    assert spread is not None
    assert spread.z_scores(1e3 * noise).abs().max() > 1
    assert resolution_of(sums.double()) == 1e-8
