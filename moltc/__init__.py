"""Molecular pair reasoning: graph encoders, projectors and a language model that answers in text.

The shared machinery (prompt trees, towers, log-probabilities, decoding) lives in :mod:`moltc.backbone`; what
is said about pairs of molecules lives beside it. Heavy libraries are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from moltc.predictor import PairAnswer, PairPredictor

_EXPORTS = {"PairPredictor": "moltc.predictor", "PairAnswer": "moltc.predictor"}


def __getattr__(name: str) -> object:
    if name in _EXPORTS:
        from importlib import import_module

        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'moltc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
