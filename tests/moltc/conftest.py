"""Tables of pairs that the tests of this folder share; each is written once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_pairs import write_llama, write_pairs

from moltc.collate import PairTable


@pytest.fixture(scope="session")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of the tiny table of a family; read only."""
    written: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in written:
            written[family] = write_pairs(tmp_path_factory.mktemp("pairs") / family, family)
        return written[family]

    return folder


@pytest.fixture(scope="session")
def pairs(pairs_folder: Callable[[str], Path]) -> Callable[[str], PairTable]:
    """The tiny table of a family."""
    return lambda family: PairTable.load(pairs_folder(family))


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a tiny Llama with random weights."""
    return write_llama(tmp_path_factory.mktemp("models") / "llama")
