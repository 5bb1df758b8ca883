"""Distances of embeddings: quick, and exact where vectors nearly agree."""

from __future__ import annotations

import pytest
import torch

from graphrec.bigrec.distances import TitleDistances


def test_a_title_that_is_met_exactly_is_at_zero() -> None:
    titles = 50 + torch.randn(40, 64)  # far from the origin, as hidden states are
    found = TitleDistances(titles)(titles[[3, 7]])
    assert (found[0, 3], found[1, 7]) == (0, 0)
    assert (found.sort(dim=1).values[:, 1] > 1).all()


@pytest.mark.parametrize("gap", [1e-3, 1e-2, 1.0], ids=["nearly-equal", "near", "far"])
def test_float32_is_close_to_float64(gap: float) -> None:
    titles = 20 + torch.randn(30, 48)
    texts = titles[:9] + gap * torch.randn(9, 48)
    exact = torch.cdist(texts.double(), titles.double(), compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(TitleDistances(titles)(texts).double(), exact, rtol=1e-4, atol=0)


def test_half_precision_is_widened() -> None:
    titles = torch.randn(5, 8, dtype=torch.bfloat16)
    found = TitleDistances(titles)(titles)
    assert found.dtype == torch.float32
    assert found.diagonal().tolist() == [0] * 5


def test_widths_must_agree() -> None:
    with pytest.raises(ValueError, match=r"texts are \[B, 4\], as wide as the titles, not \[2, 3\]"):
        TitleDistances(torch.zeros(2, 4))(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="at least one row"):
        TitleDistances(torch.zeros(0, 4))
