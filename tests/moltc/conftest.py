"""Tables of pairs that the tests of this folder share; each is written once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_families import ROWS, write_table
from tiny_pairs import write_llama, write_pairs

from moltc.pair_table import PairTable


@pytest.fixture(scope="session")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny table, by family or by its name in ``tiny_families``; read only."""
    written: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in written:
            write = write_table if name in ROWS else write_pairs
            written[name] = write(tmp_path_factory.mktemp("pairs") / name, name)
        return written[name]

    return folder


@pytest.fixture(scope="session")
def pairs(pairs_folder: Callable[[str], Path]) -> Callable[..., PairTable]:
    """The tiny table of a name, or several joined."""
    return lambda *names: PairTable.load([pairs_folder(name) for name in names])


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a tiny Llama with random weights."""
    return write_llama(tmp_path_factory.mktemp("models") / "llama")
