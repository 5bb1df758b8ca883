"""Flip noise is a function of seed and example, at the rate that was asked for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from preference_files import pairs, read

from data_prep.errors import DataError
from data_prep.flips import draw_flips, swapped_with, uniform_draws
from data_prep.preferences import PreferencePlan
from data_prep.splits import SplitPlan


class TestFlips:
    def test_flips_know_neither_order_nor_neighbours(self) -> None:
        ids = read(*pairs(400)).frame["example_id"].to_numpy()
        flips = draw_flips(ids, 0.3, seed=4)
        np.testing.assert_array_equal(draw_flips(ids[::-1], 0.3, seed=4), flips[::-1])
        np.testing.assert_array_equal(draw_flips(ids[:50], 0.3, seed=4), flips[:50])
        assert (draw_flips(ids, 0.3, seed=5) != flips).any()
        assert not (flips & ~draw_flips(ids, 0.4, seed=4)).any()

    def test_draws_are_uniform(self) -> None:
        draws = uniform_draws(np.arange(20_000), seed=0)
        counts = np.histogram(draws, bins=20, range=(0, 1))[0]
        assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000)
        other = uniform_draws(np.arange(20_000), seed=1)
        assert abs(np.corrcoef(draws, other)[0, 1]) < 0.03

    def test_the_rate_is_kept(self) -> None:
        ids = np.arange(5000)
        assert draw_flips(ids, 0.2, seed=0, exact=True).sum() == 1000
        assert abs(draw_flips(ids, 0.2, seed=0).mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 5000)
        assert not draw_flips(ids, 0.0, seed=0).any()
        with pytest.raises(ValueError, match="below 1, not 1"):
            draw_flips(ids, 1.0, seed=0)

    def test_each_rejected_one_may_take_the_place(self) -> None:
        counts = Counter(swapped_with(np.arange(3000), np.full(3000, 4), seed=0).tolist())
        assert set(counts) == {1, 2, 3}
        assert min(counts.values()) > 850

    def test_only_the_train_part_is_turned_round(self) -> None:
        plan = PreferencePlan(flip_noise=0.4, split=SplitPlan(fractions=(0.5, 0.25, 0.25)))
        clean, noisy = read(*pairs(80)).frame, read(*pairs(80), plan=plan).frame
        assert set(noisy.filter("flipped")["split"]) == {"train"}
        assert noisy["flipped"].sum() > 5
        for before, after, flipped in zip(
            clean["completions"].to_list(), noisy["completions"].to_list(), noisy["flipped"], strict=True
        ):
            assert after == (before[::-1] if flipped else before)
        assert noisy["example_id"].equals(clean["example_id"])

    def test_labels_are_turned_over(self) -> None:
        records = [{"prompt": f"p{n}", "completion": "a", "label": True} for n in range(40)]
        frame = read(*records, plan=PreferencePlan(flip_noise=0.5, flip_parts=("train", "test"))).frame
        assert (frame["desirable"] == ~frame["flipped"]).all()
        assert frame["flipped"].any()

    @pytest.mark.parametrize(
        "options",
        [
            {"flip_noise": 1.0},
            {"flip_parts": ("dev",)},
            {"format": "xml"},
            {"split": SplitPlan(method="cold-1")},
        ],
        ids=["rate", "part", "format", "method"],
    )
    def test_plans_that_cannot_be(self, options: dict) -> None:
        with pytest.raises(DataError):
            PreferencePlan(**options)
