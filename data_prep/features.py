"""RDKit molecules -> feature rows: one pass of getters per molecule, one table look-up per column.

Columns and value lists are those of the Open Graph Benchmark's converter (``ogb.utils.features``), which the
tests hold this file to; the values are written out here because importing that package starts a thread that
asks a server for its latest version. The fourth bond column is the direction of GraphCL and MolCA.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

from data_prep.graphs import ATOM_COLUMNS, BOND_COLUMNS, FINGERPRINT_BITS, PackedGraphs


@dataclass(frozen=True)
class Lookup:
    """Maps a raw value to its place in ``allowed``, any other to ``other`` (default: after the last)."""

    allowed: tuple[int, ...]
    other: int | None = None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        low, high = min(self.allowed) - 1, max(self.allowed) + 1
        other = len(self.allowed) if self.other is None else self.other
        table = np.full(high - low + 1, other, np.uint8)  # first and last entry stand for everything outside
        table[np.array(self.allowed) - low] = np.arange(len(self.allowed))
        return table[np.clip(values, low, high) - low]


def _codes(kind: type, *names: str) -> tuple[int, ...]:
    return tuple(int(getattr(kind, name)) for name in names)


_FLAG = Lookup((0, 1), other=1)
_ATOM_GETTERS = (
    Chem.Atom.GetAtomicNum,
    Chem.Atom.GetChiralTag,
    Chem.Atom.GetTotalDegree,
    Chem.Atom.GetFormalCharge,
    Chem.Atom.GetTotalNumHs,
    Chem.Atom.GetNumRadicalElectrons,
    Chem.Atom.GetHybridization,
    Chem.Atom.GetIsAromatic,
    Chem.Atom.IsInRing,
)
_ATOM_LOOKUPS = (
    Lookup(tuple(range(1, 119))),
    Lookup(
        _codes(Chem.ChiralType, "CHI_UNSPECIFIED", "CHI_TETRAHEDRAL_CW", "CHI_TETRAHEDRAL_CCW", "CHI_OTHER")
    ),
    Lookup(tuple(range(11))),
    Lookup(tuple(range(-5, 6))),
    Lookup(tuple(range(9))),
    Lookup(tuple(range(5))),
    Lookup(_codes(Chem.HybridizationType, "SP", "SP2", "SP3", "SP3D", "SP3D2")),
    _FLAG,
    _FLAG,
)
_BOND_GETTERS = (Chem.Bond.GetBondType, Chem.Bond.GetStereo, Chem.Bond.GetIsConjugated, Chem.Bond.GetBondDir)
_BOND_LOOKUPS = (
    Lookup(_codes(Chem.BondType, "SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")),
    Lookup(
        _codes(Chem.BondStereo, "STEREONONE", "STEREOZ", "STEREOE", "STEREOCIS", "STEREOTRANS", "STEREOANY"),
        other=5,
    ),
    _FLAG,
    Lookup(_codes(Chem.BondDir, "NONE", "ENDUPRIGHT", "ENDDOWNRIGHT"), other=0),
)
_MORGAN = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=FINGERPRINT_BITS)


def _columns(count: int) -> list[array]:
    return [array("h") for _ in range(count)]


@dataclass
class GraphCollector:
    """Collects raw feature values molecule by molecule; :meth:`pack` translates them all at once."""

    node_ptr: list[int] = field(default_factory=lambda: [0])
    edge_ptr: list[int] = field(default_factory=lambda: [0])
    atom_values: list[array] = field(default_factory=lambda: _columns(len(ATOM_COLUMNS)))
    bond_values: list[array] = field(default_factory=lambda: _columns(len(BOND_COLUMNS)))
    begins: array = field(default_factory=lambda: array("i"))
    ends: array = field(default_factory=lambda: array("i"))
    fingerprints: list[np.ndarray] = field(default_factory=list)

    def add(self, mol: Chem.Mol) -> None:
        """Append one sanitised molecule; hydrogens stay implicit."""
        atoms = list(map(mol.GetAtomWithIdx, range(mol.GetNumAtoms())))
        bonds = list(map(mol.GetBondWithIdx, range(mol.GetNumBonds())))
        for values, getter in zip(self.atom_values, _ATOM_GETTERS, strict=True):
            values.extend(map(getter, atoms))
        for values, getter in zip(self.bond_values, _BOND_GETTERS, strict=True):
            values.extend(map(getter, bonds))
        self.begins.extend(map(Chem.Bond.GetBeginAtomIdx, bonds))
        self.ends.extend(map(Chem.Bond.GetEndAtomIdx, bonds))
        self.node_ptr.append(self.node_ptr[-1] + len(atoms))
        self.edge_ptr.append(self.edge_ptr[-1] + 2 * len(bonds))
        self.fingerprints.append(np.packbits(_MORGAN.GetFingerprintAsNumPy(mol)))

    def pack(self) -> PackedGraphs:
        """All molecules added so far, in order."""
        if not self.fingerprints:
            return PackedGraphs.empty()
        atoms = [
            look_up(np.array(values)) for look_up, values in zip(_ATOM_LOOKUPS, self.atom_values, strict=True)
        ]
        bonds = [
            look_up(np.array(values)) for look_up, values in zip(_BOND_LOOKUPS, self.bond_values, strict=True)
        ]
        ends = np.array([self.begins, self.ends], np.int32)  # [2, E / 2]
        return PackedGraphs(
            node_ptr=np.array(self.node_ptr, np.int64),
            edge_ptr=np.array(self.edge_ptr, np.int64),
            atoms=np.stack(atoms, axis=1),
            bonds=np.repeat(np.stack(bonds, axis=1), 2, axis=0),
            edge_index=np.stack([ends, ends[::-1]], axis=2).reshape(2, -1),
            fingerprint=np.stack(self.fingerprints),
        )
