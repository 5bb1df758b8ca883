"""Molecular graphs of a whole table packed in a few arrays, memory-mapped on reading.

A batch is gathered with array arithmetic only; nothing is parsed after the build. Atom columns are the nine
features of the Open Graph Benchmark (Hu et al. 2020, arXiv 2005.00687) and bond columns its three plus the
bond direction. The two-plus-two features of GraphCL and MolCA (arXiv 2010.13902, 2310.12798) are a view of
the same columns:

* ``atoms[:, [0, 1]]``: atomic number minus one, with 118 for the dummy atom ``*`` (119 in that scheme), and
  chirality, where 3 and 4 (other) become 0;
* ``bonds[:, [0, 3]]``: bond type, where 4 (none of the four usual types) becomes 0 (single), and direction.

The build report counts the atoms and bonds for which such a view has to choose.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.errors import DataError
from data_prep.files import replacing

FEATURE_VERSION = "ogb9+ogb3dir1+morgan2x2048.v1"

ATOM_COLUMNS = (
    "atomic number",
    "chirality",
    "degree",
    "formal charge",
    "hydrogens",
    "radical electrons",
    "hybridisation",
    "aromatic",
    "in ring",
)
ATOM_DIMS = (119, 5, 12, 12, 10, 6, 6, 2, 2)
BOND_COLUMNS = ("bond type", "stereo", "conjugated", "direction")
BOND_DIMS = (5, 6, 2, 3)
FINGERPRINT_BITS = 2048


class GraphArrays(NamedTuple):
    """One batch of M graphs with N atoms and E directed bonds."""

    atoms: np.ndarray  # uint8 [N, 9]
    bonds: np.ndarray  # uint8 [E, 4]
    edge_index: np.ndarray  # int64 [2, E], numbered over the batch
    node_graph: np.ndarray  # int64 [N], sorted
    num_nodes: np.ndarray  # int64 [M]
    fingerprint: np.ndarray  # uint8 [M, 256], np.packbits order


@dataclass(frozen=True)
class PackedGraphs:
    """M graphs end to end: graph m owns atoms ``node_ptr[m]:node_ptr[m + 1]`` and bonds
    ``edge_ptr[m]:edge_ptr[m + 1]``.
    """

    node_ptr: np.ndarray  # int64 [M + 1]
    edge_ptr: np.ndarray  # int64 [M + 1]
    atoms: np.ndarray  # uint8 [N, 9]
    bonds: np.ndarray  # uint8 [E, 4], both directions of a bond next to each other
    edge_index: np.ndarray  # int32 [2, E], numbered within each graph
    fingerprint: np.ndarray  # uint8 [M, 256]

    def __len__(self) -> int:
        return len(self.node_ptr) - 1

    @property
    def num_nodes(self) -> np.ndarray:
        """Atoms of each graph, int64 [M]."""
        return np.diff(self.node_ptr)

    def batch(self, indices: np.ndarray) -> GraphArrays:
        """Gather the graphs ``indices`` [M] (any order, repeats allowed) into one batch.

        Raises IndexError for an index outside ``[0, len(self))``.
        """
        rows = self._checked(indices)
        nodes, node_starts, num_nodes = _ranges(self.node_ptr, rows)
        edges, _, num_edges = _ranges(self.edge_ptr, rows)
        offset = np.repeat(node_starts, num_edges)  # [E]
        return GraphArrays(
            atoms=self.atoms.take(nodes, axis=0),
            bonds=self.bonds.take(edges, axis=0),
            edge_index=np.add(self.edge_index.take(edges, axis=1), offset, dtype=np.int64),
            node_graph=np.repeat(np.arange(len(rows)), num_nodes),
            num_nodes=num_nodes,
            fingerprint=self.fingerprint.take(rows, axis=0),
        )

    def take(self, indices: np.ndarray) -> PackedGraphs:
        """The graphs ``indices`` in that order, as a new pack."""
        rows = self._checked(indices)
        nodes, _, num_nodes = _ranges(self.node_ptr, rows)
        edges, _, num_edges = _ranges(self.edge_ptr, rows)
        return PackedGraphs(
            node_ptr=_pointer(num_nodes),
            edge_ptr=_pointer(num_edges),
            atoms=self.atoms[nodes],
            bonds=self.bonds[edges],
            edge_index=self.edge_index[:, edges],
            fingerprint=self.fingerprint[rows],
        )

    @classmethod
    def concat(cls, parts: Sequence[PackedGraphs]) -> PackedGraphs:
        """All graphs of ``parts`` one after the other; no parts give an empty pack."""
        if not parts:
            return cls.empty()
        return cls(
            node_ptr=_pointer(np.concatenate([np.diff(part.node_ptr) for part in parts])),
            edge_ptr=_pointer(np.concatenate([np.diff(part.edge_ptr) for part in parts])),
            atoms=np.concatenate([part.atoms for part in parts]),
            bonds=np.concatenate([part.bonds for part in parts]),
            edge_index=np.concatenate([part.edge_index for part in parts], axis=1),
            fingerprint=np.concatenate([part.fingerprint for part in parts]),
        )

    @classmethod
    def empty(cls) -> PackedGraphs:
        """A pack of no graphs."""
        return cls(
            node_ptr=np.zeros(1, np.int64),
            edge_ptr=np.zeros(1, np.int64),
            atoms=np.zeros((0, len(ATOM_DIMS)), np.uint8),
            bonds=np.zeros((0, len(BOND_DIMS)), np.uint8),
            edge_index=np.zeros((2, 0), np.int32),
            fingerprint=np.zeros((0, FINGERPRINT_BITS // 8), np.uint8),
        )

    def save(self, path: Path, *, keys_sha256: str = "") -> None:
        """Write one safetensors file; ``keys_sha256`` ties it to the molecule table of the same build."""
        from safetensors.numpy import save_file

        tensors = {field.name: np.ascontiguousarray(getattr(self, field.name)) for field in fields(self)}
        metadata = {"feature_version": FEATURE_VERSION, "keys_sha256": keys_sha256, "graphs": str(len(self))}
        with replacing(path) as partial:
            save_file(tensors, partial, metadata=metadata)

    @classmethod
    def load(cls, path: Path, *, keys_sha256: str | None = None) -> PackedGraphs:
        """Map a saved file into memory.

        Raises :class:`DataError` when the file is cut short, was made with other features, or (with
        ``keys_sha256``) belongs to another molecule table.
        """
        arrays, metadata = _map_safetensors(path)
        found = metadata.get("feature_version", "none")
        if found != FEATURE_VERSION:
            raise DataError(
                f"{path} holds features {found!r}, this version reads {FEATURE_VERSION!r}: build it again."
            )
        if keys_sha256 is not None and metadata.get("keys_sha256") != keys_sha256:
            raise DataError(
                f"{path} belongs to another molecules.parquet than the one beside it: build it again."
            )
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    def _checked(self, indices: np.ndarray) -> np.ndarray:
        rows = np.asarray(indices, dtype=np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"graph numbers must lie in [0, {len(self)}), got {rows.min()} to {rows.max()}")
        return rows


def _pointer(counts: np.ndarray) -> np.ndarray:
    """Start of each run and the end of the last, int64 [M + 1]."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def _ranges(pointer: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of the chosen runs end to end, where each then starts, and its length."""
    first = pointer[rows]
    lengths = pointer[rows + 1] - first
    ends = np.cumsum(lengths)
    starts = ends - lengths
    places = np.repeat(first - starts, lengths)
    places += np.arange(len(places))
    return places, starts, lengths


_DTYPES = {"I64": np.int64, "I32": np.int32, "U8": np.uint8}


def _map_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays of a safetensors file as read-only views of its memory map, and its metadata.

    Format: eight bytes with the header's length, a JSON header with dtype, shape and byte range of each
    tensor, data.
    """
    try:
        with path.open("rb") as stream:
            buffer = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        size = int.from_bytes(buffer[:8], "little")
        header = json.loads(buffer[8 : 8 + size])
        metadata = header.pop("__metadata__", {})
        arrays = {}
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            dtype = np.dtype(_DTYPES[entry["dtype"]])
            count = (end - start) // dtype.itemsize
            arrays[name] = np.frombuffer(buffer, dtype, count, 8 + size + start).reshape(entry["shape"])
    except FileNotFoundError:
        raise DataError(f"{path} is not there: run data-prep build or data-prep pairs first.") from None
    except (ValueError, KeyError) as error:
        raise DataError(f"{path} is damaged or cut short ({error}): build it again.") from error
    return arrays, metadata
