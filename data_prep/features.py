"""RDKit molecules -> feature rows: few questions per atom and bond, one table look-up per column.

Columns and value lists are those of the Open Graph Benchmark's converter (``ogb.utils.features``), which the
tests hold this file to; the values are written out here because importing that package starts a thread that
asks a server for its latest version. The fourth bond column is the direction of GraphCL and MolCA.

A question to RDKit costs more than the arithmetic around it, so what follows from other columns is computed
(degree), and what few atoms or bonds have is asked of those only (charge, chirality, double-bond stereo).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdqueries
from rdkit.DataStructs import BitVectToBinaryText

from data_prep.graphs import FINGERPRINT_BITS, PackedGraphs


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
_ATOM_LOOKUPS = {
    "atomic number": Lookup(tuple(range(1, 119))),
    "chirality": Lookup(
        _codes(Chem.ChiralType, "CHI_UNSPECIFIED", "CHI_TETRAHEDRAL_CW", "CHI_TETRAHEDRAL_CCW", "CHI_OTHER")
    ),
    "degree": Lookup(tuple(range(11))),
    "formal charge": Lookup(tuple(range(-5, 6))),
    "hydrogens": Lookup(tuple(range(9))),
    "radical electrons": Lookup(tuple(range(5))),
    "hybridisation": Lookup(_codes(Chem.HybridizationType, "SP", "SP2", "SP3", "SP3D", "SP3D2")),
    "aromatic": _FLAG,
    "in ring": _FLAG,
}
_BOND_LOOKUPS = {
    "bond type": Lookup(_codes(Chem.BondType, "SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")),
    "stereo": Lookup(
        _codes(Chem.BondStereo, "STEREONONE", "STEREOZ", "STEREOE", "STEREOCIS", "STEREOTRANS", "STEREOANY"),
        other=5,
    ),
    "conjugated": _FLAG,
    "direction": Lookup(_codes(Chem.BondDir, "NONE", "ENDUPRIGHT", "ENDDOWNRIGHT"), other=0),
}


def _single_atom(query: Chem.QueryAtom) -> Chem.Mol:
    """A pattern of one atom."""
    pattern = Chem.RWMol()
    pattern.AddAtom(Chem.Atom(0))
    pattern.ReplaceAtom(0, query)
    return pattern.GetMol()


def _unusual() -> Chem.Mol:
    """A pattern for atoms with a charge, a radical electron or a chiral tag, or neither SP2 nor SP3."""
    query = Chem.AtomFromSmarts("[!+0,!^2&!^3]")
    for other in (
        rdqueries.NumRadicalElectronsEqualsQueryAtom(0, negate=True),
        rdqueries.HasChiralTagQueryAtom(),
    ):
        query.ExpandQuery(other, how=Chem.CompositeQueryType.COMPOSITE_OR)
    return _single_atom(query)


_SP2, _SP3 = _codes(Chem.HybridizationType, "SP2", "SP3")
_SP2_ATOMS = _single_atom(Chem.AtomFromSmarts("[^2]"))
_UNUSUAL_ATOMS = _unusual()
_ALL_MATCHES = Chem.SubstructMatchParameters()
_ALL_MATCHES.uniquify = False  # a pattern of one atom finds each atom once
_ALL_MATCHES.maxMatches = 1_000_000  # RDKit would stop at 1,000
_OF_EVERY_ATOM: dict[str, Callable[[Chem.Atom], int]] = {
    "atomic number": Chem.Atom.GetAtomicNum,
    "hydrogens": Chem.Atom.GetTotalNumHs,
    "aromatic": Chem.Atom.GetIsAromatic,
    "in ring": Chem.Atom.IsInRing,
}
_OF_UNUSUAL_ATOMS: dict[str, Callable[[Chem.Atom], int]] = {
    "chirality": Chem.Atom.GetChiralTag,
    "formal charge": Chem.Atom.GetFormalCharge,
    "radical electrons": Chem.Atom.GetNumRadicalElectrons,
    "hybridisation": Chem.Atom.GetHybridization,
}
_OF_EVERY_BOND: dict[str, Callable[[Chem.Bond], int]] = {
    "begin": Chem.Bond.GetBeginAtomIdx,
    "end": Chem.Bond.GetEndAtomIdx,
    "bond type": Chem.Bond.GetBondType,
    "conjugated": Chem.Bond.GetIsConjugated,
}
_OF_DIRECTED_BONDS: dict[str, Callable[[Chem.Bond], int]] = {
    "stereo": Chem.Bond.GetStereo,
    "direction": Chem.Bond.GetBondDir,
}


class _Columns(dict[str, array]):
    """Columns of small integers that grow with each molecule."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__((name, array("i")) for name in names)

    def ask(self, getters: dict[str, Callable[[Any], int]], whom: list[Any]) -> None:
        """Append what each getter says of each atom or bond."""
        for name, getter in getters.items():
            self[name].extend(map(getter, whom))

    def numpy(self, name: str) -> np.ndarray:
        """One column, int32."""
        return np.array(self[name], np.int32)


@dataclass
class GraphRows:
    """Atoms, bonds and edges of molecules, raw as RDKit gives them; :meth:`pack` translates them all at once.

    These are the arrays that other converters make too; fingerprints are added by :class:`GraphCollector`.
    """

    node_ptr: list[int] = field(default_factory=lambda: [0])
    bond_ptr: list[int] = field(default_factory=lambda: [0])
    _atoms: _Columns = field(default_factory=lambda: _Columns(_OF_EVERY_ATOM))
    _unusual: _Columns = field(default_factory=lambda: _Columns(["atom", *_OF_UNUSUAL_ATOMS]))
    _sp2: _Columns = field(default_factory=lambda: _Columns(["atom", "count"]))
    _bonds: _Columns = field(default_factory=lambda: _Columns(_OF_EVERY_BOND))
    _directed: _Columns = field(default_factory=lambda: _Columns(["bond", *_OF_DIRECTED_BONDS]))

    def add(self, mol: Chem.Mol, *, directed: bool = True) -> None:
        """Append one sanitised molecule; hydrogens stay implicit.

        ``directed`` may be false for a molecule whose SMILES has neither ``/`` nor ``\\``: its bonds have no
        stereo and no direction.
        """
        self._add_atoms(mol)
        self._add_bonds(mol, directed)

    def _add_atoms(self, mol: Chem.Mol) -> None:
        start = self.node_ptr[-1]
        atoms = list(map(mol.GetAtomWithIdx, range(mol.GetNumAtoms())))
        self._atoms.ask(_OF_EVERY_ATOM, atoms)
        sp2 = mol.GetSubstructMatches(_SP2_ATOMS, _ALL_MATCHES)
        self._sp2["atom"].extend(chain.from_iterable(sp2))
        self._sp2["count"].append(len(sp2))
        if matches := mol.GetSubstructMatches(_UNUSUAL_ATOMS, _ALL_MATCHES):
            found = [atoms[place] for (place,) in matches]
            self._unusual["atom"].extend(start + place for (place,) in matches)
            self._unusual.ask(_OF_UNUSUAL_ATOMS, found)
        self.node_ptr.append(start + len(atoms))

    def _add_bonds(self, mol: Chem.Mol, directed: bool) -> None:
        start = self.bond_ptr[-1]
        bonds = list(map(mol.GetBondWithIdx, range(mol.GetNumBonds())))
        self._bonds.ask(_OF_EVERY_BOND, bonds)
        if directed:
            self._directed["bond"].extend(range(start, start + len(bonds)))
            self._directed.ask(_OF_DIRECTED_BONDS, bonds)
        self.bond_ptr.append(start + len(bonds))

    def pack(self, fingerprint: np.ndarray) -> PackedGraphs:
        """All molecules added so far, in order, with their fingerprints, uint8 [M, 256]."""
        ends = np.stack([self._bonds.numpy("begin"), self._bonds.numpy("end")])  # [2, E / 2]
        bonds = self._bond_columns()
        return PackedGraphs(
            node_ptr=np.array(self.node_ptr, np.int64),
            edge_ptr=2 * np.array(self.bond_ptr, np.int64),
            atoms=_translated(_ATOM_LOOKUPS, self._atom_columns(ends)),
            bonds=np.repeat(_translated(_BOND_LOOKUPS, bonds), 2, axis=0),
            edge_index=np.stack([ends, ends[::-1]], axis=2).reshape(2, -1),
            fingerprint=fingerprint,
        )

    def _atom_columns(self, ends: np.ndarray) -> dict[str, np.ndarray]:
        starts, count = np.array(self.node_ptr[:-1], np.int64), self.node_ptr[-1]
        columns = {name: self._atoms.numpy(name) for name in self._atoms}
        neighbours = np.bincount(
            (ends + np.repeat(starts, np.diff(self.bond_ptr))).ravel(), minlength=count
        )  # [N]
        columns["degree"] = neighbours + columns["hydrogens"]
        columns |= {name: np.zeros(count, np.int32) for name in _OF_UNUSUAL_ATOMS}
        columns["hybridisation"] += _SP3
        sp2 = self._sp2.numpy("atom") + np.repeat(starts, self._sp2.numpy("count"))
        columns["hybridisation"][sp2] = _SP2
        for name in _OF_UNUSUAL_ATOMS:
            columns[name][self._unusual.numpy("atom")] = self._unusual.numpy(name)
        return columns

    def _bond_columns(self) -> dict[str, np.ndarray]:
        columns = {name: self._bonds.numpy(name) for name in ("bond type", "conjugated")}
        for name in _OF_DIRECTED_BONDS:  # 0 stands for none in both
            columns[name] = np.zeros(self.bond_ptr[-1], np.int32)
            columns[name][self._directed.numpy("bond")] = self._directed.numpy(name)
        return columns


def _translated(lookups: dict[str, Lookup], columns: dict[str, np.ndarray]) -> np.ndarray:
    """Raw values to codes, one column each, uint8 [rows, columns]."""
    return np.stack([look_up(columns[name]) for name, look_up in lookups.items()], axis=1)


_MORGAN = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=FINGERPRINT_BITS)


def morgan(mol: Chem.Mol) -> bytes:
    """Morgan bits, radius 2, as RDKit lays them out: 256 bytes, the lowest bit of each first."""
    return BitVectToBinaryText(_MORGAN.GetFingerprint(mol))


def packed_bits(fingerprints: list[bytes]) -> np.ndarray:
    """Fingerprints of :func:`morgan` in ``np.packbits`` order, uint8 [M, 256]."""
    bits = np.frombuffer(b"".join(fingerprints), np.uint8).reshape(-1, FINGERPRINT_BITS // 8)
    return np.packbits(np.unpackbits(bits, axis=1, bitorder="little"), axis=1)


def no_fingerprints(molecules: int) -> np.ndarray:
    """Empty fingerprints for graphs whose readers use none, uint8 [M, 256]."""
    return np.zeros((molecules, FINGERPRINT_BITS // 8), np.uint8)


@dataclass
class GraphCollector:
    """Collects molecules one by one, graph and fingerprint; :meth:`pack` makes arrays of all."""

    rows: GraphRows = field(default_factory=GraphRows)
    fingerprints: list[bytes] = field(default_factory=list)

    def add(self, mol: Chem.Mol, *, directed: bool = True) -> None:
        """Append one sanitised molecule; for ``directed`` see :meth:`GraphRows.add`."""
        self.rows.add(mol, directed=directed)
        self.fingerprints.append(morgan(mol))

    def pack(self) -> PackedGraphs:
        """All molecules added so far, in order."""
        return self.rows.pack(packed_bits(self.fingerprints))
