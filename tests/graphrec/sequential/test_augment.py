"""Views of sequences: what each way keeps of a row."""

from __future__ import annotations

import numpy as np
import pytest

from graphrec.histories import Histories
from graphrec.sequential.augment import cropped, masked, random_view, reordered

MASK = 99
ROWS = Histories.from_lists([range(10), [20], range(30, 35), range(40, 60)])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_cropping_keeps_a_run(rng: np.random.Generator) -> None:
    view = cropped(ROWS, 0.6, rng)
    assert view.lengths.tolist() == [6, 1, 3, 12]
    for whole, part in zip(ROWS.lists(), view.lists(), strict=True):
        assert part == list(range(part[0], part[0] + len(part)))
        assert set(part) <= set(whole)


def test_masking_hides_a_share_in_place(rng: np.random.Generator) -> None:
    view = masked(ROWS, 0.3, MASK, rng)
    hidden = view.items == MASK
    assert np.bincount(ROWS.rows[hidden], minlength=4).tolist() == [3, 0, 1, 6]
    assert (view.items[~hidden] == ROWS.items[~hidden]).all()


def test_reordering_shuffles_one_run(rng: np.random.Generator) -> None:
    view = reordered(ROWS, 0.6, rng)
    assert view.lists() != ROWS.lists()
    for whole, changed, most in zip(ROWS.lists(), view.lists(), (6, 1, 3, 12), strict=True):
        assert sorted(changed) == whole
        moved = [n for n in range(len(whole)) if whole[n] != changed[n]]
        assert not moved or moved[-1] - moved[0] < most


def test_views_differ_from_draw_to_draw_and_stay_in_their_rows(rng: np.random.Generator) -> None:
    shares = {"mask": MASK, "crop_share": 0.6, "mask_share": 0.3, "reorder_share": 0.6}
    first, second = random_view(ROWS, rng, **shares), random_view(ROWS, rng, **shares)
    assert first.lists() != second.lists()
    for whole, part in zip(ROWS.lists(), first.lists(), strict=True):
        assert part
        assert set(part) <= {*whole, MASK}
