"""Controls of candidate lists, on models whose answers are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from graphrec.catalogue import Catalogue
from graphrec.data import Rows
from graphrec.histories import Histories, Integers
from graphrec.language.probes import leakage_probe, order_controls, position_rules
from graphrec.recommender import Floats
from graphrec.simple import Popularity

ROWS = Rows(
    Histories.from_lists([[0], [1], []]),
    np.array([2, 3, 4]),
    np.array([[[2, 5, 6], [5, 6, 2]], [[5, 3, 6], [6, 5, 3]], [[5, 6, 4], [4, 5, 6]]]),
)


@dataclass
class Known(Popularity):
    """Scores by a rule: the item's number, or its place in the list."""

    by_place: bool

    def __post_init__(self) -> None:
        super().__init__()
        self.catalogue = Catalogue([str(n) for n in range(7)])

    def draw_scores(self, histories: Histories, candidates: Integers) -> Floats:
        if self.by_place:
            return np.broadcast_to(-np.arange(candidates.shape[2]), candidates.shape).astype(float)
        return -candidates.astype(float)


def test_position_rules() -> None:
    found = position_rules(ROWS)
    np.testing.assert_array_equal(found["always the first"], [0.5, 0.0, 0.5])
    np.testing.assert_array_equal(found["always the last"], [0.5, 0.5, 0.5])
    np.testing.assert_array_equal(position_rules(ROWS, 1)["always the first"], [0, 0, 1])


def test_a_model_that_answers_the_first_place_is_found_out() -> None:
    found = order_controls(Known(by_place=True), ROWS, permutations=200)
    np.testing.assert_array_equal(found["target first"], [1, 1, 1])
    np.testing.assert_array_equal(found["target last"], [0, 0, 0])
    np.testing.assert_allclose(found["answer kept"], 1 / 3, atol=0.12)
    np.testing.assert_allclose(found["permuted"], 1 / 3, atol=0.12)


def test_a_model_that_reads_items_keeps_its_answers() -> None:
    found = order_controls(Known(by_place=False), ROWS)
    for name in ("permuted", "answer kept", "target first", "target last"):
        np.testing.assert_array_equal(found[name], [1, 1, 1])


def test_what_a_model_says_without_a_history() -> None:
    found = leakage_probe(Known(by_place=False), ROWS)
    np.testing.assert_array_equal(found["without history"], [1, 1, 1])
    np.testing.assert_allclose(found["chance"], 1 / 3)


def test_rows_without_lists_are_refused() -> None:
    with pytest.raises(ValueError, match="have no candidate lists"):
        position_rules(Rows(ROWS.histories, ROWS.targets))
    with pytest.raises(ValueError, match="draw 2 is none of the 2 draws"):
        position_rules(ROWS, 2)
