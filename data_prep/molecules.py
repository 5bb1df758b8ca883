"""SMILES -> molecule table: each distinct string is parsed once, each distinct molecule is one row.

A molecule's identity is its RDKit canonical isomeric SMILES; the InChIKey is carried as a content key, and
two rows may share one (tautomers). A table lies in two files, ``molecules.parquet`` and
``graphs.safetensors``, tied by a checksum.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from rdkit import Chem, rdBase
from rdkit.Chem.Scaffolds import MurckoScaffold
from rich.console import Console
from rich.progress import track

from data_prep.errors import DataError, Reject
from data_prep.features import GraphCollector
from data_prep.files import digest_of_lines
from data_prep.graphs import PackedGraphs
from data_prep.properties import describe
from data_prep.tables import read_parquet, write_parquet

MAX_ATOMS = 512
PARALLEL_FROM = 2000  # distinct strings; below that a process pool costs more than it saves
_CHUNK = 500


@dataclass(frozen=True)
class MoleculeTable:
    """M molecules; all columns have length M and the order of ``graphs``."""

    smiles: np.ndarray  # object [M], canonical isomeric SMILES, distinct
    keys: np.ndarray  # object [M], InChIKey, or "SMILES:<sha1>" where InChI has none; "" if graphs only
    scaffold: np.ndarray  # object [M], Bemis-Murcko scaffold, "" if acyclic or graphs only
    num_atoms: np.ndarray  # int32 [M], heavy atoms
    num_fragments: np.ndarray  # int32 [M]
    property_text: np.ndarray  # object [M], "" if graphs only
    graphs: PackedGraphs

    def __len__(self) -> int:
        return len(self.smiles)

    @property
    def sha256(self) -> str:
        """Checksum of the molecules and their order."""
        return digest_of_lines(list(self.smiles), list(self.keys))

    @classmethod
    def from_smiles(cls, smiles: Sequence[str], *, max_atoms: int = MAX_ATOMS) -> MoleculeTable:
        """The distinct molecules by first appearance; a string that is none is a :class:`DataError`."""
        result = featurise(smiles, workers=1, progress=False, max_atoms=max_atoms)
        if result.rejects:
            raise DataError("; ".join(str(reject) for reject in result.rejects[:5]))
        return result.table

    @classmethod
    def concat(cls, parts: Sequence[MoleculeTable]) -> MoleculeTable:
        """Rows of ``parts`` (at least one) one after the other, repeats kept."""
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
        return cls(**columns, graphs=PackedGraphs.concat([part.graphs for part in parts]))

    def take(self, rows: np.ndarray) -> MoleculeTable:
        """The given rows in the given order."""
        columns = {name: getattr(self, name)[rows] for name in _COLUMNS}
        return MoleculeTable(**columns, graphs=self.graphs.take(rows))

    def save(self, folder: Path) -> None:
        """Write ``molecules.parquet`` and ``graphs.safetensors``; a table of graphs only is a DataError."""
        if not all(self.keys):
            raise DataError(
                "This molecule table holds graphs only: featurise with graphs_only=False to save it."
            )
        frame = pl.DataFrame(
            {
                "key": pl.Series(self.keys, dtype=pl.String),
                "smiles": pl.Series(self.smiles, dtype=pl.String),
                "scaffold": pl.Series(self.scaffold, dtype=pl.String),
                "num_atoms": self.num_atoms,
                "num_fragments": self.num_fragments,
                "property_text": pl.Series(self.property_text, dtype=pl.String),
            }
        )
        self.graphs.save(folder / "graphs.safetensors", keys_sha256=self.sha256)
        write_parquet(frame, folder / "molecules.parquet")

    @classmethod
    def load(cls, folder: Path) -> MoleculeTable:
        """Read what :meth:`save` wrote; a missing, damaged or foreign file is a :class:`DataError`."""
        frame, _ = read_parquet(Path(folder) / "molecules.parquet")
        smiles, keys = frame["smiles"].to_numpy(), frame["key"].to_numpy()
        digest = digest_of_lines(list(smiles), list(keys))
        return cls(
            smiles=smiles,
            keys=keys,
            scaffold=frame["scaffold"].to_numpy(),
            num_atoms=frame["num_atoms"].to_numpy(),
            num_fragments=frame["num_fragments"].to_numpy(),
            property_text=frame["property_text"].to_numpy(),
            graphs=PackedGraphs.load(Path(folder) / "graphs.safetensors", keys_sha256=digest),
        )


_COLUMNS = tuple(column.name for column in fields(MoleculeTable))[:-1]


@dataclass(frozen=True)
class Featurised:
    """What became of a list of S strings."""

    table: MoleculeTable
    row_of: np.ndarray  # int64 [S], row of ``table`` for each string, -1 for a rejected one
    rejects: list[Reject]  # ``row`` is the position in the list


def featurise(
    smiles: Sequence[str],
    *,
    workers: int | None = None,
    progress: bool = True,
    graphs_only: bool = False,
    max_atoms: int = MAX_ATOMS,
) -> Featurised:
    """Parse and featurise the distinct strings of ``smiles``; rows keep the order of first appearance.

    Args:
        smiles: SMILES strings, repeats welcome.
        workers: processes; by default one per available core when there are more than 2,000 distinct strings.
            Scripts that use several need the usual ``if __name__ == "__main__"`` guard.
        progress: show a bar on standard error.
        graphs_only: leave out InChIKey, scaffold and property text, which take three times as long as all the
            rest; these columns then hold empty strings, and the table cannot be saved.
        max_atoms: molecules with more heavy atoms are rejected.
    """
    distinct = list(dict.fromkeys(smiles))
    chunks = [distinct[start : start + _CHUNK] for start in range(0, len(distinct), _CHUNK)]
    parts = list(_run(chunks, _worker_count(workers, len(distinct)), progress, graphs_only, max_atoms))
    if not parts:
        parts = [_featurise_chunk([], graphs_only, max_atoms)]
    table, merged_row = merge_tables([part.table for part in parts])
    row_of_string: dict[str, int] = dict.fromkeys(distinct, -1)
    row_of_string.update(zip((s for part in parts for s in part.accepted), merged_row.tolist(), strict=True))
    why = {reject.value: reject for part in parts for reject in part.rejects}
    row_of = np.array([row_of_string[one] for one in smiles], dtype=np.int64)
    rejects = [why[smiles[row]]._replace(row=row) for row in np.flatnonzero(row_of < 0).tolist()]
    return Featurised(table, row_of, rejects)


def merge_tables(parts: Sequence[MoleculeTable]) -> tuple[MoleculeTable, np.ndarray]:
    """A table with each molecule once, and for every row of ``parts``, end to end, its row in that table."""
    stacked = MoleculeTable.concat(parts)
    row_of: dict[str, int] = {}
    rows = np.array([row_of.setdefault(smiles, len(row_of)) for smiles in stacked.smiles], dtype=np.int64)
    first = np.unique(rows, return_index=True)[1]
    return (stacked if len(first) == len(rows) else stacked.take(first)), rows


@dataclass(frozen=True)
class _Chunk:
    accepted: list[str]
    table: MoleculeTable  # a row per accepted string
    rejects: list[Reject]


def _worker_count(workers: int | None, strings: int) -> int:
    if workers is not None:
        return max(1, workers)
    return _cores() if strings > PARALLEL_FROM else 1


def _cores() -> int:
    """Cores this process may use; where the system does not say, all there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(
    chunks: list[list[str]], workers: int, progress: bool, graphs_only: bool, max_atoms: int
) -> Iterator[_Chunk]:
    options = ([graphs_only] * len(chunks), [max_atoms] * len(chunks))
    if workers == 1 or len(chunks) < 2:
        yield from _shown(map(_featurise_chunk, chunks, *options), len(chunks), progress)
        return
    # A fresh interpreter per worker: a fork would inherit the locks of threads that other libraries started.
    with ProcessPoolExecutor(min(workers, len(chunks)), mp_context=get_context("spawn")) as pool:
        yield from _shown(pool.map(_featurise_chunk, chunks, *options), len(chunks), progress)


def _shown(parts: Iterable[_Chunk], total: int, progress: bool) -> Iterable[_Chunk]:
    return track(parts, "molecules", total, console=Console(stderr=True), disable=not progress)


def _featurise_chunk(strings: Sequence[str], graphs_only: bool, max_atoms: int) -> _Chunk:
    collector = GraphCollector()
    accepted: list[str] = []
    rejects: list[Reject] = []
    smiles: list[str] = []
    atoms: list[int] = []
    descriptions: list[Description] = []
    for position, text in enumerate(strings):
        mol = parse(text, max_atoms)
        if isinstance(mol, Reject):
            rejects.append(mol._replace(row=position))
            continue
        accepted.append(text)
        canonical = Chem.MolToSmiles(mol)
        smiles.append(canonical)
        atoms.append(mol.GetNumAtoms())
        descriptions.append(_NOT_DESCRIBED if graphs_only else Description.of(mol, canonical))
        collector.add(mol, directed=has_directions(text))
    table = MoleculeTable(
        smiles=np.array(smiles, dtype=object),
        keys=np.array([one.key for one in descriptions], dtype=object),
        scaffold=np.array([one.scaffold for one in descriptions], dtype=object),
        num_atoms=np.array(atoms, dtype=np.int32),
        num_fragments=np.array([one.count(".") + 1 for one in smiles], dtype=np.int32),
        property_text=np.array([one.property_text for one in descriptions], dtype=object),
        graphs=collector.pack(),
    )
    return _Chunk(accepted, table, rejects)


class Description(NamedTuple):
    """What a molecule is called and told by, beside its graph."""

    key: str
    scaffold: str
    property_text: str

    @classmethod
    def of(cls, mol: Chem.Mol, canonical: str) -> Description:
        """The description of a sanitised molecule with that canonical SMILES."""
        return cls(content_key(mol, canonical), scaffold_of(mol), describe(mol))


_NOT_DESCRIBED = Description("", "", "")


def parse(text: str, max_atoms: int = MAX_ATOMS) -> Chem.Mol | Reject:
    """A sanitised molecule, or why the text is none (with row 0)."""
    smiles = (text or "").strip().strip("\ufeff\u200b")
    if not smiles.isascii():  # the parser would stop there and read the part before it as the molecule
        odd = next(character for character in smiles if not character.isascii())
        return Reject(
            0, text, "unparseable SMILES", f"unparseable SMILES: {odd!r} is no character of a SMILES"
        )
    if not smiles:
        return Reject(0, text, "empty SMILES", "empty SMILES: give a structure or remove the row")
    if len(smiles.split()) > 1:
        return Reject(
            0, text, "unparseable SMILES", "white space inside the SMILES: give the structure alone"
        )
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        return Reject(0, text, "unparseable SMILES", f"unparseable SMILES: {_complaint(smiles)}")
    if mol.GetNumAtoms() == 0:
        return Reject(0, text, "no atoms", "no atoms: the SMILES stands for an empty structure")
    if mol.GetNumAtoms() > max_atoms:
        reason = f"{mol.GetNumAtoms()} heavy atoms, more than the limit of {max_atoms}: give a smaller one"
        return Reject(0, text, "too many atoms", reason)
    return mol


def has_directions(smiles: str) -> bool:
    """Whether a SMILES says anything about the sides of its double bonds."""
    return "/" in smiles or "\\" in smiles


def _complaint(smiles: str) -> str:
    """What RDKit says about a string it does not accept, in one line."""
    with rdBase.BlockLogs():
        unchecked = Chem.MolFromSmiles(smiles, sanitize=False)
        problems = [] if unchecked is None else Chem.DetectChemistryProblems(unchecked)
    if unchecked is not None:
        return "; ".join(problem.Message() for problem in problems) or "it cannot be sanitised"
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        rdBase.LogToPythonStderr()
        Chem.MolFromSmiles(smiles, sanitize=False)
        rdBase.LogToCppStreams()
    sentence = said.getvalue().partition("\n")[0].partition("SMILES Parse Error: ")[2]
    return re.sub(r" (?:while parsing|for input).*", "", sentence) or "syntax error"


def content_key(mol: Chem.Mol, canonical: str) -> str:
    """InChIKey of a molecule, or a checksum of its canonical SMILES where InChI gives none."""
    with rdBase.BlockLogs():
        key = Chem.MolToInchiKey(mol)
    return key or f"SMILES:{hashlib.sha1(canonical.encode()).hexdigest()}"


def scaffold_of(mol: Chem.Mol) -> str:
    """Bemis-Murcko scaffold as SMILES, empty for an acyclic molecule."""
    return MurckoScaffold.MurckoScaffoldSmiles(mol=mol) if mol.GetRingInfo().NumRings() else ""
