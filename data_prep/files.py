"""Small file helpers: whole-or-nothing writing, checksums, and files that must exist."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_prep.errors import DataError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``, and move it into place when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of_lines(*columns: list[str]) -> str:
    """Hex SHA-256 of several string columns, read row by row."""
    digest = hashlib.sha256()
    for row in zip(*columns, strict=True):
        digest.update("\t".join(row).encode() + b"\n")
    return digest.hexdigest()


def existing(path: Path, *, mend: str) -> Path:
    """``path`` if it is a file; otherwise a :class:`DataError` that ends in ``mend``."""
    if not path.is_file():
        raise DataError(f"{path} is not a file. {mend}")
    return path
