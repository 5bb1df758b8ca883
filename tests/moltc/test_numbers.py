"""Printed numbers and their intervals: exact in decimal, for every value, and readable again."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltc.families import CHROMOPHORE, SOLVATION
from moltc.numbers import NumberFormat, find_numbers, normalise_numbers

ENERGY = SOLVATION.number_format()
WAVELENGTH = CHROMOPHORE.number_format("absorption")
LIFETIME = CHROMOPHORE.number_format("lifetime")
FORMATS = pytest.mark.parametrize(
    "form", [ENERGY, WAVELENGTH, LIFETIME], ids=["energy", "wavelength", "lifetime"]
)


@pytest.mark.parametrize(
    ("form", "value", "text", "bounds"),
    [
        pytest.param(ENERGY, -4.73, "-4.73", ("-5.0", "-4.5"), id="negative"),
        pytest.param(ENERGY, 2.21, "+2.21", ("+2.0", "+2.5"), id="positive"),
        pytest.param(ENERGY, -0.20, "-0.20", ("-0.5", "+0.0"), id="just-below-zero"),
        pytest.param(ENERGY, -5.00, "-5.00", ("-5.0", "-4.5"), id="on-a-bound"),
        pytest.param(ENERGY, -4.501, "-4.50", ("-4.5", "-4.0"), id="rounded-onto-a-bound"),
        pytest.param(ENERGY, -0.004, "+0.00", ("+0.0", "+0.5"), id="negative-zero"),
        pytest.param(ENERGY, 0.0, "+0.00", ("+0.0", "+0.5"), id="zero"),
        pytest.param(ENERGY, 1.005, "+1.01", ("+1.0", "+1.5"), id="tie-that-floats-miss"),
        pytest.param(ENERGY, -1.005, "-1.01", ("-1.5", "-1.0"), id="negative-tie"),
        pytest.param(ENERGY, 0.125, "+0.13", ("+0.0", "+0.5"), id="tie-not-to-even"),
        pytest.param(WAVELENGTH, 426, "+426.0", ("+420", "+430"), id="whole-nanometres"),
        pytest.param(WAVELENGTH, 429.96, "+430.0", ("+430", "+440"), id="rounded-into-the-next-bin"),
        pytest.param(LIFETIME, -0.3, "-0.300", ("-0.50", "-0.25"), id="log-lifetime"),
    ],
)
def test_worked_examples(form: NumberFormat, value: float, text: str, bounds: tuple[str, str]) -> None:
    assert form.text(value) == text
    assert form.bound_texts(int(form.lower_ticks(form.ticks([value]))[0])) == bounds
    assert form.interval(value) == (float(bounds[0]), float(bounds[1]))


def hard_values(form: NumberFormat, count: int) -> np.ndarray:
    """Random values, every multiple of the width in their range, and both of its neighbours by 0.004."""
    width = float(form.bin_width)
    multiples = np.arange(-60, 61) * width
    rng = np.random.default_rng(0)
    return np.concatenate(
        [rng.uniform(-60 * width, 60 * width, count), multiples, multiples + 0.004, multiples - 0.004]
    )


@FORMATS
def test_every_printed_number_lies_in_its_interval(form: NumberFormat) -> None:
    values = hard_values(form, 100_000)
    texts = form.texts(values)
    printed = np.array([float(text) for text in texts])
    lower, upper = form.intervals(values).T
    assert np.array_equal(printed, form.printed(values))
    assert (lower <= printed).all()
    assert (printed < upper).all()
    assert (upper - lower == float(form.bin_width)).all()
    assert np.abs(printed - values).max() <= 0.5 * 10.0**-form.decimals + 1e-12


@FORMATS
def test_arrays_agree_with_decimal_arithmetic(form: NumberFormat) -> None:
    values = hard_values(form, 2_000)
    step = Decimal(1).scaleb(-form.decimals)
    expected = [Decimal(repr(v)).quantize(step, "ROUND_HALF_UP") for v in values.tolist()]
    assert form.texts(values) == [f"{value + 0:+f}" for value in expected]


@settings(max_examples=200, deadline=None)
@given(ticks=st.integers(-(10**7), 10**7))
def test_ties_round_away_from_zero(ticks: int) -> None:
    value = float(Decimal(10 * ticks + 5).scaleb(-1 - ENERGY.decimals))
    exact = Decimal(repr(value)).quantize(Decimal("0.01"), "ROUND_HALF_UP")
    assert Decimal(ENERGY.text(value)) == exact


@FORMATS
def test_printing_is_idempotent(form: NumberFormat) -> None:
    texts = form.texts(hard_values(form, 500))
    assert form.texts([float(text) for text in texts]) == texts


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 1e308, 1e20], ids=["nan", "infinity", "overflow", "too-many-digits"]
)
def test_unprintable_values_are_named(value: float) -> None:
    with pytest.raises(ValueError, match=r"solvation free energy: value .* at position 1 .*kcal/mol"):
        ENERGY.texts([0.0, value])


def test_whole_bins_are_stretched_outwards() -> None:
    printed = ENERGY.from_ticks(ENERGY.whole_bins(-5.2, 0.0))
    assert printed[0] == -5.5
    assert printed[-1] == 0.49
    assert len(printed) == 600


def test_whole_bins_refuse_an_empty_or_absurd_range() -> None:
    with pytest.raises(ValueError, match="lower bound first"):
        ENERGY.whole_bins(1.0, 0.0)
    with pytest.raises(ValueError, match="outlier"):
        ENERGY.whole_bins(0.0, 1e7)


@pytest.mark.parametrize(
    ("decimals", "width"),
    [(-1, "10"), (1, "0.25"), (2, "0"), (2, "-0.5")],
    ids=["digits", "fine", "zero", "negative"],
)
def test_impossible_formats_are_refused(decimals: int, width: str) -> None:
    with pytest.raises(ValueError, match="x:"):
        NumberFormat("x", "unit", decimals, Decimal(width))


def test_lifetimes_are_printed_as_logarithms() -> None:
    logs = LIFETIME.from_measured([0.0001, 1.0, 3.0, 2730.0])
    assert LIFETIME.texts(logs) == ["-4.000", "+0.000", "+0.477", "+3.436"]
    assert logs == pytest.approx([-4.0, 0.0, 0.47712125, 3.43616265])
    assert WAVELENGTH.from_measured([426.0]).tolist() == [426.0]
    with pytest.raises(ValueError, match=r"value 0\.0 at position 1 has no logarithm"):
        LIFETIME.from_measured([1.0, 0.0])


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        pytest.param("-4.73", [-4.73], id="ascii-minus"),
        pytest.param("\u22124.73", [-4.73], id="unicode-minus"),
        pytest.param("\u20134.73", [-4.73], id="en-dash"),
        pytest.param("- 4.73", [-4.73], id="spaced-minus"),
        pytest.param("+2.21.", [2.21], id="full-stop-after"),
        pytest.param("-5.", [-5.0], id="integer-with-full-stop"),
        pytest.param("-.5", [-0.5], id="no-leading-digit"),
        pytest.param("1.5e-1 and 2E+02", [0.15, 200.0], id="exponents"),
        pytest.param("4.7 x 10^-1", [0.47], id="times-ten"),
        pytest.param("-4.73kcal/mol", [-4.73], id="unit-at-once"),
        pytest.param("H2O and C60H3", [], id="formulas"),
        pytest.param("4,73", [], id="decimal-comma"),
        pytest.param("1.2.3", [], id="version"),
        pytest.param("--4.73", [], id="double-minus"),
        pytest.param("5 3-4", [5.0, 3.0], id="range-is-no-minus"),
    ],
)
def test_numbers_in_text(text: str, numbers: list[float]) -> None:
    assert find_numbers(normalise_numbers(text)) == pytest.approx(numbers)


@pytest.mark.real_data
def test_measured_solvation_energies_survive_printing(real_data: Path) -> None:
    with (real_data / "combisolv_exp" / "CombiSolv-Exp-8780.csv").open(encoding="utf-8-sig") as file:
        values = np.array([float(row["dgsolv"]) for row in csv.DictReader(file)])
    printed = ENERGY.printed(values)
    lower, upper = ENERGY.intervals(values).T
    assert len(values) == 8780
    assert np.mean(values % 0.5 == 0) == pytest.approx(
        0.0185, abs=5e-5
    )  # floor and ceiling coincide on these
    assert np.abs(printed - values).max() <= 0.005 + 1e-12
    assert ((lower <= printed) & (printed < upper)).all()
