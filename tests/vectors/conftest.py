"""Replays of reference values: one test for each case of the files given by --vectors.

A test asks for its cases by the name of an argument: ``align_variant`` for each variant of each case of files
like align.json, ``graphrec_BLOCK`` for each entry of a block of files like graphrec.json (a block of named
entries gives pairs of name and entry), ``fair_rl_KIND`` for each case of a kind, its dots as underscores, of
files like fair_rl.json. The fixture ``unreplayed`` says which blocks and kinds no test asks for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vector_files import read_files

Cases = list[tuple[str, Any]]
"""Label and content of each."""


def is_align_schema(content: Any) -> bool:
    """A file of cases with variants, as align.json has them."""
    cases = content.get("cases") if isinstance(content, dict) else None
    return isinstance(cases, list) and any("variants" in case for case in cases if isinstance(case, dict))


def is_graphrec_schema(content: Any) -> bool:
    """A file of named blocks beside a description, as graphrec.json has them."""
    return isinstance(content, dict) and "meta" in content and "cases" not in content


def is_fair_rl_schema(content: Any) -> bool:
    """A file of cases of several kinds, as fair_rl.json has them."""
    cases = content.get("cases") if isinstance(content, dict) else None
    return isinstance(cases, list) and any("kind" in case for case in cases if isinstance(case, dict))


def align_variants(folder: Path) -> Cases:
    """Every (case, variant) of the files that fit, named after file, case and method."""
    return [
        (f"{Path(name).stem}-{case['id']}-{variant['method']}-{index}", (case, variant))
        for name, content in read_files(folder, is_align_schema).items()
        for case in content["cases"]
        for index, variant in enumerate(case["variants"])
    ]


def graphrec_blocks(folder: Path) -> dict[str, Cases]:
    """Entries of every block, by the argument that asks for them."""
    found: dict[str, Cases] = {}
    for name, content in read_files(folder, is_graphrec_schema).items():
        for block, entries in content.items():
            if block == "meta":
                continue
            labelled = _entries(entries)
            found.setdefault(f"graphrec_{block}", []).extend(
                (f"{Path(name).stem}-{label}", entry) for label, entry in labelled
            )
    return found


def _entries(block: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(block, dict):
        yield from ((name, (name, entry)) for name, entry in block.items())
        return
    for index, entry in enumerate(block):
        said = entry.get("id") or entry.get("model") if isinstance(entry, dict) else None
        yield f"{said or 'entry'}-{index}", entry


def fair_rl_kinds(folder: Path) -> dict[str, Cases]:
    """Cases of every kind, by the argument that asks for them."""
    found: dict[str, Cases] = {}
    for name, content in read_files(folder, is_fair_rl_schema).items():
        for case in content["cases"]:
            argument = f"fair_rl_{case['kind'].replace('.', '_')}"
            found.setdefault(argument, []).append((f"{Path(name).stem}-{case['id']}", case))
    return found


@pytest.fixture
def replayed() -> set[str]:
    """Arguments that tests of this folder have."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in Path(__file__).parent.glob("test_*.py"))
    functions = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return {argument.arg for function in functions for argument in function.args.args}


@pytest.fixture
def unreplayed(vectors: Path, replayed: set[str]) -> set[str]:
    """Arguments that would give cases of the files given, and that no test of this folder has."""
    return (graphrec_blocks(vectors).keys() | fair_rl_kinds(vectors).keys()) - replayed


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder: Path = metafunc.config.getoption("--vectors")
    for argument in metafunc.fixturenames:
        if argument == "align_variant":
            cases, like = align_variants(folder), "align.json"
        elif argument.startswith("graphrec_"):
            cases, like = graphrec_blocks(folder).get(argument, []), "graphrec.json"
        elif argument.startswith("fair_rl_"):
            cases, like = fair_rl_kinds(folder).get(argument, []), "fair_rl.json"
        else:
            continue
        reason = f"no file like {like} in {folder} has such cases; name a folder with --vectors DIR"
        absent = pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))
        metafunc.parametrize(argument, [pytest.param(case, id=label) for label, case in cases] or [absent])
