"""Strings ``solvent.solute``: two SMILES joined by a dot, which also stands between fragments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from rdkit import Chem

from data_prep.errors import Reject
from data_prep.molecules import parse


def split_dot_joined(values: Sequence[str]) -> tuple[list[str], list[str], dict[int, str]]:
    """Solvents and solutes of S joined strings, and for each row that cannot be decided the reason.

    One dot decides by itself, provided the halves parse (which the build checks). With several dots, every
    dot is tried; the string is split when at exactly one of them both halves parse and the left one is a
    solvent of a one-dot row.
    """
    solvents, solutes = [""] * len(values), [""] * len(values)
    trouble: dict[int, str] = {}
    several: list[int] = []
    for row, value in enumerate(values):
        dots = value.count(".")
        if dots == 1:
            solvents[row], _, solutes[row] = value.partition(".")
        elif dots == 0:
            trouble[row] = "no dot between two molecules: expected solvent.solute"
        else:
            several.append(row)
    if several:
        known = {_canonical(solvent) for solvent in set(solvents)} - {""}
        for row in several:
            splits = _possible_splits(values[row], known)
            if len(splits) == 1:
                solvents[row], solutes[row] = splits[0]
            else:
                found = "no split is" if not splits else f"{len(splits)} splits are"
                trouble[row] = (
                    f"several dots and {found} possible with a known solvent: give two columns instead"
                )
    return solvents, solutes, trouble


def _possible_splits(value: str, known: set[str]) -> list[tuple[str, str]]:
    pieces = value.split(".")
    halves = ((".".join(pieces[:cut]), ".".join(pieces[cut:])) for cut in range(1, len(pieces)))
    return [(left, right) for left, right in halves if _canonical(left) in known and _canonical(right)]


@lru_cache(maxsize=4096)
def _canonical(smiles: str) -> str:
    """Canonical SMILES, or "" for what does not parse."""
    mol = parse(smiles)
    return "" if isinstance(mol, Reject) else Chem.MolToSmiles(mol)
