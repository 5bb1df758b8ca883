"""Replays of reference values: one test for each variant of each case of the files given by --vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from vector_files import read_files


def is_align_schema(content: Any) -> bool:
    """A file of cases with variants, as align.json has them."""
    cases = content.get("cases") if isinstance(content, dict) else None
    return isinstance(cases, list) and any("variants" in case for case in cases if isinstance(case, dict))


def align_variants(folder: Path) -> list[Any]:
    """Every (case, variant) of the files that fit, named after file, case and method."""
    found = []
    for name, content in read_files(folder, is_align_schema).items():
        for case in content["cases"]:
            for index, variant in enumerate(case["variants"]):
                label = f"{Path(name).stem}-{case['id']}-{variant['method']}-{index}"
                found.append(pytest.param((case, variant), id=label))
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "align_variant" not in metafunc.fixturenames:
        return
    folder: Path = metafunc.config.getoption("--vectors")
    variants = align_variants(folder)
    if not variants:
        reason = f"no file like align.json in {folder}; name a folder with --vectors DIR"
        variants = [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]
    metafunc.parametrize("align_variant", variants)
