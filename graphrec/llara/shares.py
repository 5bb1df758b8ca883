"""How many batches of a run were hybrid: counted over the draws themselves, so that a resumed run agrees."""

from __future__ import annotations

from collections.abc import Callable


class DrawnShare:
    """Share of hybrid batches up to a step.

    Args:
        is_hybrid: whether the batch of a step, from 0, is hybrid; the same at every call.
    """

    def __init__(self, is_hybrid: Callable[[int], bool]) -> None:
        self._is_hybrid = is_hybrid
        self._counted = self._hybrid = 0

    def until(self, steps: int) -> float:
        """Share among the first so many batches; 0 of none. Draws that were counted are not repeated."""
        if steps < self._counted:
            self._counted = self._hybrid = 0
        for step in range(self._counted, steps):
            self._hybrid += self._is_hybrid(step)
        self._counted = steps
        return self._hybrid / steps if steps else 0.0
