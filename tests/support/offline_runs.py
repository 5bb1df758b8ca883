"""Reads back what Weights & Biases keeps of an offline run: a log of protocol-buffer records in blocks."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

HEAD, BLOCK, PIECE = b":W&B\xe1\xbe\x00", 32768, struct.Struct("<IHB")
WHOLE, LAST = 1, 4


def records(file: Path) -> Iterator[Any]:
    """The records of a ``.wandb`` file; a record may be cut into pieces, none of which spans two blocks."""
    content = file.read_bytes()
    assert content.startswith(HEAD), file
    position, body = len(HEAD), b""
    while position + PIECE.size <= len(content):
        left = BLOCK - position % BLOCK
        if left < PIECE.size:
            position += left
            continue
        _, length, kind = PIECE.unpack_from(content, position)
        position += PIECE.size
        body += content[position : position + length]
        position += length
        if kind in (WHOLE, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(body)
            body = b""
            yield record


@dataclass
class OfflineRun:
    """What one offline run says: who it is, configuration, rows of history, summary, artifacts by type."""

    folder: Path
    run: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, Any] = field(default_factory=dict)
    kinds: set[str] = field(default_factory=set)
    exit_code: int | None = None

    @classmethod
    def read(cls, file: Path) -> OfflineRun:
        found = cls(file.parent)
        for record in records(file):
            kind = record.WhichOneof("record_type")
            found.kinds.add(kind)
            if kind == "run":
                found.run = record.run
                found.config |= _values(record.run.config.update)
            elif kind == "config":
                found.config |= _values(record.config.update)
            elif kind == "history":
                found.history.append(_values(record.history.item))
            elif kind == "summary":
                found.summary |= _values(record.summary.update)
            elif kind == "artifact":
                found.artifacts[record.artifact.type] = record.artifact
            elif kind == "exit":
                found.exit_code = record.exit.exit_code
        return found

    def series(self, name: str) -> dict[int, Any]:
        """Step -> value of one metric."""
        return {row["_step"]: row[name] for row in self.history if name in row}

    def files(self, kind: str) -> dict[str, bytes]:
        """Content of an artifact's files, by their names in it."""
        contents = self.artifacts[kind].manifest.contents
        return {entry.path: Path(entry.local_path).read_bytes() for entry in contents}


def offline_runs(root: Path) -> list[OfflineRun]:
    """The offline runs of a run folder, in the order of their starts."""
    found = [OfflineRun.read(file) for file in root.glob("wandb/offline-run-*/run-*.wandb")]
    return sorted(found, key=lambda offline: offline.run.start_time.ToNanoseconds())


def _values(items: Any) -> dict[str, Any]:
    """Entries by their first key; entries below it become a dictionary."""
    found: dict[str, Any] = {}
    for item in items:
        first, *rest = list(item.nested_key) or [item.key]
        place = found
        for key in rest:
            place, first = place.setdefault(first, {}), key
        place[first] = json.loads(item.value_json)
    return found
