"""A short property text for every molecule: the user's own where given, computed otherwise.

Computed facts follow from the structure alone, so they cannot leak a label. The user's texts pass a filter: a
sentence that speaks of interactions, or names another molecule of the set, is cut and counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from rdkit import Chem
from rdkit.Chem import Crippen, Descriptors, rdMolDescriptors

from data_prep.errors import DataError
from data_prep.tables import column_of, read_table

MAX_GROUPS = 4
MAX_WORDS = 30
_LEAKING_WORDS = re.compile(r"interact|contraindicat|concomitant", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")

# Ordered from the most telling to the most common; the first ones that match are named.
FUNCTIONAL_GROUPS = {
    "carboxylic acid": "[CX3](=O)[OX2H1]",
    "carboxylate": "[CX3](=O)[O-]",
    "anhydride": "[CX3](=O)[OX2][CX3](=O)",
    "sulfonamide": "[SX4](=O)(=O)[NX3]",
    "sulfone": "[#6][SX4](=O)(=O)[#6]",
    "phosphate": "[PX4](=O)([OX2,O-])([OX2,O-])[OX2,O-]",
    "nitro": "[NX3+](=O)[O-]",
    "nitrile": "[CX2]#[NX1]",
    "urea": "[NX3][CX3](=O)[NX3]",
    "amide": "[#6,#1][CX3](=O)[NX3]",
    "ester": "[#6,#1][CX3](=O)[OX2][#6]",
    "aldehyde": "[CX3H1](=O)[#6,#1]",
    "ketone": "[#6][CX3](=O)[#6]",
    "phenol": "[OX2H]c",
    "alcohol": "[OX2H][CX4]",
    "thiol": "[SX2H][#6]",
    "ammonium": "[NX4+]",
    "amine": "[NX3;!$(N[C,S,P]=[O,S,N]);!$(N=*);!$(N#*)][#6]",
    "pyridine-type nitrogen": "[nX2]",
    "ether": "[OD2]([#6;!$(C=O)])[#6;!$(C=O)]",
    "thioether": "[SX2]([#6])[#6]",
    "halide": "[F,Cl,Br,I][#6]",
    "alkyne": "[CX2]#[CX2]",
    "alkene": "[CX3]=[CX3]",
}


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[str, Chem.Mol], ...]:
    return tuple((name, Chem.MolFromSmarts(smarts)) for name, smarts in FUNCTIONAL_GROUPS.items())


def functional_groups(mol: Chem.Mol, limit: int = MAX_GROUPS) -> list[str]:
    """Names of at most ``limit`` functional groups, the most telling first."""
    found: list[str] = []
    for name, pattern in _patterns():
        if len(found) == limit:
            break
        if mol.HasSubstructMatch(pattern):
            found.append(name)
    return found


def describe(mol: Chem.Mol) -> str:
    """At most 30 words: weight (g/mol), Crippen logP, TPSA (square angstrom), counts, charge, groups."""
    donors, acceptors = rdMolDescriptors.CalcNumHBD(mol), rdMolDescriptors.CalcNumHBA(mol)
    rotatable, rings = rdMolDescriptors.CalcNumRotatableBonds(mol), rdMolDescriptors.CalcNumRings(mol)
    facts = [
        f"weight {_fixed(Descriptors.MolWt(mol))}",
        f"logP {_fixed(Crippen.MolLogP(mol))}",
        f"TPSA {_fixed(rdMolDescriptors.CalcTPSA(mol))}",
        _count(donors, "donor"),
        _count(acceptors, "acceptor"),
        _count(rotatable, "rotatable bond"),
        _count(rings, "ring"),
        f"{rdMolDescriptors.CalcNumAromaticRings(mol)} aromatic",
        f"charge {Chem.GetFormalCharge(mol)}",
    ]
    groups = ", ".join(functional_groups(mol)) or "no common group"
    return f"{', '.join(facts)}; {groups}"


def _fixed(value: float) -> str:
    return f"{round(value, 1) + 0.0:.1f}"  # + 0.0 turns -0.0 into 0.0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@dataclass(frozen=True)
class PropertyTexts:
    """Texts supplied by the user, keyed by canonical SMILES or InChIKey, after the leakage filter."""

    texts: Mapping[str, str] = field(default_factory=dict)
    rows: int = 0
    sentences_cut: int = 0
    emptied: int = 0

    @classmethod
    def from_csv(cls, path: Path) -> PropertyTexts:
        """Read columns ``text`` and ``key`` (InChIKey) or ``smiles``; a ``name`` column serves the filter."""
        frame = read_table(path).frame
        by_key = "key" in frame.columns
        keys = column_of(frame, "key" if by_key else "smiles", path).to_list()
        if not by_key:
            keys = [_canonical(smiles, row, path) for row, smiles in enumerate(keys)]
        texts = column_of(frame, "text", path).fill_null("").to_list()
        names = frame["name"].to_list() if "name" in frame.columns else [None] * len(keys)
        repeated = len(keys) - len(set(keys))
        if repeated:
            raise DataError(f"{path}: {repeated} molecules have more than one row; keep one text for each.")
        kept, cut = filter_texts(texts, names)
        pairs = {key: text for key, text in zip(keys, kept, strict=True) if text}
        return cls(pairs, rows=len(keys), sentences_cut=cut, emptied=len(keys) - len(pairs))

    def apply(self, smiles: np.ndarray, keys: np.ndarray, computed: np.ndarray) -> tuple[np.ndarray, dict]:
        """The user's text where there is one, else the computed one [M]; and the counts for the report."""
        chosen = [
            self.texts.get(one, self.texts.get(key, "")) or fallback
            for one, key, fallback in zip(smiles, keys, computed, strict=True)
        ]
        supplied = sum(one in self.texts or key in self.texts for one, key in zip(smiles, keys, strict=True))
        counts = {
            "supplied": supplied,
            "computed": len(chosen) - supplied,
            "rows_in_file": self.rows,
            "sentences_cut": self.sentences_cut,
            "texts_left_empty": self.emptied,
            f"texts_over_{MAX_WORDS}_words": sum(len(text.split()) > MAX_WORDS for text in chosen),
        }
        return np.array(chosen, dtype=object), counts


def filter_texts(texts: Sequence[str], names: Sequence[str | None]) -> tuple[list[str], int]:
    """Cut sentences on interactions or that name another molecule of the set; texts and sentences cut."""
    known = {name.lower() for name in names if name}
    longest_first = sorted(known, key=len, reverse=True)
    mention = (
        re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b", re.IGNORECASE) if known else None
    )
    kept, cut = [], 0
    for text, name in zip(texts, names, strict=True):
        sentences = [sentence for sentence in _SENTENCE_END.split(" ".join(text.split())) if sentence]
        own = (name or "").lower()
        clean = [sentence for sentence in sentences if not _leaks(sentence, own, mention)]
        cut += len(sentences) - len(clean)
        kept.append(" ".join(clean))
    return kept, cut


def _leaks(sentence: str, own: str, mention: re.Pattern[str] | None) -> bool:
    if _LEAKING_WORDS.search(sentence):
        return True
    return mention is not None and any(found.lower() != own for found in mention.findall(sentence))


def _canonical(smiles: str | None, row: int, path: Path) -> str:
    mol = Chem.MolFromSmiles(smiles or "")
    if mol is None or not mol.GetNumAtoms():
        raise DataError(f"{path} row {row}: {smiles!r} is not a molecule; mend the SMILES or remove the row.")
    return Chem.MolToSmiles(mol)
