"""The items that a recommender ranks: their ids, titles and groups. Inside, items are plain numbers."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

import numpy as np

from graphrec.histories import Histories, Integers

ItemId = str | int


class UnknownItemError(ValueError):
    """An id that the catalogue does not have; the message names its row, itself and what to do."""


@dataclass(frozen=True)
class Catalogue:
    """I items, numbered 0 to I - 1.

    Attributes:
        item_ids: the ids of the user's data, as text, I of them; item n is ``item_ids[n]``.
        titles: what an item is called, None where that is not known; empty when no title is known.
        groups: kind of group (genre, ...) -> the groups of each item.
    """

    item_ids: Sequence[str]
    titles: Sequence[str | None] = ()
    groups: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.item_ids):
            raise ValueError("a catalogue needs at least one item")
        for name, values in {"titles": self.titles, **self.groups}.items():
            if len(values) not in (len(self.item_ids), 0 if name == "titles" else -1):
                raise ValueError(f"{name}: {len(values)} entries for {len(self.item_ids)} items")

    def __len__(self) -> int:
        return len(self.item_ids)

    def title(self, number: int) -> str | None:
        """What item ``number`` is called."""
        return self.titles[number] if len(self.titles) else None

    @cached_property
    def _numbers(self) -> dict[str, int]:
        numbers = {item_id: number for number, item_id in enumerate(self.item_ids)}
        if len(numbers) != len(self.item_ids):
            twice = next(i for n, i in enumerate(self.item_ids) if numbers[i] != n)
            raise ValueError(f"item id {twice!r} stands in the catalogue twice; ids must differ")
        return numbers

    def known(self, item_id: ItemId) -> bool:
        """Whether the catalogue has an id."""
        return str(item_id) in self._numbers

    def numbers(self, item_ids: Sequence[ItemId], *, row: int | None = None) -> Integers:
        """Item numbers of ids, ``[n]``; ids are compared as text, so 12 is "12".

        Args:
            row: of the caller's list, for the message.

        Raises:
            UnknownItemError: an id is not in the catalogue.
        """
        try:
            return self._found(item_ids, len(item_ids))
        except KeyError as error:
            raise self._unknown(error.args[0], row) from None

    def _found(self, item_ids: Iterable[ItemId], count: int) -> Integers:
        return np.fromiter(map(self._numbers.__getitem__, map(str, item_ids)), dtype=np.int64, count=count)

    def _unknown(self, item_id: str, row: int | None) -> UnknownItemError:
        place = "" if row is None else f"row {row}: "
        near = difflib.get_close_matches(item_id, self.item_ids, n=1) if len(self) <= 20_000 else []
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return UnknownItemError(
            f"{place}item {item_id!r} is not among the {len(self)} items of the catalogue (the first is "
            f"{self.item_ids[0]!r}).{hint} Leave it out, or ask to skip unknown ids of "
            "histories (unknown='skip', --skip-unknown)."
        )

    def histories(self, rows: Sequence[Sequence[ItemId]], *, skip_unknown: bool = False) -> Histories:
        """Histories of ids as item numbers; ids that are not known are errors, or left out.

        Raises:
            UnknownItemError: an id is not in the catalogue.
            ValueError: a row is one id, not a list of ids.
        """
        for number, row in enumerate(rows):
            if isinstance(row, str | bytes | int):  # letters of a text would be taken for ids
                raise ValueError(f"row {number}: {row!r} is no list of item ids; give one list for each row")
        if skip_unknown:
            rows = [[i for i in row if self.known(i)] for row in rows]
        lengths = [len(row) for row in rows]
        try:
            found = self._found(chain.from_iterable(rows), sum(lengths))
        except KeyError:
            found = np.concatenate([self.numbers(row, row=number) for number, row in enumerate(rows)])
        return Histories.from_lengths(found, lengths)
