"""Options and fixtures for every test: where real data lie, and a clean state before and after each test."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BESIDE_THE_PROJECT = ROOT.parent / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("moltc")
    group.addoption(
        "--real-data",
        type=Path,
        default=BESIDE_THE_PROJECT / "data",
        help="folder of published data sets, one folder each; split files lie in 'splits' beside it",
    )
    group.addoption(
        "--vectors",
        type=Path,
        default=BESIDE_THE_PROJECT / "vectors",
        help="folder of reference values computed with the authors' own code (align.json, ...)",
    )


def _folder(config: pytest.Config, option: str) -> Path:
    folder: Path = config.getoption(option)
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}; name one with {option} DIR")
    return folder.resolve()


@pytest.fixture(scope="session")
def real_data(pytestconfig: pytest.Config) -> Path:
    """The folder of published data sets; tests that ask for it are skipped where there is none."""
    return _folder(pytestconfig, "--real-data")


@pytest.fixture(scope="session")
def splits(real_data: Path) -> Path:
    """The folder of stored train/validation/test splits of the published data sets."""
    folder = real_data.parent / "splits"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}; the splits are looked for beside the folder given by --real-data")
    return folder


@pytest.fixture(scope="session")
def vectors(pytestconfig: pytest.Config) -> Path:
    """The folder of reference values; tests that ask for it are skipped where there is none."""
    return _folder(pytestconfig, "--vectors")


@pytest.fixture(autouse=True)
def clean_state() -> Iterator[None]:
    """Each test starts from seed 0 and leaves random states and torch's settings as it found them."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    python_state = random.getstate()
    random.seed(0)
    if numpy is not None:
        numpy_state = numpy.random.get_state()
        numpy.random.seed(0)
    if torch is not None:
        torch_state, threads, dtype = (
            torch.get_rng_state(),
            torch.get_num_threads(),
            torch.get_default_dtype(),
        )
        deterministic = torch.are_deterministic_algorithms_enabled()
        torch.random.default_generator.manual_seed(0)
    yield
    random.setstate(python_state)
    if numpy is not None:
        numpy.random.set_state(numpy_state)
    if torch is not None:
        torch.set_rng_state(torch_state)
        torch.set_default_dtype(dtype)
        torch.use_deterministic_algorithms(deterministic)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
