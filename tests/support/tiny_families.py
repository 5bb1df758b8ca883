"""Tables of every family over the molecules of :mod:`tiny_pairs`, built as ``data-prep`` builds them.

Answers follow simple rules, so that a tiny model can learn them: what two drugs do to each other depends on
which of them are aromatic, a number is a sum of one share per molecule, a text says of what kind a molecule
is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations, product
from pathlib import Path

import numpy as np
import polars as pl
from tiny_pairs import KINDS, SHARE, SMILES, SPLITS

from data_prep.build import BuildOptions, build_pairs
from data_prep.molecules import featurise
from data_prep.records import FAMILIES, UNITS, RawPairs, SourceFile, TypedClass, raw_frame
from data_prep.splits import SplitPlan

CLASSES = (
    TypedClass("{a} may raise the level of {b}.", symmetric=False),
    TypedClass("{a} may slow down how {b} leaves the body.", symmetric=False),
    TypedClass("{a} and {b} may both make the reader sleepy.", symmetric=True),
)
EFFECTS = ("nausea", "a dry mouth")
TEXTS = tuple(f"It is a kind of {kind}." for kind in KINDS)
AROMATIC = np.array(["c1" in smiles for smiles in SMILES])
SHARES = np.array(SHARE)


@dataclass(frozen=True)
class Rows:
    """The rows of a table: pairs [n, 2] of molecules ([n, 1] for one), and what is asked and answered."""

    family: str
    property: str
    molecules: np.ndarray
    labels: np.ndarray | None = None
    queries: Sequence[str] | None = None
    texts: Sequence[str] | None = None
    classes: tuple[TypedClass, ...] = ()


def typed() -> Rows:
    """16 pairs of each class: an aromatic drug raises, an aromatic one is slowed, two alike make sleepy."""
    pairs = np.array(list(permutations(range(len(SMILES)), 2)))
    a, b = AROMATIC[pairs].T
    labels = np.where(a == b, 2, np.where(a, 0, 1))
    kept = np.concatenate([np.flatnonzero(labels == label)[:16] for label in range(3)])
    return Rows("typed-ddi", "interaction type", pairs[kept], labels[kept].astype(float), classes=CLASSES)


def side_effects() -> Rows:
    """24 pairs, each asked about two effects: one comes of two alike, the other of two that differ."""
    pairs = np.repeat(np.array(list(combinations(range(len(SMILES)), 2)))[::-1][:24], 2, axis=0)
    alike = AROMATIC[pairs[:, 0]] == AROMATIC[pairs[:, 1]]
    first = np.arange(48) % 2 == 0
    queries = [EFFECTS[n % 2] for n in range(48)]
    return Rows("side-effect", "side effect", pairs, (alike == first).astype(float), queries=queries)


def numbers(family: str, property: str) -> Rows:
    """Eight solutes (chromophores) in six solvents."""
    pairs = np.array(list(product(range(8), (0, 1, 8, 9, 10, 11))))
    total = SHARES[pairs].sum(axis=1)
    labels = {"absorption": 400 + 20 * total, "lifetime": 10**total, "solvation free energy": total - 2.0}
    return Rows(family, property, pairs, labels[property])


def captions() -> Rows:
    return Rows("caption", "caption", np.arange(len(SMILES))[:, None], texts=TEXTS)


def molecules(family: str, property: str) -> Rows:
    """Each molecule four times: a number of its own, or whether it is aromatic."""
    which = np.arange(4 * len(SMILES)) % len(SMILES)
    labels = AROMATIC.astype(float) if family == "molecule-class" else SHARES
    return Rows(family, property, which[:, None], labels[which])


def descriptions() -> Rows:
    """48 ordered pairs; what is said of them are the texts of their molecules."""
    return Rows("description", "description", np.array(list(permutations(range(12), 2)))[::2][:48])


ROWS = {
    "typed-ddi": typed,
    "side-effect": side_effects,
    "absorption": lambda: numbers("chromophore", "absorption"),
    "lifetime": lambda: numbers("chromophore", "lifetime"),
    "measured": lambda: numbers("solvation", "solvation free energy"),
    "solubility": lambda: molecules("molecule-property", "log solubility"),
    "barrier": lambda: molecules("molecule-class", "blood-brain barrier"),
    "caption": captions,
    "description": descriptions,
}
"""Name of a table -> its rows; "measured" is a second data set of solvation free energies."""


def write_table(folder: Path, name: str) -> Path:
    """Build the table ``name`` of :data:`ROWS`; two thirds of its rows are for training."""
    rows = ROWS[name]()
    count = len(rows.molecules)
    order = np.random.default_rng(3).permutation(count)
    split = np.empty(count, dtype=object)
    split[order] = np.repeat(["train", "valid", "test"], [count - 2 * (count // 6), count // 6, count // 6])
    sides = [[SMILES[m] for m in column] for column in rows.molecules.T]
    frame = raw_frame(
        smiles_a=sides[0],
        smiles_b=sides[1] if len(sides) > 1 else None,
        label=rows.labels,
        property=rows.property,
        unit=UNITS.get(rows.property),
        source="tiny.csv",
        query=rows.queries,
        text=rows.texts,
        split=split.tolist(),
    )
    raw = RawPairs(
        FAMILIES[rows.family],
        f"tiny-{name}",
        frame,
        [],
        [SourceFile("tiny.csv", "0" * 64, count)],
        classes=rows.classes,
        property_texts=dict(zip(canonical(), TEXTS, strict=True)),
    )
    options = BuildOptions(split=SplitPlan(method="published"), workers=1, progress=False)
    build_pairs(raw, folder, options)
    return folder


def canonical() -> list[str]:
    """The SMILES as tables hold them."""
    table = featurise(SMILES, workers=1, progress=False).table
    return table.smiles.tolist()


def write_typed_csv(folder: Path) -> tuple[Path, Path]:
    """The typed pairs and their sentences as files of a user: ``pairs.csv`` and ``classes.csv``."""
    rows = typed()
    order = np.random.default_rng(3).permutation(len(rows.molecules))
    pairs = rows.molecules[order]
    assert rows.labels is not None
    table = {"a": [SMILES[m] for m in pairs[:, 0]], "b": [SMILES[m] for m in pairs[:, 1]]}
    pl.DataFrame(table | {"type": rows.labels[order].astype(int), "part": SPLITS}).write_csv(
        folder / "pairs.csv"
    )
    sentences = {
        "class": range(len(CLASSES)),
        "text": [one.text for one in CLASSES],
        "symmetric": [int(one.symmetric) for one in CLASSES],
    }
    pl.DataFrame(sentences).write_csv(folder / "classes.csv")
    return folder / "pairs.csv", folder / "classes.csv"
