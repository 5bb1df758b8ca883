"""What goes wrong with data, and how it is told: an error stops the command, a reject leaves out one row."""

from __future__ import annotations

from typing import NamedTuple


class DataError(ValueError):
    """A problem the user can mend; the message names the place, the value and the mend."""


class Reject(NamedTuple):
    """One row that was left out.

    ``kind`` is the short class of reason that the report counts by, ``reason`` the full sentence with its
    detail.
    """

    row: int  # 0-based data row of the source, or position in the list that was passed
    value: str
    kind: str
    reason: str
    source: str = ""

    def __str__(self) -> str:
        place = f"{self.source} row {self.row}" if self.source else f"row {self.row}"
        shown = self.value if len(self.value) <= 80 else f"{self.value[:77]}..."
        return f"{place}: {shown!r}: {self.reason}"
