"""The leakage probe: at chance on honest lists, and not on lists seeded by their target."""

from __future__ import annotations

import numpy as np
import pytest

from graphrec.sdpo.leakage import RULES, Lists, halves, leakage_probe, told
from moltc.backbone.bootstrap import Bootstrap

FEW = Bootstrap(resamples=20)
SIZE, ITEMS = 10, 60


def lists(rows: int, seed: int, *, leaky: bool) -> Lists:
    rng = np.random.default_rng(seed)
    targets = rng.integers(ITEMS, size=rows)
    drawn = []
    for target in targets.tolist():
        own = np.random.default_rng(target) if leaky else rng
        others = own.choice(np.delete(np.arange(ITEMS), target), SIZE - 1, replace=False)
        drawn.append(own.permutation([target, *others]))
    return Lists(np.stack(drawn), targets)


def test_honest_lists_are_at_chance() -> None:
    found = leakage_probe(lists(1500, 0, leaky=False), lists(1500, 1, leaky=False), FEW)
    assert found["chance"].value == pytest.approx(0.1)
    for rule in RULES[:3]:
        assert found[rule].value == pytest.approx(0.1, abs=0.04)


def test_lists_seeded_by_their_target_give_it_away() -> None:
    found = leakage_probe(lists(300, 0, leaky=True), lists(300, 1, leaky=True), FEW)
    assert found["company of the target"].value > 0.95
    assert found["place of the target"].value > 0.5


def test_a_usual_place_is_found() -> None:
    candidates = np.arange(40).reshape(4, 10)
    known, asked = (Lists(candidates, candidates[:, place]) for place in (3, 3))
    assert leakage_probe(known, asked, FEW)["usual place"].value == 1


def test_rules_by_hand() -> None:
    known = Lists(np.array([[1, 2, 3], [4, 1, 5]]), np.array([2, 4]))
    asked = Lists(np.array([[9, 2, 4], [2, 8, 7]]), np.array([2, 7]))
    found = leakage_probe(known, asked, FEW)
    # row 0: item 2 stands where it stood as target; row 1: nothing does, so one in three
    assert found["place of the target"].value == pytest.approx((1 + 1 / 3) / 2)
    # row 0: lists of 2 and of 4 share one item each; row 1: only 2 was a target, and it is wrong
    assert found["company of the target"].value == pytest.approx(1 / 4)
    # targets stood at places 1 and 0: both alike
    assert found["usual place"].value == pytest.approx(1 / 4)


def test_halves_and_words() -> None:
    whole = lists(21, 0, leaky=False)
    one, other = halves(whole)
    assert sorted([*one.targets, *other.targets]) == sorted(whole.targets)
    assert told(leakage_probe(one, other, FEW)).startswith(
        "leakage probe, HitRatio@1 without a model: place of"
    )
