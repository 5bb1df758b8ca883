"""Raw molecular files to checked tables: read, parse once, merge, split, audit. Knows no model."""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "DataError": "errors",
    "Reject": "errors",
    "GraphArrays": "graphs",
    "PackedGraphs": "graphs",
    "MoleculeTable": "molecules",
    "featurise": "molecules",
    "SplitPlan": "splits",
    "build_pairs": "build",
    "load_pairs": "build",
    "build_demo": "demo",
}


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_EXPORTS)
