"""Who trains, who validates, who tests: seeded split rules over pairs, and assignments read from a file.

Molecules and groups are numbered; parts are the strings train, valid, test and none. Rules: random over pairs
(stratified by class), unseen molecules (cold-1 and cold-2, the inductive settings of the drug interaction
literature), scaffold of molecule a (Bemis & Murcko, J. Med. Chem. 1996) and hold-out of molecule b.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from data_prep.errors import DataError
from data_prep.records import PARTS, UNUSED

METHODS = ("random", "cold-1", "cold-2", "scaffold", "solvent")
LARGE_GROUP = 0.05  # groups with a larger share of the rows always train
Fractions = tuple[float, float, float]


@dataclass(frozen=True)
class SplitPlan:
    """How pairs are divided.

    ``method`` is one of :data:`METHODS`, ``column`` (a column of the source), ``file`` (a stored assignment)
    or ``published`` (the source's own parts). ``fractions`` are the shares of train, valid and test.
    """

    method: str = "random"
    seed: int = 0
    fractions: Fractions = (0.8, 0.1, 0.1)
    column: str | None = None
    file: Path | None = None

    def __post_init__(self) -> None:
        choices = (*METHODS, "column", "file", "published")
        if self.method not in choices:
            raise DataError(f"There is no split {self.method!r}; choose one of {', '.join(choices)}.")
        if len(self.fractions) != 3 or min(self.fractions) < 0 or abs(sum(self.fractions) - 1) > 1e-6:
            raise DataError(f"Split fractions must be three shares that add up to 1, got {self.fractions}.")
        if (self.method == "file") != (self.file is not None):
            raise DataError("A stored split needs both --split file and --split-file.")
        if self.method in ("file", "column") and not self.column:
            raise DataError("Name the column that holds train, valid, test or none (--split-column).")

    @property
    def given(self) -> bool:
        """The assignment is read, not drawn."""
        return self.method in ("column", "file", "published")


def draw_split(plan: SplitPlan, pairs: PairColumns) -> np.ndarray:
    """Part of every row for a drawn split, object [R]."""
    if plan.method == "random":
        return random_split(pairs.group, pairs.stratum, fractions=plan.fractions, seed=plan.seed)
    if plan.method in ("cold-1", "cold-2"):
        unseen = int(plan.method[-1])
        return cold_split(pairs.mol_a, pairs.mol_b, unseen=unseen, fractions=plan.fractions, seed=plan.seed)
    grouping = pairs.scaffold_a if plan.method == "scaffold" else pairs.mol_b
    return group_split(grouping, fractions=plan.fractions, seed=plan.seed)


@dataclass(frozen=True)
class PairColumns:
    """What the split rules look at; all [R]."""

    mol_a: np.ndarray
    mol_b: np.ndarray
    group: np.ndarray  # number of the pair: rows of one group never part
    stratum: np.ndarray | None  # class of the row, or None for numbers
    scaffold_a: np.ndarray  # scaffold string of molecule a

    @classmethod
    def of(
        cls,
        mol_a: np.ndarray,
        mol_b: np.ndarray,
        scaffold: np.ndarray,
        *,
        same_roles: bool,
        classes: np.ndarray | None,
    ) -> PairColumns:
        """Columns for R rows; where both molecules have one role, (a, b) and (b, a) form one group.

        Then "molecule a" of the scaffold rule is the one with the smaller number, so that no pair straddles
        parts.
        """
        first, second = (np.minimum(mol_a, mol_b), np.maximum(mol_a, mol_b)) if same_roles else (mol_a, mol_b)
        code = first.astype(np.int64) * (int(max(mol_a.max(), mol_b.max())) + 1 if len(mol_a) else 1) + second
        group = np.unique(code, return_inverse=True)[1]
        return cls(mol_a, mol_b, group, classes, scaffold[first])


def random_split(
    group: np.ndarray, stratum: np.ndarray | None, *, fractions: Fractions, seed: int
) -> np.ndarray:
    """Random over groups, within each class where classes are given; a group counts for its rarest class."""
    groups = np.unique(group)
    strata = np.zeros(len(groups), np.int64) if stratum is None else _rarest_class(group, stratum)
    rng = np.random.default_rng(seed)
    part_of_group = np.empty(len(groups), dtype=object)
    for value in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == value))
        for part, chosen in zip(PARTS, np.split(members, _cuts(len(members), fractions)), strict=True):
            part_of_group[chosen] = part
    return part_of_group[np.searchsorted(groups, group)]


def _rarest_class(group: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """For each group, in sorted order, the class among its rows that has the fewest rows overall."""
    classes, code, count = np.unique(stratum, return_inverse=True, return_counts=True)
    order = np.lexsort((classes[code], count[code], group))
    first = np.unique(group[order], return_index=True)[1]
    return code[order][first]


def cold_split(
    mol_a: np.ndarray, mol_b: np.ndarray, *, unseen: int, fractions: Fractions, seed: int
) -> np.ndarray:
    """Divide molecules, not pairs. Train: both molecules train.

    ``unseen=1``: one molecule of the part, the other of train; ``unseen=2``: both of the part. Every other
    pair is ``none``."""
    molecules = np.unique(np.concatenate([mol_a, mol_b]))
    shuffled = np.random.default_rng(seed).permutation(len(molecules))
    home = np.empty(len(molecules), np.int64)  # 0 train, 1 valid, 2 test
    for code, chosen in enumerate(np.split(shuffled, _cuts(len(molecules), fractions))):
        home[chosen] = code
    home_a, home_b = home[np.searchsorted(molecules, mol_a)], home[np.searchsorted(molecules, mol_b)]
    low, high = np.minimum(home_a, home_b), np.maximum(home_a, home_b)
    parts = np.full(len(mol_a), UNUSED, dtype=object)
    parts[high == 0] = "train"
    for code in (1, 2):
        parts[(high == code) & (low == (0 if unseen == 1 else code))] = PARTS[code]
    return parts


def group_split(grouping: np.ndarray, *, fractions: Fractions, seed: int) -> np.ndarray:
    """Whole groups go to one part; those with more than 5 % of the rows train.

    The others, in seeded order, fill test, then valid, as long as they fit; the rest trains."""
    groups, code, sizes = np.unique(grouping, return_inverse=True, return_counts=True)
    total = len(grouping)
    room = {"test": round(total * fractions[2]), "valid": round(total * fractions[1])}
    part_of_group = np.full(len(groups), "train", dtype=object)
    for group in np.random.default_rng(seed).permutation(len(groups)):
        if sizes[group] > LARGE_GROUP * total:
            continue
        fits = next((part for part, free in room.items() if sizes[group] <= free), None)
        if fits is not None:
            part_of_group[group] = fits
            room[fits] -= int(sizes[group])
    return part_of_group[code]


def _cuts(count: int, fractions: Fractions) -> list[int]:
    """Where to cut ``count`` shuffled things: valid and test are rounded, train takes the rest."""
    valid = round(count * fractions[1])
    test = min(round(count * fractions[2]), count - valid)
    return [count - valid - test, count - test]


def check_parts(parts: pl.Series, where: str) -> pl.Series:
    """A given split column with only the four part names; empty cells become none."""
    clean = parts.str.strip_chars().str.to_lowercase().fill_null(UNUSED).replace("", UNUSED)
    allowed = (*PARTS, UNUSED)
    wrong = clean.filter(~clean.is_in(allowed))
    if len(wrong):
        raise DataError(
            f"{where} holds {wrong[0]!r} ({len(wrong)} rows are wrong); use {', '.join(allowed)}."
        )
    return clean
