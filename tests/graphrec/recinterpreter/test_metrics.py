"""Recovery metrics on cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphrec.recinterpreter.mentions import TitleIndex
from graphrec.recinterpreter.metrics import (
    RecoveryColumns,
    estimates,
    histogram,
    kendall_tau,
    recovery,
    recovery_columns,
)
from moltc.backbone.bootstrap import Bootstrap

INDEX = TitleIndex(["A one", "B two", "C three", "D four"])


def test_one_text_by_hand() -> None:
    found = recovery(INDEX.mentions("B two, D four, A one, nobody, B two"), ["A one", "B two", "C three"])
    assert (found.recovered, found.history, found.named) == (2, 3, 5)
    assert (found.in_catalogue, found.in_history) == (4, 3)
    assert found.order == -1.0


def test_a_repeated_item_counts_once_and_stands_where_it_was_last() -> None:
    found = recovery(INDEX.mentions("B two, A one"), ["A one", "B two", "A one"])
    assert (found.recovered, found.history, found.order) == (2, 2, 1.0)


@pytest.mark.parametrize(
    ("places", "tau"),
    [
        pytest.param([0, 1, 2], 1.0, id="in-order"),
        pytest.param([2, 1, 0], -1.0, id="reversed"),
        pytest.param([0, 2, 1], 1 / 3, id="one-swap"),
        pytest.param([4, 7], 1.0, id="gaps"),
    ],
)
def test_kendall_tau(places: list[int], tau: float) -> None:
    assert kendall_tau(places) == pytest.approx(tau)


@pytest.mark.parametrize("places", [pytest.param([], id="none"), pytest.param([3], id="one")])
def test_fewer_than_two_have_no_order(places: list[int]) -> None:
    assert math.isnan(kendall_tau(places))


def test_columns_and_histogram() -> None:
    histories = [["A one", "B two"], ["C three", "D four"]]
    columns, counts = recovery_columns(["A one, B two", "A one, nobody"], histories, INDEX)
    found = {name: float(value[0]) for name, value in columns(np.ones((1, 2))).items()}
    assert found == pytest.approx(
        {"recovered": 1.0, "recall": 0.5, "precision": 0.5, "in_catalogue": 0.75, "order": 1.0}
    )
    assert counts == [1, 0, 1]


def test_nothing_named_has_no_precision() -> None:
    rows = [recovery(INDEX.mentions(""), ["A one"])]
    found = RecoveryColumns.of(rows)(np.ones((1, 1)))
    assert np.isnan(found["precision"][0])
    assert found["recall"][0] == 0
    assert histogram(rows, 2) == [1, 0, 0]


def test_gains_are_paired() -> None:
    histories = [["A one"], ["B two"], ["C three"]] * 10
    good, _ = recovery_columns(["A one", "B two", "D four"] * 10, histories, INDEX)
    same, _ = recovery_columns(["A one", "B two", "nobody"] * 10, histories, INDEX)
    found = estimates({"states": good, "popular": same}, "states", 30, Bootstrap(resamples=50))
    gain = found["states - popular"]["recovered"]
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)  # equal row by row, however rows are drawn
    assert found["states"]["recovered"].low < found["states"]["recovered"].high
