"""The rows of preference training: a history, the item that came next, the items it is preferred to.

Letters: N rows, M items of a pool, C candidates of a prompt, I items.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.errors import DataError
from data_prep.files import existing
from graphrec.histories import Histories, Integers
from graphrec.llara.matching import plain_title
from graphrec.sdpo.config import SDPOConfig
from graphrec.sdpo.pools import drawn_pools, shown_lists, title_numbers
from graphrec.sequential.examples import spans

_ROWS = 0x5D92
"""Keeps this draw apart from others of the same seed."""


@dataclass(frozen=True)
class PreferenceRows:
    """N rows.

    Attributes:
        histories: items that a prompt shows, oldest first, N rows.
        targets: the item that came next, ``[N]``.
        pools: what it is preferred to, ``[N, M]``.
        shown: candidates of the prompt in their order, ``[N, C]``.
        left_out: released rows that could not be used.
    """

    histories: Histories
    targets: Integers
    pools: Integers
    shown: Integers
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.targets)

    @cached_property
    def titles(self) -> Integers:
        """Target, then pool: everything a reference scores, ``[N, 1 + M]``."""
        return np.concatenate([self.targets[:, None], self.pools], axis=1)

    @cached_property
    def lists(self) -> list[list[int]]:
        """The histories as lists."""
        return self.histories.lists()

    def digest(self) -> str:
        """A hash of all rows."""
        parts = (self.histories.items, self.histories.ends, self.titles, self.shown)
        return hashlib.sha256(b"|".join(part.astype(np.int64).tobytes() for part in parts)).hexdigest()[:16]


def cut_rows(
    sequences: Histories, titles: Sequence[str], length: int, config: SDPOConfig, seed: int
) -> PreferenceRows:
    """Every item but the first of each sequence as a target, or so many of them as are asked for.

    Args:
        sequences: the fitted part.
        titles: of every item, I of them.
        length: items that a prompt shows.
    """
    places = np.flatnonzero(sequences.positions >= 1)
    if config.rows is not None and config.rows < len(places):
        places = np.sort(np.random.default_rng([_ROWS, seed]).permutation(places)[: config.rows])
    begins = places - sequences.positions[places]
    seen, targets = spans(sequences, begins, places), sequences.items[places]
    numbers = title_numbers(titles)
    weights = None
    if config.negatives == "popular":
        weights = np.bincount(sequences.items, minlength=len(titles)).clip(min=1).astype(np.float64)
    pools = drawn_pools(targets, seen, numbers, config.pool, seed=seed, weights=weights)
    listed = pools
    if config.negatives != "shown":  # prompts that list candidates list others than are rejected
        listed = drawn_pools(targets, seen, numbers, config.pool, seed=seed + 1)
    return PreferenceRows(seen.last(length), targets, pools, shown_lists(targets, listed, seed=seed))


def released_rows(path: str | Path, titles: Sequence[str], length: int) -> PreferenceRows:
    """Rows as the authors of S-DPO published them: titles of a history, of 20 candidates, and the true one.

    Rows that name an artist by a title that the catalogue does not have are left out, and counted.

    Args:
        path: a JSON list of ``{historyList, itemList, trueSelection}``; a history may be joined by "::".

    Raises:
        DataError: the file is of another kind, its lists differ in length, or no row can be used.
    """
    path = Path(path)
    content = _content(path)
    numbers = {plain_title(title): number for number, title in enumerate(titles)}
    histories, targets, lists = [], [], []
    for place, row in enumerate(content):
        try:
            named = [_titles(row["historyList"]), _titles(row["itemList"]), [row["trueSelection"]]]
        except (KeyError, TypeError) as error:
            raise DataError(f"{path} row {place} lacks {error}. Name a file of S-DPO's rows.") from error
        known = [[numbers.get(plain_title(title), -1) for title in part] for part in named]
        if min(min(part, default=-1) for part in known) < 0:
            continue
        history, candidates, (target,) = known
        if candidates.count(target) != 1:
            raise DataError(f"{path} row {place}: the true item must be listed once. Mend the file.")
        histories.append(history[-length:])
        targets.append(target)
        lists.append(candidates)
    if not targets or len({len(part) for part in lists}) > 1:
        raise DataError(f"{path}: no row is known here, or lists differ in length. Name another file.")
    shown, true = np.array(lists, dtype=np.int64), np.array(targets, dtype=np.int64)
    pools = shown[shown != true[:, None]].reshape(len(true), -1)
    left_out = len(content) - len(true)
    return PreferenceRows(Histories.from_lists(histories), true, pools, shown, left_out)


def _content(path: Path) -> list[Mapping[str, Any]]:
    existing(path, mend="Name the file that S-DPO's authors published.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid JSON ({error}). Fetch it again.") from error
    if not isinstance(content, list):
        raise DataError(f"{path} is no list of rows. Name a file of S-DPO's rows.")
    return content


def _titles(given: str | Sequence[str]) -> list[str]:
    return given.split("::") if isinstance(given, str) else list(given)
