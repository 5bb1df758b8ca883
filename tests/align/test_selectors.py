"""The draw of beta-DPO: how many, how often, and what it depends on."""

from __future__ import annotations

import pytest
import torch

from align.gap_statistics import Spread
from align.selectors import GaussianSelector, SelectAll, gumbel_noise

GAPS = torch.tensor([0.0, 0.5, 1.0, 2.0, 4.0], dtype=torch.float64)
SPREAD = Spread(0.0, 1.0)
IDS, EVERY = torch.arange(5), torch.ones(5).bool()


@pytest.mark.parametrize(
    ("usable", "ratio", "kept"),
    [(10, 0.8, 8), (10, 0.1, 1), (10, 0.3, 3), (3, 0.1, 1), (1, 0.5, 1), (0, 0.5, 0), (7, 1.0, 7)],
)
def test_number_kept(usable: int, ratio: float, kept: int) -> None:
    assert GaussianSelector(ratio).num_kept(usable) == kept


def test_draws_follow_sequential_sampling_without_replacement() -> None:
    """Frequencies of the pairs drawn from five, against the exact probabilities."""
    weights = SPREAD.log_weights(GAPS).exp()
    share = weights / weights.sum()
    exact = torch.zeros(5, dtype=torch.float64)
    for first in range(5):
        rest = share.clone()
        rest[first] = 0
        exact += share[first] * rest / rest.sum()
    exact += share
    draws, selector = 4000, GaussianSelector(0.4)
    counts = sum(selector.select(GAPS, EVERY, SPREAD, IDS, (0, step)).double() for step in range(draws))
    torch.testing.assert_close(counts / draws, exact, rtol=0, atol=0.03)


def test_noise_belongs_to_key_and_id() -> None:
    order = torch.tensor([3, 0, 4, 1, 2])
    noise = gumbel_noise(IDS, (1, 2))
    assert torch.equal(gumbel_noise(order, (1, 2)), noise[order])
    assert not (gumbel_noise(IDS, (1, 3)) == noise).any()
    assert not (gumbel_noise(IDS, (2, 1)) == noise).any()


def test_noise_is_gumbel() -> None:
    noise = gumbel_noise(torch.arange(20000), (5,))
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.03)
    assert noise.var().item() == pytest.approx(1.6449, abs=0.08)


def test_gaps_far_outside_still_fill_the_share() -> None:
    kept = GaussianSelector(0.8).select(GAPS + 1e6, EVERY, SPREAD, IDS, (0,))
    assert kept.sum() == 4


def test_unusable_rows_are_never_kept() -> None:
    usable = torch.tensor([True, False, True, False, True])
    for step in range(20):
        kept = GaussianSelector(0.7).select(GAPS, usable, SPREAD, IDS, (step,))
        assert kept.sum() == 2 and not (kept & ~usable).any()


def test_draw_by_the_weights_themselves_repeats_and_fails_where_they_vanish() -> None:
    selector = GaussianSelector(0.4, draw="multinomial")
    kept = selector.select(GAPS, EVERY, SPREAD, IDS, (3, 1))
    assert kept.sum() == 2 and torch.equal(kept, selector.select(GAPS, EVERY, SPREAD, IDS, (3, 1)))
    with pytest.raises(RuntimeError):
        selector.select(GAPS + 1e6, EVERY, SPREAD, IDS, (3, 1))


def test_all_keeps_the_usable() -> None:
    usable = torch.tensor([True, False, True, True, True])
    assert torch.equal(SelectAll().select(GAPS, usable, None, IDS, ()), usable)


@pytest.mark.parametrize(
    ("options", "word"),
    [({"keep_ratio": 0.0}, "above 0"), ({"keep_ratio": 1.2}, "at most 1"), ({"draw": "dice"}, "gumbel")],
    ids=["none", "too-many", "draw"],
)
def test_wrong_settings_are_refused(options: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        GaussianSelector(**options)
