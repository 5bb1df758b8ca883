"""Numbers as text: how a measured value is printed, which interval it lies in, and how it is read back.

A number is rounded to its printed precision *first* and binned *afterwards*, in whole ticks (units of the
last printed digit), so that the interval step and the value of an answer can never contradict each other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

_MAX_TICKS = 2**53  # beyond this a float64 cannot hold every whole number
_TIE_WIDTH = 1e-6
_MAX_ANSWERS = 10**6


@dataclass(frozen=True)
class NumberFormat:
    """The printed form of one property.

    Printed numbers have fixed decimals and always a sign; ties are rounded away from zero as written in
    decimal (``1.005`` gives ``+1.01``) and zero is ``+0.00``. Intervals are half-open, ``[L, L + bin_width)``
    with ``L`` a whole multiple of the width.

    Parameters
    ----------
    name : the property, for messages.
    unit : unit of the printed number.
    decimals : digits after the point.
    bin_width : width of an interval in ``unit``; a whole number of printed steps.
    log10 : the printed number is the base-10 logarithm of the measured one (see :meth:`from_measured`). All
        other methods speak of the printed number.

    Raises
    ------
    ValueError : if ``decimals`` is negative or ``bin_width`` is no positive multiple of the last digit.
    """

    name: str
    unit: str
    decimals: int
    bin_width: Decimal
    log10: bool = False

    def __post_init__(self) -> None:
        if self.decimals < 0:
            raise ValueError(f"{self.name}: decimals must be 0 or more, got {self.decimals}")
        steps = self.bin_width.scaleb(self.decimals)
        if steps < 1 or steps != steps.to_integral_value():
            raise ValueError(
                f"{self.name}: an interval of {self.bin_width} is not a whole number of steps of "
                f"1e-{self.decimals}; widen the interval or print more decimals"
            )

    @cached_property
    def bin_ticks(self) -> int:
        """Width of an interval in ticks."""
        return int(self.bin_width.scaleb(self.decimals))

    @cached_property
    def bound_decimals(self) -> int:
        """Fewest decimals that write every interval bound exactly (0.5 -> 1, 10 -> 0)."""
        exponent = self.bin_width.normalize().as_tuple().exponent
        return max(0, -int(exponent))

    def ticks(self, values: ArrayLike) -> NDArray[np.int64]:
        """``values`` [n] rounded to the printed precision, in units of the last printed digit, int64 [n].

        Raises
        ------
        ValueError : for a value that is not finite or has too many digits, naming its position.
        """
        array = np.asarray(values, dtype=np.float64)
        with np.errstate(over="ignore"):  # infinity is reported below
            scaled = array * 10.0**self.decimals
        bad = np.flatnonzero(~(np.abs(scaled) < _MAX_TICKS))
        if len(bad):
            raise ValueError(
                f"{self.name}: value {array.flat[bad[0]]} at position {bad[0]} cannot be printed "
                f"({len(bad)} of {array.size} values are like this); give finite numbers in {self.unit}"
            )
        ticks = np.rint(scaled).astype(np.int64)
        # Next to a tie the product is not trustworthy: decide on the decimal digits of the number itself.
        distance = np.abs(scaled - np.floor(scaled) - 0.5)
        near_tie = distance <= _TIE_WIDTH + 4 * np.finfo(np.float64).eps * np.abs(scaled)
        if near_tie.any():
            distinct, inverse = np.unique(array[near_tie], return_inverse=True)
            decimals = [Decimal(repr(value)).scaleb(self.decimals) for value in distinct.tolist()]
            exact = [int(value.to_integral_value(ROUND_HALF_UP)) for value in decimals]
            ticks[near_tie] = np.asarray(exact, dtype=np.int64)[inverse]
        return ticks

    def from_ticks(self, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        """The floats nearest to the printed numbers, equal to ``float(text)``; same shape as ``ticks``."""
        return np.asarray(ticks, dtype=np.int64) / 10.0**self.decimals

    def printed(self, values: ArrayLike) -> NDArray[np.float64]:
        """``values`` [n] as they are printed, float64 [n]."""
        return self.from_ticks(self.ticks(values))

    def text(self, value: float) -> str:
        """One value in print, such as ``-4.73`` or ``+2.21``."""
        return self.texts([value])[0]

    def texts(self, values: ArrayLike) -> list[str]:
        """``values`` [n] in print."""
        return self.tick_texts(self.ticks(values))

    def tick_texts(self, ticks: NDArray[np.int64]) -> list[str]:
        """Whole ticks [n] in print."""
        return [_fixed_point(t, self.decimals) for t in ticks.tolist()]

    def lower_ticks(self, ticks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Lower interval bounds of ``ticks`` [n], int64 [n]."""
        return ticks // self.bin_ticks * self.bin_ticks

    def interval(self, value: float) -> tuple[float, float]:
        """The interval ``(L, U)`` with ``L <= printed value < U``."""
        lower, upper = self.intervals([value])[0].tolist()
        return lower, upper

    def intervals(self, values: ArrayLike) -> NDArray[np.float64]:
        """Intervals of ``values`` [n], float64 [n, 2]."""
        return self.tick_intervals(self.ticks(values))

    def tick_intervals(self, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Intervals of whole ticks [n], float64 [n, 2]."""
        lower = self.lower_ticks(ticks)
        return self.from_ticks(np.stack([lower, lower + self.bin_ticks], axis=-1))  # [n, 2]

    def bound_texts(self, lower: int) -> tuple[str, str]:
        """Both bounds in print, such as ``("-5.0", "-4.5")``, from the lower one in ticks."""
        step = 10 ** max(0, self.decimals - self.bound_decimals)
        return (
            _fixed_point(lower // step, self.bound_decimals),
            _fixed_point((lower + self.bin_ticks) // step, self.bound_decimals),
        )

    def whole_bins(self, low: float, high: float) -> NDArray[np.int64]:
        """Every printable number from ``low`` to ``high``, stretched to whole intervals, in ticks, ascending.

        Raises
        ------
        ValueError : if ``low > high``, a bound cannot be printed, or there are more than ``10**6`` numbers.
        """
        if low > high:
            raise ValueError(f"{self.name}: the range ({low}, {high}) is empty; give the lower bound first")
        first, last = self.lower_ticks(self.ticks([low, high])).tolist()
        if last - first > _MAX_ANSWERS:
            raise ValueError(
                f"{self.name}: more than {_MAX_ANSWERS} numbers lie between {low} and {high} {self.unit}; "
                "look for an outlier in the labels"
            )
        return np.arange(first, last + self.bin_ticks, dtype=np.int64)

    def from_measured(self, values: ArrayLike) -> NDArray[np.float64]:
        """Measured values [n] on the printed scale, float64 [n]: their log10 if the format says so.

        Raises
        ------
        ValueError : if a logarithm is asked of a value that is not positive.
        """
        array = np.asarray(values, dtype=np.float64)
        if not self.log10:
            return array
        bad = np.flatnonzero(~(array > 0))
        if len(bad):
            raise ValueError(
                f"{self.name}: value {array.flat[bad[0]]} at position {bad[0]} has no logarithm; remove the "
                f"rows whose value is not positive ({len(bad)} of {array.size})"
            )
        return np.log10(array)


def _fixed_point(ticks: int, decimals: int) -> str:
    sign = "-" if ticks < 0 else "+"
    whole, fraction = divmod(abs(ticks), 10**decimals)
    return f"{sign}{whole}.{fraction:0{decimals}d}" if decimals else f"{sign}{whole}"


_MINUS_SIGNS = dict.fromkeys(map(ord, "\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d"), "-")
_TIMES_TEN = re.compile(r"(?<=[\d.])\s*[xX*\u00d7\u00b7]\s*10\s*\^\s*([+-]?\d+)")
# A number stands alone: not inside a word (H2O), not part of 1.2.3, 4,73 or 3-4. Its unit may follow at once.
NUMBER = r"(?<![\w.,+\-])(?:[+-][ ]?)?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?!(?!kcal\b|nm\b|ns\b)\w|[.,]\d)"
_NUMBER = re.compile(NUMBER)


def normalise_numbers(text: str) -> str:
    """Write every minus sign (U+2212 and dashes) as ASCII and ``x 10^n`` as an exponent."""
    return _TIMES_TEN.sub(r"e\1", text.translate(_MINUS_SIGNS))


def read_number(text: str) -> float:
    """The value of one match of :data:`NUMBER`."""
    return float(text.replace(" ", ""))


def find_numbers(text: str) -> list[float]:
    """Numbers of a normalised text in order: integers, decimals and exponents, signed or not."""
    return [read_number(match.group()) for match in _NUMBER.finditer(text)]
