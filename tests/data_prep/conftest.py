"""Small tables that many data_prep tests build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.build import BuildOptions, build_pairs
from data_prep.readers.columns import PairColumnNames, read_columns
from data_prep.records import family_shape

SOLVATION_ROWS = """solute,solvent,dG
CCO,O,-5.0
OCC,O,-5.2
c1ccccc1,O,-0.9
CCCC,CCO,-3.1
C(C,O,-1.0
CCCCC,O,n/a
CC(=O)O,O,abc
,O,-2.0
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write text (or bytes) to a file of the test's folder and give its path."""

    def _write(content: str | bytes, name: str = "table.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return _write


@pytest.fixture
def build(write: Callable[..., Path], tmp_path: Path) -> Callable[..., dict]:
    """Build a table given as text; returns the report. The result lies in ``tmp_path / "out"``."""

    def _build(text: str | bytes, names: PairColumnNames, family: str, **options: object) -> dict:
        raw = read_columns(write(text), names, family_shape(family), dataset="tiny")
        return build_pairs(raw, tmp_path / "out", BuildOptions(workers=1, progress=False, **options))

    return _build


@pytest.fixture
def solvation_columns() -> PairColumnNames:
    return PairColumnNames(a="solute", b="solvent", label="dG")


@pytest.fixture
def solvation_rows() -> str:
    return SOLVATION_ROWS
